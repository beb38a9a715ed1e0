"""Fits the cache marks of a request to what the model behind Converse accepts.

Claude accepts four, with a lifetime. Amazon's Nova accepts four without one, and none among the tools. Other models
reject requests with cache marks. Source: AWS's documentation of prompt caching (read 2026-11).
"""

from typing import Any

from nulpoint.protocols.cache_marks import MAX_CACHE_MARKS, surplus_marks
from nulpoint.protocols.openai.chat import RequestFields

_MARK = "cachePoint"
_REPORTED = "cache_control"


def fit_cache_marks(request: dict[str, Any], maker: str, fields: RequestFields) -> None:
    """Remove the cache marks that the model does not accept, and report that.

    If it is not known who made the model, only their number is limited.
    """
    tools = request.get("toolConfig", {}).get("tools", [])
    lists = [tools, request.get("system", []), *[turn["content"] for turn in request["messages"]]]
    marks = [block for blocks in lists for block in blocks if _MARK in block]
    if not marks:
        return
    if maker in ("anthropic", ""):
        unwanted: list[Any] = []
    elif maker == "amazon":
        unwanted = [block for block in tools if _MARK in block]
    else:
        unwanted = marks
    refused = {id(block) for block in unwanted}
    accepted = [block for block in marks if id(block) not in refused]
    refused |= {id(block) for block in surplus_marks(accepted, MAX_CACHE_MARKS)}
    if refused:
        fields.report_dropped(_REPORTED)
        for blocks in lists:
            blocks[:] = [block for block in blocks if id(block) not in refused]
    if maker == "amazon":
        _remove_lifetimes(accepted, fields)


def _remove_lifetimes(marks: list[dict[str, Any]], fields: RequestFields) -> None:
    for mark in marks:
        point = mark[_MARK]
        if isinstance(point, dict) and "ttl" in point:
            mark[_MARK] = {name: value for name, value in point.items() if name != "ttl"}
            fields.report_dropped(f"{_REPORTED}.ttl")
