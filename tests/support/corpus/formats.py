"""The parts that the judges of all formats share: the expected choices, and their comparison."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from support.corpus.openai_client import Answer


class Expected(NamedTuple):
    """One choice of the recording. The id of a call is None if the provider gave none."""

    finish: str
    text: str = ""
    thinking: str = ""
    calls: Sequence[tuple[str | None, str, Any]] = ()
    citations: Sequence[str] = ()  # URLs, in order
    refusal: str | None = None  # the provider's reason of a refusal, or empty if it gives none


class Format(NamedTuple):
    """Functions that read one provider's responses, written from the provider's documentation and recordings."""

    assembled: Callable[[str], dict[str, Any]]  # assembles a stream into a whole response
    failed: Callable[[dict[str, Any]], bool]  # whether the response must be reported as a failure
    choices: Callable[[dict[str, Any]], list[Expected]]
    usage: Callable[[dict[str, Any]], dict[str, int] | None]
    rest: Callable[[dict[str, Any]], Any]  # the response without the parts that the three above compare
    elsewhere: Mapping[str, str]  # see corpus.completeness


def compare(expected: list[Expected], usage: dict[str, int] | None, shown: Answer) -> None:
    """Compare both. Raises AssertionError that names the difference."""
    assert len(shown.choices) == len(expected)
    for index, one in enumerate(expected):
        choice = shown.choices[index]
        message = choice["message"]
        same("text", message.get("content") or "", one.text)
        same("thinking", message.get("reasoning_content") or "", one.thinking)
        same("finish", choice["finish_reason"], one.finish)
        assert (message.get("refusal") is None) == (one.refusal is None), "a refusal is not told, or made up"
        assert (one.refusal or "") in (message.get("refusal") or "")
        calls = message.get("tool_calls") or []
        given = [call_id for call_id, _, _ in one.calls]
        same("number of calls", len(calls), len(given))
        same("call ids", [call["id"] for call, id_ in zip(calls, given, strict=True) if id_],
             [id_ for id_ in given if id_])  # fmt: skip
        same("calls", [(call["function"]["name"], lenient(call["function"]["arguments"])) for call in calls],
             [(name, arguments) for _, name, arguments in one.calls])  # fmt: skip
        notes = [note["url_citation"] for note in message.get("annotations") or []]
        same("citations", [note["url"] for note in notes], list(one.citations))
        assert all(0 <= note["start_index"] <= note["end_index"] <= len(one.text) for note in notes)
    _compare_usage(usage, shown.usage)


def _compare_usage(expected: dict[str, int] | None, shown: dict[str, Any] | None) -> None:
    if expected is None:
        assert shown is None or not shown["total_tokens"], "usage was made up"
        return
    assert shown is not None, "the usage is missing"
    flat = {**shown, **(shown.get("prompt_tokens_details") or {}), **(shown.get("completion_tokens_details") or {})}
    for name, value in expected.items():
        same(f"usage.{name}", flat.get(name) or 0, value)


def same(what: str, seen: Any, wanted: Any) -> None:
    assert seen == wanted, f"{what}: {str(seen)[:100]!r} for {str(wanted)[:100]!r}"


def lenient(text: Any) -> Any:
    """Return the arguments of a call; arguments that a token limit cut are compared as text."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def events(text: str) -> Iterator[Any]:
    """Return the JSON of a stream's events. Only LF and CRLF end lines, as in all recordings."""
    for line in text.replace("\r\n", "\n").split("\n"):
        data = line[5:].strip() if line.startswith("data:") else ""
        if data and data != "[DONE]":
            yield json.loads(data)
