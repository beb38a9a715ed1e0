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

from nulpoint.mock.interface import json_text
from nulpoint.mock.schema_example import example

REFUSAL_PROMPT = "please refuse"
PARALLEL_PROMPT = "parallel"
CHAIN_PROMPT = "step by step"
SEARCH_SOURCE = ("https://example.com/mock", "The mock encyclopedia")
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

    is_user: bool
    text: str = ""
    results: Sequence[str] = ()
    media: Sequence[str] = ()


class ModelRequest(msgspec.Struct, kw_only=True):
    """A request without its dialect. `forced` is the name of the one tool that must be called; "" is any of them."""

    turns: list[Turn]
    word_count: int
    tools: list[Tool] = []
    system: str = ""
    forced_tool: str | None = None
    single_call: bool = False
    output_schema: Any = None
    thinking: bool = False
    web_search: bool = False
    max_tokens: int | None = None
    stop_sequences: list[str] = []


class ToolCall(NamedTuple):
    """A call of a tool the model wishes for."""

    name: str
    arguments: dict[str, Any]


class ModelReply(msgspec.Struct, kw_only=True):
    """`finish`: `stop`, `length`, `sequence` (then `stopped_by` says which), `calls` or `refusal`."""

    finish: str = "stop"
    text: str = ""
    thought: str = ""
    tool_calls: list[ToolCall] = []
    search_query: str = ""
    refusal: str = ""
    stop_sequence: str | None = None


def generate_reply(request: ModelRequest) -> ModelReply:
    prompt, results, media = _since_latest_question(request.turns)
    if REFUSAL_PROMPT in prompt.lower():
        return ModelReply(finish="refusal", refusal="I will not answer that.")
    thought = f'The question is "{prompt[:60]}", and {len(results)} results are here.' if request.thinking else ""
    wishes = _choose_tool_calls(request, prompt, len(results))
    if wishes:
        said = "I ask for all of it at once." if PARALLEL_PROMPT in prompt.lower() else ""
        return ModelReply(finish="calls", text=said, thought=thought, tool_calls=wishes)
    text, finish, stopped_by = _truncate(_compose_text(request, results, media), request)
    query = prompt[:60] if request.web_search else ""
    return ModelReply(finish=finish, text=text, thought=thought, search_query=query, stop_sequence=stopped_by)


def _since_latest_question(turns: list[Turn]) -> tuple[str, list[str], list[str]]:
    """The newest question, and the results and media that have come with it and since."""
    start = max((number for number, turn in enumerate(turns) if turn.is_user and turn.text), default=0)
    results = [result for turn in turns[start:] for result in turn.results]
    media = [one for turn in turns[start:] for one in turn.media]
    return (turns[start].text if turns else ""), results, media


def _choose_tool_calls(asked: ModelRequest, prompt: str, results: int) -> list[ToolCall]:
    tools = [tool for tool in asked.tools if not asked.forced_tool or tool.name == asked.forced_tool]
    if not tools:
        return []
    if asked.forced_tool is None and results >= (2 if CHAIN_PROMPT in prompt.lower() else 1):
        return []
    at_once = PARALLEL_PROMPT in prompt.lower() and not asked.single_call
    wanted = tools if at_once else [tools[results % len(tools)]]
    return [ToolCall(tool.name, example(tool.schema)) for tool in wanted]


def _compose_text(asked: ModelRequest, results: list[str], media: list[str]) -> str:
    schema = ANY_OBJECT if asked.output_schema is None and "json" in asked.system.lower() else asked.output_schema
    if schema is not None:
        return json_text(example(schema))
    said = [f"I was told: {'; '.join(results)}."] if results else []
    if media:
        said.append(f"I see {', '.join(media)}.")
    if asked.web_search:
        said.append("A mock is a thing that stands in for another.")
    return " ".join(said) or "".join(sample_words(asked.word_count))


def _truncate(text: str, asked: ModelRequest) -> tuple[str, str, str | None]:
    """Up to the first stop sequence, or as many pieces as there may be tokens."""
    for stop in asked.stop_sequences:
        if stop and stop in text:
            return text[: text.index(stop)], "sequence", stop
    if asked.max_tokens is not None and len(whole := split_words(text)) > asked.max_tokens:
        return "".join(whole[: asked.max_tokens]), "length", None
    return text, "stop", None


def sample_words(count: int) -> list[str]:
    """Pieces that join to a text of `count` words."""
    return [_WORDS[i % len(_WORDS)] if i == 0 else " " + _WORDS[i % len(_WORDS)] for i in range(count)]


_PIECE = re.compile(r"\s*\S+|\s+")


def split_words(text: str) -> list[str]:
    """The text in the pieces a stream brings it in: a word each, with the space before it."""
    return _PIECE.findall(text)


def split_arguments(arguments: str, size: int = 8) -> list[str]:
    """The JSON text of arguments in the pieces a stream brings it in."""
    return [arguments[start : start + size] for start in range(0, len(arguments), size)]


_DATA_URL = re.compile(r"data:([^;,]+)[^,]*,(.*)", re.DOTALL)


def describe_media_url(url: str) -> str:
    """A picture or document as the model sees it: type and size, or where it is."""
    found = _DATA_URL.fullmatch(url)
    return describe_media(found[1], found[2]) if found else url


def describe_media(kind: str, data: str) -> str:
    """`data` is base64."""
    return f"{kind} of {len(data.rstrip('=')) * 3 // 4} bytes"
