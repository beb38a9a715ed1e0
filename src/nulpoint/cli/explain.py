"""The command `nulpoint explain`: shows how a model is routed.

It asks the running gateway, or works from the configuration if no gateway is running.
"""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from nulpoint.api.admin import EXPLAIN
from nulpoint.api.explain import RoutingExplainer
from nulpoint.app.backends import Backends
from nulpoint.app.wiring import breaker_rules, build_models, build_router, limit_rules
from nulpoint.config import Config
from nulpoint.files import read_regular_file
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.providers.spec import Route
from nulpoint.routing.provider_health import ProviderHealth

TIMEOUT_SECONDS = 5.0
_WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}

Page = dict[str, Any]


class ExplainError(Exception):
    """The gateway was found but gave no explanation. The message says why."""


def admin_url(config: Config) -> str:
    """Return the URL at which a gateway with this configuration serves its admin pages."""
    host, port = config.admin_address if config.admin_port is not None else (config.host, config.port)
    scheme = "https" if config.tls_cert else "http"
    return f"{scheme}://{_WILDCARD_HOSTS.get(host, host)}:{port}"


def fetch_explanation(url: str, key: str | None, model: str, route: str, certificate: str | None = None) -> Page | None:
    """Ask the gateway at `url`. Returns None if nothing listens there. Raises ExplainError."""
    request = urllib.request.Request(f"{url.rstrip('/')}{EXPLAIN}?{urlencode({'model': model, 'route': route})}")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_tls(certificate))
    )
    try:
        with direct.open(request, timeout=TIMEOUT_SECONDS) as response:
            page: Page = json.load(response)
            return page
    except urllib.error.HTTPError as error:
        with error:
            raise ExplainError(f"{url} answers {error.code}: {_error_message(error)}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        raise ExplainError(f"{url} cannot be reached: {error.reason}") from None
    except (OSError, ValueError) as error:
        raise ExplainError(f"{url} sent a response that cannot be read: {error}") from None


def _tls(certificate: str | None) -> ssl.SSLContext:
    """Return a TLS context that trusts exactly the gateway's certificate, whatever address it is reached at.

    Host names are not compared, because the certificate rarely names the local address. Trusting any other
    certificate would therefore send the admin key to whoever holds one.
    """
    if not certificate:
        return ssl.create_default_context()
    pem, end, _ = read_regular_file(certificate).decode("ascii", "ignore").partition("-----END CERTIFICATE-----")
    context = ssl.create_default_context(cadata=pem + end)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _error_message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "the response is not a nulpoint error; check that a nulpoint gateway listens there"


def explain_from_config(config: Config, today: date, model: str, route: Route) -> Page:
    """Return what a gateway with this configuration would say right after its start."""

    async def explain() -> Page:
        loop = asyncio.get_running_loop()
        sweeper = DeadlineSweeper(loop)
        rules = breaker_rules(config)
        health = {name: ProviderHealth(rules, len(provider.credentials)) for name, provider in config.providers.items()}
        backends = Backends(config, sweeper, {}, lambda _: None)
        router = build_router(config, build_models(config), today)
        explainer = RoutingExplainer(router, health, config.max_retries, backends, limit_rules(config), loop.time)
        sweeper.stop()
        return explainer.explain(model, route)

    return asyncio.run(explain())


def format_explanation(page: Mapping[str, Any]) -> str:
    """Format an explanation as lines of text for a terminal."""
    lines = [_format_resolution(page)]
    if "refused" in page:
        refusal = page["refused"]
        return "\n".join([*lines, f"The gateway refuses it with {refusal['status']}: {refusal['message']}"])
    lines.append(f"Fallback chain: {page['chain']}; up to {page['attempts']} attempts")
    width = max(len(target["target"]) for target in page["targets"])
    lines += [_format_target(target, width) for target in page["targets"]]
    lines += [f"     {name:<{width}}  left out: {reason}" for name, reason in page["left_out"].items()]
    lines.append(f"Outcome: {page['outcome']}")
    lines += [f"Cache: {_format_cache(page['cache'])}", f"Limits: {_format_limits(page['limits'])}"]
    if "note" in page:
        similar = f" (similar names: {', '.join(page['similar'])})" if page["similar"] else ""
        lines.append(f"Note: {page['note']}{similar}")
    return "\n".join(lines)


def _format_resolution(page: Mapping[str, Any]) -> str:
    asked = f"{page['model']} ({page['route']})"
    if page["provider"] is None:
        return f"{asked} resolves to no target"
    return f"{asked} resolves to {page['provider']}/{page['model_there']}: by {page['found_by']}"


def _format_target(target: Mapping[str, Any], width: int) -> str:
    position = f"{target['try']}." if target["try"] else "-"
    keys = target["keys"]
    keys_text = f"{keys} keys (each conversation keeps its key)" if keys > 1 else f"{keys} key{'' if keys else 's'}"
    facts = [f"breaker {target['circuit_breaker']}", keys_text]
    if "weight" in target:
        facts.append(f"weight {target['weight']} in step {target['step']}")
    if target.get("retirement"):
        facts.append(target["retirement"])
    if target["passed_over"]:
        facts.append(f"skipped: {target['passed_over']}")
    elif not target["try"]:
        facts.append("beyond MAX_RETRIES")
    if "needs" in target:
        facts.append(f"needs {target['needs']}")
    return f"  {position:<2} {target['target']:<{width}}  {', '.join(facts)}"


def _format_cache(page: Mapping[str, Any]) -> str:
    if not page["asked"]:
        return f"not used: {page['why']}"
    targets = ", ".join(page["keeps_answers_of"])
    return f"looked up first ({page['where']}); responses of {targets} are kept for {page['ttl_seconds']:g} s"


def _format_limits(page: Mapping[str, Any]) -> str:
    if not page:
        return "none"
    numbers = ", ".join(f"{name} {value}" for name, value in page.items() if isinstance(value, int))
    left = ", ".join(f"{count} {name}" for name, count in page.get("remaining", {}).items())
    return f"{numbers}; counted {page['counted']}" + (f"; left now: {left}" if left else "")
