"""What each wire format asks of HTTP: the paths of its calls, and how its streams are announced. Pure.

A path is a template after the base URL. `{model}` in it is the model's name, encoded. In rows names in capitals
(`{VERTEX_PROJECT}`) are variables: they are filled in once, when the configuration is read (`config/sections/
endpoints.py`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote

import msgspec

from nulpoint.errors import rejected

Wire = Literal["openai", "anthropic", "gemini", "mistral", "vertex", "vertex-anthropic", "bedrock"]
Call = Literal["chat", "stream", "completions", "embeddings"]
MODEL = "{model}"
_NO_NAMES = frozenset({"", ".", ".."})


class WireFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One format.

    Fields:
        paths: by call; where a streamed chat has no path of its own, it is that of `chat`.
        content: the media type a stream comes as, in lower case.
        before_model: what callers may write before a model's name, and the path does not have.
    """

    paths: Mapping[Call, str]
    content: bytes = b"text/event-stream"
    before_model: str = ""


_OPENAI: Mapping[Call, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}
_GEMINI: Mapping[Call, str] = {
    "chat": "/models/{model}:generateContent",
    "stream": "/models/{model}:streamGenerateContent?alt=sse",
    "embeddings": "/models/{model}:batchEmbedContents",
}
WIRES: Mapping[Wire, WireFormat] = MappingProxyType(
    {
        "openai": WireFormat(paths=_OPENAI),
        "anthropic": WireFormat(paths={**_OPENAI, "chat": "/messages"}),
        "gemini": WireFormat(paths=_GEMINI, before_model="models/"),
        "mistral": WireFormat(paths=_OPENAI),
        # Gemini's format, but for embeddings.
        "vertex": WireFormat(paths={**_GEMINI, "embeddings": "/models/{model}:predict"}, before_model="models/"),
        # Anthropic's, with the model in the path and not in the body.
        "vertex-anthropic": WireFormat(
            paths={"chat": "/models/{model}:rawPredict", "stream": "/models/{model}:streamRawPredict"}
        ),
        "bedrock": WireFormat(
            paths={
                "chat": "/model/{model}/converse",
                "stream": "/model/{model}/converse-stream",
                "embeddings": "/model/{model}/invoke",
            },
            content=b"application/vnd.amazon.eventstream",
        ),
    }
)


class Paths:
    """The two paths of one route at one provider, which are nearly always the same one: of a whole answer, of a stream.

    `own` are the row's, which count before the format's.
    """

    __slots__ = ("_before_model", "fixed", "stream", "whole")

    def __init__(self, wire: Wire, configured: Mapping[Call, str], call: Call) -> None:
        paths = {**WIRES[wire].paths, **configured}
        self.whole = paths[call] if call in paths else paths["chat"]
        self.stream = paths.get("stream", self.whole) if call == "chat" else self.whole
        self.fixed = self.whole == self.stream and MODEL not in self.whole
        self._before_model = WIRES[wire].before_model

    def of(self, model: str, stream: bool) -> str:
        """The path of one call, after the base URL. Raises Failure (400) for a name that would make it another path."""
        name = quote(model.removeprefix(self._before_model), safe="@")
        if name in _NO_NAMES:
            raise rejected("the model's name is none", param="model", code="invalid_value")
        return (self.stream if stream else self.whole).replace(MODEL, name)
