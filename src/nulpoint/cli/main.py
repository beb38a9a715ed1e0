"""The `nulpoint` command."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn, get_args

import click

from nulpoint import __version__
from nulpoint.app.signals import Signals
from nulpoint.app.supervisor import BLOCKED_AT_START, inherited_guard, last_good
from nulpoint.app.worker_link import supervisor_link
from nulpoint.cli.log.commands import logs, stats
from nulpoint.config import Config, ConfigError, ConfigSource
from nulpoint.config.sections.request_log import configured_targets
from nulpoint.config.source import read_env_file
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.chains import Step

EXIT_BAD_CONFIG = 2
ROUTES: tuple[Route, ...] = get_args(Route)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """One URL in front of every LLM provider: OpenAI's API on http://localhost:8080/v1.

    Settings are environment variables, or the same names in lower case in config.yaml in the working directory; the
    environment wins. docs/configuration.md has all of them, docs/README.md everything else. To see it work without any
    key: make demo.

    \b
    Examples:
      OPENAI_API_KEY=sk-... nulpoint serve     run it
      nulpoint check                           is the configuration good, and what would it serve
      nulpoint explain gpt-5.4                 who would answer, and why
      nulpoint COMMAND --help                  more of one command
    """


main.add_command(logs)
main.add_command(stats)

env_file = click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read variables from this file first; the environment wins. A missing file is no error.",
)


@main.command()
@env_file
@click.option("--request-log", metavar="PLACES", help="Where the request log goes while REQUEST_LOG is not set.")
def serve(env_file: Path | None, request_log: str | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    At least one provider has to be configured, for example by OPENAI_API_KEY (nulpoint providers lists the variables).
    Everything that is wrong with the configuration is told at once, with exit code 2, before it listens; exit code 1 is
    a port that cannot be listened on. SIGTERM lets requests in flight finish.

    \b
    Examples:
      OPENAI_API_KEY=sk-... nulpoint serve
      nulpoint serve --env-file .env
      HOST=0.0.0.0 PORT=9000 WORKERS=4 GATEWAY_API_KEYS=sha256:... nulpoint serve

    config.yaml and the file of --env-file are read again when they change, at SIGHUP, and by POST /admin/reload. What
    is wrong changes nothing, and is told in the log and in /health.
    """
    signals = Signals()
    signals.handle([signal.SIGHUP])  # kept until there is something to reload
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to end: the same as SIGTERM
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_AT_START)
    link = supervisor_link()
    if link is not None:
        link.end_with_supervisor(signals)
    beside = _beside(env_file)
    if request_log is not None and configured_targets({**beside, **os.environ}, Path("config.yaml")) is None:
        os.environ["REQUEST_LOG"] = request_log
    source = ConfigSource(dict(os.environ), Path.cwd(), env_file)
    config = _load_or_exit(source)
    for name, value in beside.items():  # into the environment itself too: OpenSSL reads its variables there
        os.environ.setdefault(name, value)
    from nulpoint.app.process import serve as run  # late: a bad configuration is told without loading the data plane

    sys.exit(run(config, source, signals, link))


@main.command()
@env_file
def check(env_file: Path | None) -> None:
    """Validate the configuration and say what it would serve.

    Nothing is started and nobody is asked. Exit code 2 if something is wrong, and then all of it is told.

    \b
    Examples:
      nulpoint check
      nulpoint check --env-file .env && systemctl reload nulpoint
    """
    config = _load_or_exit(ConfigSource(os.environ, Path.cwd(), env_file))
    scheme = "https" if config.tls_cert else "http"
    click.echo(f"The configuration is good. It would listen on {scheme}://{config.host}:{config.port}")
    if config.admin_port is not None:
        host, port = config.admin_address
        click.echo(f"  /health and /metrics on {scheme}://{host}:{port}")
    for name, provider in config.providers.items():
        key = _credential(provider)
        click.echo(f"  {name:<16} {provider.base_url}  ({key})")
    for name, why in config.left_out.items():
        click.echo(f"  {name:<16} left out: {why}")
    for alias, target in config.aliases.items():
        click.echo(f"  alias {alias} -> {target}")
    for model, chain in config.chains.items():
        click.echo(f"  fallbacks {model} -> {', then '.join(_step(step, config) for step in chain)}")
    if config.open_to_others:
        click.echo("  note: callers need no key, and HOST is beyond loopback; set GATEWAY_API_KEYS")


def _credential(provider: Provider) -> str:
    """How a provider knows us."""
    count = len(provider.credentials)
    if count:
        return "key ***" if count == 1 else f"{count} keys ***"
    if provider.identity is not None:
        return f"identity: {provider.identity.kind}"
    return "no key needed" if provider.spec.auth == "none" else "the caller's key"


def _step(step: Step, config: Config) -> str:
    """The targets of one step, their weights, and which of them are left out because nobody has configured them."""
    shown = []
    for one in step:
        weight = f" ({one.weight})" if len(step) > 1 else ""
        left_out = "" if one.target.partition("/")[0] in config.providers else " (not configured: left out)"
        shown.append(f"{one.target}{weight}{left_out}")
    return " or ".join(shown)


@main.command()
@env_file
@click.argument("model")
@click.option("--route", type=click.Choice(ROUTES), default="chat", show_default=True, help="What is asked of it.")
@click.option(
    "--url", help="The gateway to ask, for example http://127.0.0.1:8080; else the one of this configuration."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: as GET /admin/explain gives it.")
def explain(env_file: Path | None, model: str, route: Route, url: str | None, as_json: bool) -> None:
    """Say what would happen to a request for MODEL, and why.

    By which alias or rule its provider is found, the targets in order with their breakers and rests, who is left
    out, cache, limits. The running gateway is asked, with ADMIN_API_KEY where it is set in plain; nothing is sent
    to a provider. Where none runs, it is told from the configuration alone. The gateway is looked for where the
    configuration of this terminal puts it, or on port 8080 where that has no provider.

    \b
    Examples:
      nulpoint explain gpt-5.4
      nulpoint explain text-embedding-3-small --route embeddings
      nulpoint explain claude-sonnet-5 --url https://gateway.example.com --json
    """
    place = ConfigSource(os.environ, Path.cwd(), env_file)
    config, wrong = None, None
    try:
        config = None if url else place.load()
    except ConfigError as error:  # the settings may be those of another terminal, and its gateway knows them
        wrong = error
    from nulpoint.cli import explain

    where = url or (explain.address(config) if config else f"http://127.0.0.1:{os.environ.get('PORT') or 8080}")
    try:
        page = explain.fetch_explanation(
            where, place.raw_variable("ADMIN_API_KEY"), model, route, config.tls_cert if config else None
        )
    except ConfigError as error:
        _exit_over(error)
    except explain.ExplainError as error:
        raise click.ClickException(str(error)) from None
    source = f"as the gateway at {where} sees it now"
    if page is None and wrong is not None:
        _exit_over(wrong)
    if page is None and config is None:
        raise click.ClickException(f"nothing listens at {where}; leave out --url to be told from the configuration")
    if page is None and config is not None:
        page = explain.as_configured(config, model, route)
        source = f"no gateway answers at {where}: as configured, with every breaker closed and no key at rest"
    click.echo(json.dumps(page, indent=2) if as_json else f"{explain.as_text(page or {})}\n({source})")


@main.command(short_help="List the known providers and their variables.")
def providers() -> None:
    """List the providers nulpoint knows and the variables that configure them."""
    from nulpoint.providers.catalog import CATALOG

    click.echo(f"{'provider':<16} {'key variable':<22} base URL")
    for spec in CATALOG.values():
        variable = spec.key_env or ", ".join(spec.required_variables) or spec.base_url_env
        click.echo(f"{spec.name:<16} {variable:<22} {spec.base_url}")


@main.command(short_help="Run mock providers that can be told to fail.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--fault", "faults", multiple=True, metavar="[PROVIDER:]NAME[=N][*COUNT]", help="What goes wrong.")
def mock(host: str, faults: tuple[str, ...]) -> None:
    """Run mock providers on ports 19001 to 19007: OpenAI, Anthropic, Gemini, Mistral, Bedrock, Azure, Vertex AI.

    They check requests as the real ones do and answer what they are asked (docs/mock-providers.md). MOCK_LATENCY_MS,
    MOCK_CHUNK_MS, MOCK_ERROR_RATE, MOCK_STREAM_WORDS, MOCK_TOKEN_SECONDS and MOCK_SEED set how they behave; faults are
    set here, by request header or by admin call.

    \b
    Examples:
      nulpoint mock                                   then OPENAI_BASE_URL=http://127.0.0.1:19001/v1 nulpoint serve
      nulpoint mock --fault openai:status=503         one is down
      nulpoint mock --fault 'rate_limit=5*2'          two requests at each get 429
    """
    from nulpoint.mock import run

    sys.exit(run(os.environ, host, broken=faults))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def _beside(env_file: Path | None) -> dict[str, str]:
    """What stands in the file; nothing where it cannot be read, which is told when the configuration is loaded."""
    try:
        return read_env_file(env_file) or {}
    except ConfigError:
        return {}


def _load_or_exit(source: ConfigSource) -> Config:
    try:
        return source.load(guard=inherited_guard())
    except ConfigError as error:
        if (config := last_good(source)) is not None:  # a worker; once it runs it tells what is wrong
            return config
        _exit_over(error)


def _exit_over(error: ConfigError) -> NoReturn:
    count = len(error.problems)
    click.echo(f"nulpoint: {count} problem{'s' if count > 1 else ''} in the configuration", err=True)
    for problem in error.problems:
        click.echo(f"  {problem}", err=True)
    sys.exit(EXIT_BAD_CONFIG)
