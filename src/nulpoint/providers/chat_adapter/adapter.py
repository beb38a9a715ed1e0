"""Decides what has to change in chat requests to one model at one host, and changes it."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nulpoint.models.facts import ModelFacts
from nulpoint.providers.chat_adapter.chat_request import ChatRequest, decode_members
from nulpoint.providers.chat_adapter.messages import CACHE_MARK, MessageAdapter
from nulpoint.providers.chat_adapter.output_format import FORMAT, write_format
from nulpoint.providers.chat_adapter.parameters import (
    LIMIT,
    OLDER_LIMIT,
    add_defaults,
    drop_refused,
    map_values,
    rename_and_drop,
    write_limit,
)
from nulpoint.providers.chat_adapter.reasoning import EFFORT, SWITCHES, thinks, thinks_unasked, write_effort
from nulpoint.providers.chat_adapter.tools import CHOICE, TOOLS, check_tools, write_choice, write_tools
from nulpoint.providers.spec import ProviderSpec

_MODES = {"none", "auto", "required", "named"}


class AdaptedRequest(NamedTuple):
    """A request as a host gets it, and the names of what was dropped."""

    body: bytes
    dropped: list[str]


class ChatAdapter:
    """Adapts chat requests to one model at one host.

    What the model needs is decided when the adapter is made. A request that has nothing of it keeps its bytes, and is
    not decoded any further.
    """

    def __init__(self, spec: ProviderSpec, model: str, facts: ModelFacts) -> None:
        self.facts = facts
        self._name = f"{spec.name}/{model}"
        self._spec = spec
        self._messages = MessageAdapter(spec.dialect, facts)
        self._members = frozenset(_members_that_matter(spec, facts))
        self._always = bool(spec.dialect.defaults)
        self._reads_messages = self._messages.can_change
        self.is_needed = self._always or bool(self._members) or self._reads_messages

    def reads_messages(self, body: bytes) -> bool:
        """Return whether a request may have to be decoded as a whole."""
        return self._messages.may_change(body)

    def adapt(self, body: bytes, frame: bytes) -> AdaptedRequest:
        """Return the request as the host gets it. `frame` is the request with `[]` in place of some large values.

        Raises Failure (400) if the model does not support the request.
        """
        has_messages = self._reads_messages and self._messages.may_change(body)
        if not (has_messages or self._always) and self._members.isdisjoint(decode_members(frame)):
            return AdaptedRequest(body, [])
        request = ChatRequest(body)
        self._write(request)
        if has_messages:
            self._messages.write(request)
        return AdaptedRequest(request.body(), request.dropped)

    def _write(self, request: ChatRequest) -> None:
        """Adapt everything but the messages. Later steps depend on whether the model reasons after the earlier ones."""
        spec, dialect, facts = self._spec, self._spec.dialect, self.facts
        rename_and_drop(request, spec.rename, spec.drop)
        if not dialect.cache_marks:
            request.drop(CACHE_MARK)
        write_limit(request, facts)
        write_effort(request, dialect, facts)
        check_tools(request, self._name, dialect, facts)
        write_tools(request, dialect, facts)
        write_choice(request, dialect, facts)
        write_format(request, dialect, facts)
        drop_refused(request, facts.refused)
        if thinks(request, facts):
            drop_refused(request, facts.refused_while_thinking)
        if not facts.parallel_tool_calls:
            request.drop("parallel_tool_calls")
        map_values(request, dialect)
        add_defaults(request, dialect)


def _members_that_matter(spec: ProviderSpec, facts: ModelFacts) -> Iterator[str]:
    """Yield the names of the parameters without one of which nothing but messages has to change.

    What a model rejects while it reasons is not among them if it reasons only when a parameter asks for it.
    """
    dialect = spec.dialect
    yield from spec.rename
    yield from spec.drop
    yield from facts.refused
    yield from dialect.values
    yield from dialect.lists
    limits: Mapping[str, tuple[str, ...]] = {OLDER_LIMIT: (LIMIT,), LIMIT: (OLDER_LIMIT,)}
    yield from limits.get(facts.limit_member, ())
    if facts.reasoning is not None:
        yield EFFORT
        yield from SWITCHES
    if not facts.parallel_tool_calls:
        yield "parallel_tool_calls"
    if thinks_unasked(facts):
        yield from facts.refused_while_thinking
    if facts.chat_tools == "never" or (facts.chat_tools == "without_reasoning" and thinks_unasked(facts)):
        yield from (TOOLS, "functions")
    if not (facts.strict_tools and dialect.custom_tools) or {"tool"} & {*dialect.accepts, *dialect.rejects}:
        yield TOOLS
    if set(facts.tool_choice) < _MODES or not (facts.forced_tools_while_thinking and dialect.allowed_tools):
        yield CHOICE
    if not all(
        (facts.json_object, facts.json_schema, facts.json_with_tools, facts.json_with_stream, facts.json_while_thinking)
    ):
        yield FORMAT
