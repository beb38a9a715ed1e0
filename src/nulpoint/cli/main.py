"""The `nulpoint` command."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from nulpoint import __version__
from nulpoint.app.signals import Signals
from nulpoint.app.supervisor import BLOCKED_AT_START, inherited_guard, last_good
from nulpoint.app.worker_link import supervisor_link
from nulpoint.cli.log.commands import logs, stats
from nulpoint.config import Config, ConfigError, ConfigSource
from nulpoint.config.retirements import retirement_warnings
from nulpoint.config.sections.request_log import configured_targets
from nulpoint.config.source import read_env_file
from nulpoint.errors import Failure
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.chains import Step

EXIT_BAD_CONFIG = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Give every LLM provider one URL: OpenAI's API on http://localhost:8080/v1.

    Settings are environment variables, or the same names in lower case in config.yaml in the working directory; the
    environment takes precedence. docs/configuration.md lists every setting, and docs/README.md is the start of the
    documentation. To see the gateway work without any API key, run make demo.

    \b
    Examples:
      OPENAI_API_KEY=sk-... nulpoint serve     run the gateway
      nulpoint check                           validate the configuration and show what it would serve
      nulpoint explain gpt-5.4                 show which provider would serve a model, and why
      nulpoint models gpt-5.4                  show what is known of a model
      nulpoint COMMAND --help                  show the options of one command
    """


main.add_command(logs)
main.add_command(stats)

env_file = click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read variables from this file. The environment takes precedence; a missing file is not an error.",
)


@main.command()
@env_file
@click.option("--request-log", metavar="TARGETS", help="Where to write the request log if REQUEST_LOG is not set.")
def serve(env_file: Path | None, request_log: str | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    At least one provider must be configured, for example with OPENAI_API_KEY (nulpoint providers lists the variables).
    If the configuration is invalid, every problem is reported at once and the exit code is 2. Exit code 1 means that
    the gateway cannot listen on its port. On SIGTERM, requests in flight are allowed to finish.

    \b
    Examples:
      OPENAI_API_KEY=sk-... nulpoint serve
      nulpoint serve --env-file .env
      HOST=0.0.0.0 PORT=9000 WORKERS=4 GATEWAY_API_KEYS=sha256:... nulpoint serve

    config.yaml and the file given with --env-file are reloaded when they change, on SIGHUP, and by POST /admin/reload.
    An invalid configuration is not applied; it is reported in the log and in /health.
    """
    signals = Signals()
    signals.handle([signal.SIGHUP])  # remembered until there is a gateway to reload
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the process, as SIGTERM does, until the gateway runs
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_AT_START)
    link = supervisor_link()
    if link is not None:
        link.end_with_supervisor(signals)
    env_file_values = _read_env_file_or_empty(env_file)
    if request_log is not None and configured_targets({**env_file_values, **os.environ}, Path("config.yaml")) is None:
        os.environ["REQUEST_LOG"] = request_log
    source = ConfigSource(dict(os.environ), Path.cwd(), env_file)
    config = _load_or_exit(source)
    for name, value in env_file_values.items():  # OpenSSL reads its variables from the process environment
        os.environ.setdefault(name, value)
    from nulpoint.app.process import serve as run  # imported late, so that an invalid configuration is reported quickly

    sys.exit(run(config, source, signals, link))


@main.command()
@env_file
def check(env_file: Path | None) -> None:
    """Validate the configuration and show what it would serve.

    Nothing is started, and no provider is contacted. If the configuration is invalid, every problem is reported and
    the exit code is 2.

    \b
    Examples:
      nulpoint check
      nulpoint check --env-file .env && systemctl reload nulpoint
    """
    source = ConfigSource(os.environ, Path.cwd(), env_file)
    config = _load_or_exit(source)
    scheme = "https" if config.tls_cert else "http"
    click.echo(f"The configuration is valid. The gateway would listen on {scheme}://{config.host}:{config.port}")
    if config.admin_port is not None:
        host, port = config.admin_address
        click.echo(f"  /health and /metrics on {scheme}://{host}:{port}")
    for name, provider in config.providers.items():
        credential = _credential_summary(provider)
        click.echo(f"  {name:<16} {provider.base_url}  ({credential})")
    for name, reason in config.left_out.items():
        click.echo(f"  {name:<16} left out: {reason}")
    for alias, target in config.aliases.items():
        click.echo(f"  alias {alias} -> {target}")
    for model, chain in config.chains.items():
        click.echo(f"  fallbacks {model} -> {', then '.join(_format_step(step, config) for step in chain)}")
    for warning in retirement_warnings(config, source.today()):
        click.echo(f"  warning: {warning}")
    if config.open_to_others:
        click.echo(
            "  note: HOST is not a loopback address and clients need no key; set GATEWAY_API_KEYS to require one"
        )


def _credential_summary(provider: Provider) -> str:
    """Describe how the gateway authenticates to a provider, without showing any secret."""
    count = len(provider.credentials)
    if count:
        return "key ***" if count == 1 else f"{count} keys ***"
    if provider.identity is not None:
        return f"identity: {provider.identity.kind}"
    return "no key needed" if provider.spec.auth == "none" else "the client's key"


def _format_step(step: Step, config: Config) -> str:
    """List the targets of one fallback step with their weights, and mark those whose provider is not configured."""
    targets = []
    for option in step:
        weight = f" ({option.weight})" if len(step) > 1 else ""
        left_out = "" if option.target.partition("/")[0] in config.providers else " (not configured: left out)"
        targets.append(f"{option.target}{weight}{left_out}")
    return " or ".join(targets)


@main.command()
@env_file
@click.argument("model")
@click.option(
    "--route", type=click.Choice(list(OPERATIONS)), default="chat", show_default=True, help="The kind of request."
)
@click.option(
    "--url", help="The gateway to ask, for example http://127.0.0.1:8080. Default: the address in the configuration."
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON that GET /admin/explain returns.")
def explain(env_file: Path | None, model: str, route: Route, url: str | None, as_json: bool) -> None:
    """Show what would happen to a request for MODEL, and why.

    The output names the alias or rule that selects the provider, the targets in the order in which they would be tried
    (with their circuit breakers and cooldowns), the targets that are left out, the cache and the limits.

    The running gateway is asked, with ADMIN_API_KEY if it is set in plain text; nothing is sent to a provider. If no
    gateway is running, the answer comes from the configuration alone. The gateway is expected at the address in the
    configuration of this terminal, or on port 8080 if that configuration has no provider.

    \b
    Examples:
      nulpoint explain gpt-5.4
      nulpoint explain text-embedding-3-small --route embeddings
      nulpoint explain claude-sonnet-5 --url https://gateway.example.com --json
    """
    config_source = ConfigSource(os.environ, Path.cwd(), env_file)
    config, config_error = None, None
    try:
        config = None if url else config_source.load()
    except ConfigError as error:  # a gateway that was started from another terminal may have other, valid settings
        config_error = error
    from nulpoint.cli import explain

    default_url = explain.admin_url(config) if config else f"http://127.0.0.1:{os.environ.get('PORT') or 8080}"
    gateway_url = url or default_url
    try:
        page = explain.fetch_explanation(
            gateway_url, config_source.raw_variable("ADMIN_API_KEY"), model, route, config.tls_cert if config else None
        )
    except ConfigError as error:
        _exit_with_problems(error)
    except explain.ExplainError as error:
        raise click.ClickException(str(error)) from None
    origin = f"as the gateway at {gateway_url} sees it now"
    if page is None and config_error is not None:
        _exit_with_problems(config_error)
    if page is None and config is None:
        raise click.ClickException(
            f"nothing listens at {gateway_url}; start the gateway, or leave out --url to use the configuration"
        )
    if page is None and config is not None:
        page = explain.explain_from_config(config, config_source.today(), model, route)
        origin = (
            f"no gateway answers at {gateway_url}: from the configuration, as if every circuit breaker were closed and"
            " no key were cooling down"
        )
    click.echo(json.dumps(page, indent=2) if as_json else f"{explain.format_explanation(page or {})}\n({origin})")


@main.command(short_help="Show what is known of models, and from where.")
@env_file
@click.argument("model", required=False)
@click.option("--provider", "--host", help="List only the models of this provider.")
@click.option("--all", "with_retired", is_flag=True, help="List retired models too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(env_file: Path | None, model: str | None, provider: str | None, with_retired: bool, as_json: bool) -> None:
    """List the known models, or show every known fact about MODEL with its source.

    MODEL is a name as in a request: it may be an alias, a plain name or provider/model. The facts are those that the
    gateway uses to translate requests, to choose fallback targets and to calculate costs. Those of config.yaml override
    the built-in ones. Names that are not listed are routed too.

    \b
    Examples:
      nulpoint models --provider anthropic
      nulpoint models claude-sonnet-5
      nulpoint models bedrock/us.anthropic.claude-opus-5-5 --json
    """
    from nulpoint.cli import models as facts

    source = ConfigSource(os.environ, Path.cwd(), env_file)
    known = facts.load_knowledge(source)
    if known.problem:
        click.echo(f"nulpoint: {known.problem}", err=True)
    if provider is not None and provider not in known.specs:
        raise click.BadParameter(f"{provider!r} is not a known provider; nulpoint providers lists them")
    try:
        page, lines = known.describe(model) if model else known.list(provider, with_retired=with_retired)
    except Failure as failure:
        raise click.ClickException(failure.message) from None
    click.echo(json.dumps(page, indent=2) if as_json else "\n".join(lines))


@main.command(short_help="List the known providers and their variables.")
def providers() -> None:
    """List the providers that nulpoint knows and the variables that configure them."""
    from nulpoint.providers.catalog import CATALOG

    click.echo(f"{'provider':<16} {'key variable':<22} base URL")
    for spec in CATALOG.values():
        variable = spec.key_env or ", ".join(spec.required_variables) or spec.base_url_env
        click.echo(f"{spec.name:<16} {variable:<22} {spec.base_url}")


@main.command(short_help="Run mock providers that can be made to fail.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--fault", "faults", multiple=True, metavar="[PROVIDER:]NAME[=N][*COUNT]", help="A fault to inject.")
def mock(host: str, faults: tuple[str, ...]) -> None:
    """Run mock providers on ports 19001 to 19010.

    They are OpenAI, Anthropic, Gemini, Mistral, Bedrock, Azure, Vertex AI, Cohere, Jina and Voyage, in this order.

    They validate requests as the real providers do and respond to what is asked (docs/mock-providers.md).
    MOCK_LATENCY_MS, MOCK_CHUNK_MS, MOCK_ERROR_RATE, MOCK_STREAM_WORDS, MOCK_TOKEN_SECONDS, MOCK_TODAY and MOCK_SEED set
    how they behave. Faults are injected with --fault, with a request header or with an admin call.

    \b
    Examples:
      nulpoint mock                                   then OPENAI_BASE_URL=http://127.0.0.1:19001/v1 nulpoint serve
      nulpoint mock --fault openai:status=503         OpenAI is down
      nulpoint mock --fault 'rate_limit=5*2'          the first two requests to each get 429
    """
    from nulpoint.mock import run

    sys.exit(run(os.environ, host, fault_options=faults))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def _read_env_file_or_empty(env_file: Path | None) -> dict[str, str]:
    """Return the variables in the file, or none if it cannot be read: loading the configuration reports that."""
    try:
        return read_env_file(env_file) or {}
    except ConfigError:
        return {}


def _load_or_exit(source: ConfigSource) -> Config:
    try:
        return source.load(guard=inherited_guard())
    except ConfigError as error:
        if (config := last_good(source)) is not None:  # a worker process, which reports the problem once it runs
            return config
        _exit_with_problems(error)


def _exit_with_problems(error: ConfigError) -> NoReturn:
    count = len(error.problems)
    click.echo(f"nulpoint: {count} problem{'s' if count > 1 else ''} in the configuration", err=True)
    for problem in error.problems:
        click.echo(f"  {problem}", err=True)
    sys.exit(EXIT_BAD_CONFIG)
