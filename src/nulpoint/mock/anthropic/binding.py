"""Signatures of thinking blocks, and the checks that bind them to a conversation, a model and an account.

Source: https://platform.claude.com/docs/en/build-with-claude/preserved-thinking (read 2026-11) and the types of the
`anthropic` SDK. A signature of a binding model says what it was made for: `bound.MODEL.ACCOUNT.PREFIX.DIGEST`. An
account is a key, and a key that begins with `old-` stands for an account from before 31 August 2026, for which most
models check the conversation only if the request has `block_binding`.
"""

import hashlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from nulpoint.mock.anthropic.models import ClaudeModel, find_model
from nulpoint.mock.interface import signature, sorted_json

BETA = "thinking-binding-controls-2026-08-01"
OLD_ACCOUNT = "old-"
_DROP = 'Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
_NEEDS_BETA = f"That setting requires the `{BETA}` value in the `anthropic-beta` header."


class Binding(NamedTuple):
    """The outcome of the checks: an error message, or the blocks that the model does not get to see."""

    problem: str | None
    transformations: list[dict[str, str]]


class _Origin(NamedTuple):
    model: str
    account: str
    prefix: str


def sign(body: dict[str, Any], account: str, thought: str) -> str:
    """Return the signature of a thought at the beginning of the response to a request."""
    if not find_model(body["model"]).binds_thoughts:
        return signature("thinking", thought)
    origin = _Origin(
        _digest(find_model(body["model"]).names), _digest(account), _prefix(body, len(body["messages"]), 0)
    )
    return ".".join(("bound", *origin, signature("thinking", thought, *origin)))


def is_signed_by_mock(block: dict[str, Any]) -> bool:
    """Return whether this mock wrote the thought and it has not been changed since."""
    origin = _origin(block)
    given = block["signature"].rpartition(".")[2] if origin else block["signature"]
    return bool(given == signature("thinking", block["thinking"], *(origin or ())))


def check(body: dict[str, Any], account: str) -> Binding:
    """Check the thoughts in a request whose signatures are valid."""
    model = find_model(body["model"])
    if not model.binds_thoughts:
        return Binding(None, [])
    choice = (body.get("thinking") or {}).get("block_binding")
    checks_prefix = choice is not None or model.binds_for_all_accounts or not account.startswith(OLD_ACCOUNT)
    drops = (choice or {}).get("prefix_mismatch_behavior") == "drop_block"
    transformations = []
    for number, index, block in _thoughts(body):
        path = f"messages.{number}.content.{index}"
        reason = _mismatch(body, model, account, number, index, block) if checks_prefix or model.binds_account else None
        if reason == "prefix_binding_mismatch" and not (checks_prefix and drops):
            if checks_prefix:
                return Binding(f"{path}: {_prefix_error()}", [])
            continue
        if reason:
            transformations.append({"type": "thinking_dropped", "path": path, "reason": reason})
    return Binding(None, transformations)


def _prefix_error() -> str:
    return (
        "Invalid `signature` in `thinking` block. The block is bound to a different conversation."
        f" {_DROP} {_NEEDS_BETA}"
    )


def _mismatch(
    body: dict[str, Any], model: ClaudeModel, account: str, number: int, index: int, block: dict[str, Any]
) -> str | None:
    """Return the first check that a block fails, in the order in which the API reports them."""
    origin = _origin(block)
    if origin is None or origin.model != _digest(model.names):
        return "model_binding_mismatch"
    if model.binds_account and origin.account != _digest(account):
        return "organization_binding_mismatch"
    if origin.prefix != _prefix(body, number, index):
        return "prefix_binding_mismatch"
    return None


def _thoughts(body: dict[str, Any]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    for number, message in enumerate(body["messages"]):
        for index, block in enumerate(message["content"] if isinstance(message["content"], list) else ()):
            if block["type"] == "thinking":
                yield number, index, block


def _origin(block: dict[str, Any]) -> _Origin | None:
    parts = block["signature"].split(".")
    return _Origin(*parts[1:4]) if len(parts) == 5 and parts[0] == "bound" else None


def _prefix(body: dict[str, Any], number: int, index: int) -> str:
    """Return a digest of what comes before a block: system, tools, earlier messages, and the block's own message.

    Cache marks do not count, nor whether content is a string or a list, nor how a turn is split into messages.
    """
    messages = [(message["role"], _blocks(message["content"])) for message in body["messages"][:number]]
    if number < len(body["messages"]):
        message = body["messages"][number]
        messages.append((message["role"], _blocks(message["content"])[:index]))
    turns = [
        [role, [block for _, blocks in group for block in blocks]]
        for role, group in groupby(messages, key=lambda message: message[0])
    ]
    before = [_blocks(body.get("system")), body.get("tools") or [], [turn for turn in turns if turn[1]]]
    return _digest(_without_marks(before))


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or [])


def _without_marks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_marks(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_marks(inner) for name, inner in value.items() if name != "cache_control"}
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(sorted_json(value).encode()).hexdigest()[:32]
