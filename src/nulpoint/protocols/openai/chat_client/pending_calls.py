"""Pairs the tool calls of a chat conversation with their results.

OpenAI and all other providers reject calls without a result and results without a call, each with a different error.
The gateway rejects such requests itself, with a 400 that names the message.
"""

from collections import defaultdict, deque
from itertools import islice
from typing import Any, NamedTuple

from nulpoint.protocols.openai.chat import invalid


class PairedCall(NamedTuple):
    """The call that a result belongs to."""

    unique_id: str
    name: str


class PendingCalls:
    """The calls of a conversation that have no result yet.

    Each call gets a unique id. Calls are looked up by the client's id or by function name in constant time.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._number = 0  # the last number that was appended to an id
        self._pending: dict[str, tuple[str, str]] = {}  # the client's id and the function name, by unique id
        self._by_id: defaultdict[str, deque[str]] = defaultdict(deque)  # unique ids by the client's id
        self._by_name: defaultdict[str, deque[str]] = defaultdict(deque)  # unique ids by function name

    def add(self, client_id: str, name: str) -> str:
        """Add a call, and return its id, with a number appended if another call has the same id.

        This is needed because some providers number their calls from the start in every response. The numbers only
        rise, so no request can make this loop try the same ones again and again.
        """
        unique_id = client_id
        while unique_id in self._ids:
            self._number = max(self._number + 1, len(self._ids))
            unique_id = f"{client_id}-{self._number}"
        self._ids.add(unique_id)
        self._pending[unique_id] = client_id, name
        self._by_id[client_id].append(unique_id)
        self._by_name[name].append(unique_id)
        return unique_id

    def clear(self) -> None:
        """Drop all calls, so that none needs a result."""
        self._pending.clear()
        self._by_id.clear()
        self._by_name.clear()

    def take(self, message: dict[str, Any], where: str) -> PairedCall:
        """Return the first call without a result that the message names, which now has one. Raises Failure (400)."""
        legacy = message["role"] == "function"
        member = "name" if legacy else "tool_call_id"
        key = message.get(member)
        unique_ids = (self._by_name if legacy else self._by_id).get(key) if isinstance(key, str) else None
        while unique_ids:
            unique_id = unique_ids.popleft()
            if unique_id in self._pending:  # otherwise it already has a result, found through the other table
                return PairedCall(unique_id, self._pending.pop(unique_id)[1])
        raise invalid(f"{where}.{member}", "must name a call of the assistant's message before it, and each call once")

    def check_none_pending(self, index: int) -> None:
        """Raise Failure (400) if a call of the message at `index` has no result."""
        if self._pending:
            ids = ", ".join(client_id[:60] for client_id, _ in islice(self._pending.values(), 5))
            text = f"must each have a `tool` message with its result: {ids} has none"
            raise invalid(f"messages[{index}].tool_calls", text)
