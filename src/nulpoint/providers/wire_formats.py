"""The wire formats: the paths of their calls and the content type of their streams. This module does no I/O.

A path is a template that follows the base URL. `{model}` stands for the encoded name of the model, and `{method}` for
the method of the API if one operation has several, of which the translated request needs one. Names in capitals
(`{VERTEX_PROJECT}`) are variables, which are filled in when the configuration is read (`config/sections/endpoints.py`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote

import msgspec

from nulpoint.errors import rejected
from nulpoint.providers.operations import MODEL, OPERATIONS

Wire = Literal["openai", "anthropic", "gemini", "mistral", "vertex", "vertex-anthropic", "bedrock"]
Call = str  # one of CALLS
STREAM = "stream"  # a chat completion that is a stream
CONTINUED = "continued"  # a further part of a chat completion, for providers that give a long one in several parts
CONTINUED_STREAM = "continued_stream"  # the same as a stream
CALLS = (*OPERATIONS, STREAM, CONTINUED, CONTINUED_STREAM)
METHOD = "{method}"
_NO_NAMES = frozenset({"", ".", ".."})


class WireFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP properties of a wire format.

    Fields:
        paths: the paths of calls that differ from those of the operations; without one for `stream`, streams use the
            path of `chat`, and without one for a further part, that has the path of the first part.
        stream_content_type: the media type of streams, in lower case.
        model_prefix: a prefix that clients may write before a model's name and that is not part of the path.
        speaks: the client formats whose requests and responses are passed on; all others are translated.
        models_path: the path of the list of models; empty if there is none with the names that requests use.
    """

    paths: Mapping[Call, str] = {}
    stream_content_type: bytes = b"text/event-stream"
    model_prefix: str = ""
    speaks: frozenset[str] = frozenset()
    models_path: str = ""


_GEMINI: Mapping[Call, str] = {
    "chat": "/models/{model}:generateContent",
    "stream": "/models/{model}:streamGenerateContent?alt=sse",
    "embeddings": "/models/{model}:batchEmbedContents",
}
WIRE_FORMATS: Mapping[Wire, WireFormat] = MappingProxyType(
    {
        "openai": WireFormat(speaks=frozenset({"openai-chat", "openai-completions"}), models_path="/models"),
        "anthropic": WireFormat(paths={"chat": "/messages"}, models_path="/models?limit=1000"),
        "gemini": WireFormat(paths=_GEMINI, model_prefix="models/", models_path="/models?pageSize=1000"),
        "mistral": WireFormat(models_path="/models"),
        # This is Gemini's format except for embeddings.
        "vertex": WireFormat(paths={**_GEMINI, "embeddings": "/models/{model}:{method}"}, model_prefix="models/"),
        # This is Anthropic's format with the model in the path instead of the body.
        "vertex-anthropic": WireFormat(
            paths={"chat": "/models/{model}:rawPredict", "stream": "/models/{model}:streamRawPredict"}
        ),
        "bedrock": WireFormat(
            paths={
                "chat": "/model/{model}/converse",
                "stream": "/model/{model}/converse-stream",
                "embeddings": "/model/{model}/invoke",
            },
            stream_content_type=b"application/vnd.amazon.eventstream",
        ),
    }
)


class Paths:
    """The paths of one operation at one provider, for complete responses, streams, and further parts of either.

    `configured` are the provider's own paths, which take precedence over those of the wire format.
    """

    __slots__ = ("_continued", "_continued_stream", "_model_prefix", "fixed", "stream", "whole")

    def __init__(self, wire: Wire, configured: Mapping[Call, str], call: Call) -> None:
        paths = {**WIRE_FORMATS[wire].paths, **configured}
        self.whole = paths[call] if call in paths else OPERATIONS[call].path
        self.stream = paths.get(STREAM, self.whole) if call == "chat" else self.whole
        self._continued = paths.get(CONTINUED, self.whole)
        self._continued_stream = paths.get(CONTINUED_STREAM, self.stream)
        self.fixed = self.whole == self.stream and MODEL not in self.whole
        self._model_prefix = WIRE_FORMATS[wire].model_prefix

    def of(self, model: str, stream: bool, method: str = "", *, continued: bool = False) -> str:
        """Return the path of one call. `method` is the method of the API, if it has several.

        `continued` says that the call is for a further part of a response.

        Raises Failure (400) for a model name that would turn the path into another one.
        """
        name = quote(model.removeprefix(self._model_prefix), safe="@")
        if name in _NO_NAMES:
            raise rejected("the model name is not valid", param="model", code="invalid_value")
        if continued:
            path = self._continued_stream if stream else self._continued
        else:
            path = self.stream if stream else self.whole
        return (path.replace(METHOD, method) if method else path).replace(MODEL, name)
