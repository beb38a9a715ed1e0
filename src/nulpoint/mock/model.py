"""The model that all mock providers share: what it says is decided here, once, by what it was asked.

Nothing is random. A provider's file turns its request into `Asked` and `Reply` into its own answer, so that a caller
who asks two providers the same gets the same from both.

| Asked for | Said |
|---|---|
| nothing special | words that mean nothing |
| `parallel` in the prompt, and tools | a sentence, and a call of each tool at once; then what the results said |
| tools | a call of the first; then what the result said |
| `step by step` in the prompt, and tools | one call a turn until there are two results; then what they said |
| images, documents, sound | their types and sizes |
| a schema | the simplest value it accepts |
| `JSON` in the system message | a JSON object |
| reasoning | a thought before anything else |
| a search of the provider's own | one source, cited |
| `please refuse` in the prompt | a refusal |
| fewer tokens than words, a stop sequence | the text up to there |
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from nulpoint.mock.answers import json_text
from nulpoint.mock.schema import example

REFUSE = "please refuse"
PARALLEL = "parallel"
CHAIN = "step by step"
SOURCE = ("https://example.com/mock", "The mock encyclopedia")
ANY_OBJECT = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
}  # where JSON is wanted, but no schema given
_TEXT = """a mock answer made of plain words that mean nothing and are always the same so that tests can compare
them byte by byte and people can see at once where they come from"""
_WORDS = _TEXT.split()


class Tool(NamedTuple):
    name: str
    schema: Any


class Turn(NamedTuple):
    """A message of any provider: what a person (`user`) or the model says, or results of tools."""

    user: bool
    text: str = ""
    results: Sequence[str] = ()
    media: Sequence[str] = ()


class Asked(msgspec.Struct, kw_only=True):
    """A request without its dialect. `forced` is the name of the one tool that must be called; "" is any of them."""

    turns: list[Turn]
    words: int
    tools: list[Tool] = []
    system: str = ""
    forced: str | None = None
    one_call: bool = False
    schema: Any = None
    thinks: bool = False
    searches: bool = False
    limit: int | None = None
    stops: list[str] = []


class Wish(NamedTuple):
    """A call of a tool the model wishes for."""

    name: str
    arguments: dict[str, Any]


class Reply(msgspec.Struct, kw_only=True):
    """`finish`: `stop`, `length`, `sequence` (then `stopped_by` says which), `calls` or `refusal`."""

    finish: str = "stop"
    text: str = ""
    thought: str = ""
    wishes: list[Wish] = []
    query: str = ""
    refusal: str = ""
    stopped_by: str | None = None


def reply(asked: Asked) -> Reply:
    prompt, results, media = _newest(asked.turns)
    if REFUSE in prompt.lower():
        return Reply(finish="refusal", refusal="I will not answer that.")
    thought = f'The question is "{prompt[:60]}", and {len(results)} results are here.' if asked.thinks else ""
    wishes = _wishes(asked, prompt, len(results))
    if wishes:
        said = "I ask for all of it at once." if PARALLEL in prompt.lower() else ""
        return Reply(finish="calls", text=said, thought=thought, wishes=wishes)
    text, finish, stopped_by = _cut(_text(asked, results, media), asked)
    query = prompt[:60] if asked.searches else ""
    return Reply(finish=finish, text=text, thought=thought, query=query, stopped_by=stopped_by)


def _newest(turns: list[Turn]) -> tuple[str, list[str], list[str]]:
    """The newest question, and the results and media that have come with it and since."""
    start = max((number for number, turn in enumerate(turns) if turn.user and turn.text), default=0)
    results = [result for turn in turns[start:] for result in turn.results]
    media = [one for turn in turns[start:] for one in turn.media]
    return (turns[start].text if turns else ""), results, media


def _wishes(asked: Asked, prompt: str, results: int) -> list[Wish]:
    tools = [tool for tool in asked.tools if not asked.forced or tool.name == asked.forced]
    if not tools:
        return []
    if asked.forced is None and results >= (2 if CHAIN in prompt.lower() else 1):
        return []
    at_once = PARALLEL in prompt.lower() and not asked.one_call
    wanted = tools if at_once else [tools[results % len(tools)]]
    return [Wish(tool.name, example(tool.schema)) for tool in wanted]


def _text(asked: Asked, results: list[str], media: list[str]) -> str:
    schema = ANY_OBJECT if asked.schema is None and "json" in asked.system.lower() else asked.schema
    if schema is not None:
        return json_text(example(schema))
    said = [f"I was told: {'; '.join(results)}."] if results else []
    if media:
        said.append(f"I see {', '.join(media)}.")
    if asked.searches:
        said.append("A mock is a thing that stands in for another.")
    return " ".join(said) or "".join(words(asked.words))


def _cut(text: str, asked: Asked) -> tuple[str, str, str | None]:
    """Up to the first stop sequence, or as many pieces as there may be tokens."""
    for stop in asked.stops:
        if stop and stop in text:
            return text[: text.index(stop)], "sequence", stop
    if asked.limit is not None and len(whole := pieces(text)) > asked.limit:
        return "".join(whole[: asked.limit]), "length", None
    return text, "stop", None


def words(count: int) -> list[str]:
    """Pieces that join to a text of `count` words."""
    return [_WORDS[i % len(_WORDS)] if i == 0 else " " + _WORDS[i % len(_WORDS)] for i in range(count)]


_PIECE = re.compile(r"\s*\S+|\s+")


def pieces(text: str) -> list[str]:
    """The text in the pieces a stream brings it in: a word each, with the space before it."""
    return _PIECE.findall(text)


def fragments(arguments: str, size: int = 8) -> list[str]:
    """The JSON text of arguments in the pieces a stream brings it in."""
    return [arguments[start : start + size] for start in range(0, len(arguments), size)]


_DATA_URL = re.compile(r"data:([^;,]+)[^,]*,(.*)", re.DOTALL)


def media_of(url: str) -> str:
    """A picture or document as the model sees it: type and size, or where it is."""
    found = _DATA_URL.fullmatch(url)
    return sight(found[1], found[2]) if found else url


def sight(kind: str, data: str) -> str:
    """`data` is base64."""
    return f"{kind} of {len(data.rstrip('=')) * 3 // 4} bytes"
