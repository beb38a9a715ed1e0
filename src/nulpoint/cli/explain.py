"""`nulpoint explain`: what the running gateway says of a model, or, where none runs, what the configuration says."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from nulpoint.api.admin import EXPLAIN
from nulpoint.api.explain import RoutingExplainer
from nulpoint.app.backends import Backends
from nulpoint.app.wiring import breaker_rules, build_router, limit_rules
from nulpoint.config import Config
from nulpoint.files import read_regular_file
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.providers.spec import Route
from nulpoint.routing.provider_health import ProviderHealth

SECONDS = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}

Page = dict[str, Any]


class ExplainError(Exception):
    """The gateway is there and does not say; the text tells why and what to do."""


def address(config: Config) -> str:
    """Where a gateway of this configuration has its admin pages."""
    host, port = config.admin_address if config.admin_port is not None else (config.host, config.port)
    scheme = "https" if config.tls_cert else "http"
    return f"{scheme}://{_EVERYWHERE.get(host, host)}:{port}"


def fetch_explanation(url: str, key: str | None, model: str, route: str, certificate: str | None = None) -> Page | None:
    """What the gateway at `url` says; None where nothing listens. Raises CannotExplain."""
    request = urllib.request.Request(f"{url.rstrip('/')}{EXPLAIN}?{urlencode({'model': model, 'route': route})}")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_tls(certificate))
    )
    try:
        with direct.open(request, timeout=SECONDS) as answer:
            page: Page = json.load(answer)
            return page
    except urllib.error.HTTPError as error:
        with error:
            raise ExplainError(f"{url} answers {error.code}: {_said(error)}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        raise ExplainError(f"{url} cannot be asked: {error.reason}") from None
    except (OSError, ValueError) as error:
        raise ExplainError(f"{url} gives no answer that could be read: {error}") from None


def _tls(certificate: str | None) -> ssl.SSLContext:
    """The gateway's own certificate is trusted, by whatever address it is asked, and no other.

    No name is compared, so whoever has one for any name could else be sent the key.
    """
    if not certificate:
        return ssl.create_default_context()
    own, end, _ = read_regular_file(certificate).decode("ascii", "ignore").partition("-----END CERTIFICATE-----")
    context = ssl.create_default_context(cadata=own + end)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "no gateway of this kind, it seems"


def as_configured(config: Config, model: str, route: Route) -> Page:
    """What a gateway would say that has just been started."""

    async def explain() -> Page:
        loop = asyncio.get_running_loop()
        ticker = DeadlineSweeper(loop)
        rules = breaker_rules(config)
        standings = {name: ProviderHealth(rules, len(one.credentials)) for name, one in config.providers.items()}
        kept = Backends(config, ticker, {}, lambda _: None)
        explainer = RoutingExplainer(
            build_router(config), standings, config.max_retries, kept, limit_rules(config), loop.time
        )
        ticker.stop()
        return explainer.explain(model, route)

    return asyncio.run(explain())


def as_text(page: Mapping[str, Any]) -> str:
    """For people, in lines."""
    lines = [f"{page['model']} ({page['route']}) is {page['provider']}/{page['model_there']}: by {page['found_by']}"]
    if "refused" in page:
        refused = page["refused"]
        return "\n".join([*lines, f"It is refused with {refused['status']}: {refused['message']}"])
    lines.append(f"Its chain: {page['chain']}; up to {page['attempts']} attempts")
    width = max(len(one["target"]) for one in page["targets"])
    lines += [_target(one, width) for one in page["targets"]]
    lines += [f"     {name:<{width}}  left out: {why}" for name, why in page["left_out"].items()]
    lines += [f"Outcome: {page['outcome']}", f"Cache: {_cache(page['cache'])}", f"Limits: {_limits(page['limits'])}"]
    if "note" in page:
        similar = f" (similar names: {', '.join(page['similar'])})" if page["similar"] else ""
        lines.append(f"Note: {page['note']}{similar}")
    return "\n".join(lines)


def _target(one: Mapping[str, Any], width: int) -> str:
    source = f"{one['try']}." if one["try"] else "-"
    facts = [f"breaker {one['circuit_breaker']}", f"{one['keys']} key{'' if one['keys'] == 1 else 's'}"]
    if "weight" in one:
        facts.append(f"weight {one['weight']} in step {one['step']}")
    if one["passed_over"]:
        facts.append(f"passed over: {one['passed_over']}")
    elif not one["try"]:
        facts.append("beyond MAX_RETRIES")
    if "needs" in one:
        facts.append(f"needs {one['needs']}")
    return f"  {source:<2} {one['target']:<{width}}  {', '.join(facts)}"


def _cache(page: Mapping[str, Any]) -> str:
    if not page["asked"]:
        return f"not asked: {page['why']}"
    kept = ", ".join(page["keeps_answers_of"])
    return f"asked first ({page['where']}); answers of {kept} are kept {page['ttl_seconds']:g} s"


def _limits(page: Mapping[str, Any]) -> str:
    if not page:
        return "none"
    numbers = ", ".join(f"{name} {value}" for name, value in page.items() if isinstance(value, int))
    left = ", ".join(f"{count} {name}" for name, count in page.get("remaining", {}).items())
    return f"{numbers}; counted {page['counted']}" + (f"; left now: {left}" if left else "")
