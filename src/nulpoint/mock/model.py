"""The mock model behind all mock providers: it decides what to reply to a request.

Nothing is random. Each provider translates its request into a `ModelRequest`, and the `ModelReply` into its own
response format. A client that sends the same request to two providers therefore gets the same reply from both.

| Request | Reply |
|---|---|
| nothing special | meaningless words |
| tools, and `parallel` in the prompt | a sentence and a call of every tool at once; then the text of the results |
| tools | a call of the first tool; then the text of the result |
| tools, and `step by step` in the prompt | one call a turn until there are two results; then their text |
| images, documents, audio | their types and sizes |
| an output schema | the simplest value that the schema accepts |
| `JSON` in the system message | a JSON object |
| reasoning | a thought before anything else |
| the provider's web search | a text that cites one source |
| `please refuse` in the prompt | a refusal |
| `in two parts` in the prompt, of Gemini 4 | half of the text, and a token that continues it |
| fewer tokens than words, or a stop sequence | the text up to that point |
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
CONTINUATION_PROMPT = "in two parts"  # a word of Gemini 4 only, which then responds in two parts
SEARCH_SOURCE = ("https://example.com/mock", "The mock encyclopedia")
ANY_OBJECT = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
}  # the schema for requests that ask for JSON without a schema
_SAMPLE_TEXT = """a mock answer made of plain words that mean nothing and are always the same so that tests can compare
them byte by byte and people can see at once where they come from"""
_SAMPLE_WORDS = _SAMPLE_TEXT.split()


class Tool(NamedTuple):
    name: str
    schema: Any


class Turn(NamedTuple):
    """A message in a conversation: text and media of the user or the model, or results of tools."""

    is_user: bool
    text: str = ""
    results: Sequence[str] = ()
    media: Sequence[str] = ()


class ModelRequest(msgspec.Struct, kw_only=True):
    """A request to the model, independent of any provider's format.

    `forced_tool` is the name of the tool that must be called, or "" if any tool must be called.
    """

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
    """A tool call that the model asks for."""

    name: str
    arguments: dict[str, Any]


class ModelReply(msgspec.Struct, kw_only=True):
    """The reply of the model, independent of any provider's format.

    `finish` is `stop`, `length`, `calls`, `refusal`, or `sequence` if the text ended at `stop_sequence`.
    """

    finish: str = "stop"
    text: str = ""
    thought: str = ""
    tool_calls: list[ToolCall] = []
    search_query: str = ""
    refusal: str = ""
    stop_sequence: str | None = None


def generate_reply(request: ModelRequest) -> ModelReply:
    """Decide what the model replies, by the rules at the top of this module."""
    prompt, results, media = _since_latest_question(request.turns)
    if REFUSAL_PROMPT in prompt.lower():
        return ModelReply(finish="refusal", refusal="I will not answer that.")
    thought = f'The question is "{prompt[:60]}", and {len(results)} results are here.' if request.thinking else ""
    tool_calls = _choose_tool_calls(request, prompt, len(results))
    if tool_calls:
        text = "I ask for all of it at once." if PARALLEL_PROMPT in prompt.lower() else ""
        return ModelReply(finish="calls", text=text, thought=thought, tool_calls=tool_calls)
    text, finish, stop_sequence = _truncate(_compose_text(request, results, media), request)
    query = prompt[:60] if request.web_search else ""
    return ModelReply(finish=finish, text=text, thought=thought, search_query=query, stop_sequence=stop_sequence)


def _since_latest_question(turns: list[Turn]) -> tuple[str, list[str], list[str]]:
    """Return the latest question of the user, and the tool results and media since then."""
    start = max((number for number, turn in enumerate(turns) if turn.is_user and turn.text), default=0)
    results = [result for turn in turns[start:] for result in turn.results]
    media = [item for turn in turns[start:] for item in turn.media]
    return (turns[start].text if turns else ""), results, media


def _choose_tool_calls(request: ModelRequest, prompt: str, result_count: int) -> list[ToolCall]:
    tools = [tool for tool in request.tools if not request.forced_tool or tool.name == request.forced_tool]
    if not tools:
        return []
    if request.forced_tool is None and result_count >= (2 if CHAIN_PROMPT in prompt.lower() else 1):
        return []
    at_once = PARALLEL_PROMPT in prompt.lower() and not request.single_call
    chosen = tools if at_once else [tools[result_count % len(tools)]]
    return [ToolCall(tool.name, example(tool.schema)) for tool in chosen]


def _compose_text(request: ModelRequest, results: list[str], media: list[str]) -> str:
    schema = ANY_OBJECT if request.output_schema is None and "json" in request.system.lower() else request.output_schema
    if schema is not None:
        return json_text(example(schema))
    sentences = [f"I was told: {'; '.join(results)}."] if results else []
    if media:
        sentences.append(f"I see {', '.join(media)}.")
    if request.web_search:
        sentences.append("A mock is a thing that stands in for another.")
    return " ".join(sentences) or "".join(sample_words(request.word_count))


def _truncate(text: str, request: ModelRequest) -> tuple[str, str, str | None]:
    """Cut the text at the first stop sequence or at the token limit. Returns text, finish reason and stop sequence."""
    for stop in request.stop_sequences:
        if stop and stop in text:
            return text[: text.index(stop)], "sequence", stop
    if request.max_tokens is not None and len(split := split_words(text)) > request.max_tokens:
        return "".join(split[: request.max_tokens]), "length", None
    return text, "stop", None


def sample_words(count: int) -> list[str]:
    """Return the pieces of a text of `count` words."""
    return [
        _SAMPLE_WORDS[i % len(_SAMPLE_WORDS)] if i == 0 else " " + _SAMPLE_WORDS[i % len(_SAMPLE_WORDS)]
        for i in range(count)
    ]


_WORD_WITH_SPACE = re.compile(r"\s*\S+|\s+")


def split_words(text: str) -> list[str]:
    """Split a text as a stream sends it: one word at a time, with the space before it."""
    return _WORD_WITH_SPACE.findall(text)


def split_arguments(arguments: str, size: int = 8) -> list[str]:
    """Split the JSON text of tool arguments as a stream sends it."""
    return [arguments[start : start + size] for start in range(0, len(arguments), size)]


_DATA_URL = re.compile(r"data:([^;,]+)[^,]*,(.*)", re.DOTALL)


def describe_media_url(url: str) -> str:
    """Describe an image or document by its type and size, or by its URL if the data is not included."""
    match = _DATA_URL.fullmatch(url)
    return describe_media(match[1], match[2]) if match else url


def describe_media(media_type: str, data: str) -> str:
    """Describe media by its type and size; `data` is base64."""
    return f"{media_type} of {len(data.rstrip('=')) * 3 // 4} bytes"
