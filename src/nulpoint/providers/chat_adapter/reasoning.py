"""Adapts how much a chat request asks a model to reason."""

from typing import Any

from nulpoint.models.efforts import nearest_effort
from nulpoint.models.facts import EFFORTS, ModelFacts
from nulpoint.providers.chat_adapter.chat_request import ChatRequest
from nulpoint.providers.dialect import Dialect

EFFORT, NO_EFFORT = "reasoning_effort", "none"
# The parameters of hosts that turn reasoning on and off, as clients may send them too.
SWITCHES = ("thinking", "enable_thinking", "reasoning")
_OFF: dict[str, Any] = {"thinking": {"type": "disabled"}, "enable_thinking": False, "reasoning": {"enabled": False}}
_ON: dict[str, Any] = {"thinking": {"type": "enabled"}, "enable_thinking": True, "reasoning": {"enabled": True}}


def write_effort(request: ChatRequest, dialect: Dialect, facts: ModelFacts) -> None:
    """Replace a level of reasoning that the model does not accept by the nearest one, and name it as dropped."""
    effort = request.get(EFFORT)
    if effort not in (*EFFORTS, NO_EFFORT) or facts.reasoning is None:
        return  # a level that only this host knows, or a model about which nothing is known
    if facts.reasoning == "none":
        request.remove(EFFORT) if effort == NO_EFFORT else request.drop(EFFORT)
    elif effort == NO_EFFORT:
        _write_no_effort(request, dialect, facts)
    elif facts.reasoning == "switch":
        request.drop(EFFORT)
        if facts.default_effort == NO_EFFORT:
            _write_switch(request, dialect, on=True)
    elif effort not in facts.efforts and (nearest := nearest_effort(effort, facts)) is not None:
        request.report(EFFORT)
        request.set(EFFORT, nearest)


def _write_no_effort(request: ChatRequest, dialect: Dialect, facts: ModelFacts) -> None:
    if facts.thinking_off == "effort":
        return
    if facts.thinking_off == "disabled" and _write_switch(request, dialect, on=False):
        request.remove(EFFORT)
        return
    request.report(EFFORT)
    if facts.efforts:
        request.set(EFFORT, facts.efforts[0])
    else:
        request.remove(EFFORT)


def _write_switch(request: ChatRequest, dialect: Dialect, *, on: bool) -> bool:
    """Turn reasoning on or off by the host's parameter, unless the client has set it. Return False if it has none."""
    switch = dialect.thinking_switch
    if switch is None:
        return False
    if switch not in request:
        request.set(switch, (_ON if on else _OFF)[switch])
    return True


def thinks(request: ChatRequest, facts: ModelFacts) -> bool:
    """Return whether the model will reason about this request, as far as is known."""
    if facts.reasoning in (None, "none"):
        return False
    if facts.thinking_off == "impossible":
        return True
    switched_on = _switched_on(request)
    if switched_on is not None:
        return switched_on
    effort = request.get(EFFORT)
    return thinks_unasked(facts) if effort is None else effort != NO_EFFORT


def thinks_unasked(facts: ModelFacts) -> bool:
    """Return whether the model is known to reason about requests that do not ask for it."""
    if facts.reasoning in (None, "none"):
        return False
    return facts.thinking_off == "impossible" or facts.default_effort not in (None, NO_EFFORT)


def _switched_on(request: ChatRequest) -> bool | None:
    """Return whether the request turns reasoning on or off by a switch, or None if it has none."""
    enabled = request.get("enable_thinking")
    if isinstance(enabled, bool):
        return enabled
    for name, member, off in (("thinking", "type", "disabled"), ("reasoning", "enabled", False)):
        switch = request.get(name)
        if isinstance(switch, dict) and member in switch:
            return bool(switch[member] != off)
    return None


def asks_for_reasoning(request: ChatRequest) -> bool:
    """Return whether the client asks for reasoning, so that turning it off would lose something."""
    return (request.get(EFFORT) or NO_EFFORT) != NO_EFFORT or _switched_on(request) is True


def turn_off(request: ChatRequest, dialect: Dialect, facts: ModelFacts) -> bool:
    """Turn reasoning off, and name the level that the client asked for as dropped. Return False if it is impossible."""
    if facts.thinking_off == "effort" and facts.reasoning == "effort":
        request.drop(EFFORT)
        request.set(EFFORT, NO_EFFORT)
        return True
    if facts.thinking_off != "disabled" or dialect.thinking_switch is None:
        return False
    request.drop(EFFORT)
    for switch in SWITCHES:
        if switch in request:
            request.report(switch)
            request.remove(switch)
    return _write_switch(request, dialect, on=False)
