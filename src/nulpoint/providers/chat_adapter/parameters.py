"""Adapts the parameters of a chat request that have nothing to do with reasoning, tools or messages."""

from collections.abc import Iterable, Mapping

from nulpoint.models.facts import ModelFacts
from nulpoint.providers.chat_adapter.chat_request import ChatRequest
from nulpoint.providers.dialect import Dialect

LIMIT, OLDER_LIMIT = "max_completion_tokens", "max_tokens"


def rename_and_drop(request: ChatRequest, rename: Mapping[str, str], drop: Iterable[str]) -> None:
    """Rename and drop what the record of the provider says.

    If a request has both names of a member, the host's own is kept; of the two limits, it is always the newer one.
    """
    for name in drop:
        request.drop(name)
    for name, new_name in rename.items():
        if new_name in request and name != LIMIT:
            request.drop(name)
        else:
            request.rename(name, new_name)


def write_limit(request: ChatRequest, facts: ModelFacts) -> None:
    """Send the limit of the output under the name that the model accepts. The newer one counts if both are given."""
    if facts.limit_member == OLDER_LIMIT and LIMIT in request:
        request.rename(LIMIT, OLDER_LIMIT)
    elif facts.limit_member == LIMIT and LIMIT in request and OLDER_LIMIT in request:
        request.rename(LIMIT, OLDER_LIMIT)
        request.rename(OLDER_LIMIT, LIMIT)
    elif facts.limit_member == LIMIT:
        request.rename(OLDER_LIMIT, LIMIT)


def drop_refused(request: ChatRequest, refused: Iterable[str]) -> None:
    """Drop the parameters that the model rejects."""
    for name in refused:
        request.drop(name)


def map_values(request: ChatRequest, dialect: Dialect) -> None:
    """Send values by the names that the host has for them, and single values as lists where it wants lists."""
    for name, values in dialect.values.items():
        value = request.get(name)
        if not isinstance(value, str) or value not in values:
            continue
        new_value = values[value]
        if new_value is None:
            request.drop(name)
        else:
            request.set(name, new_value)
    for name in dialect.lists:
        if name in request and not isinstance(request.get(name), list):
            request.set(name, [request.get(name)])


def add_defaults(request: ChatRequest, dialect: Dialect) -> None:
    for name, value in dialect.defaults.items():
        if name not in request:
            request.set(name, value)
