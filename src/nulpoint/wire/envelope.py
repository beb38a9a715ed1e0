"""The few members of a request that the gateway acts on; the rest of the body is only checked to be JSON."""

import re

import msgspec
from msgspec import UNSET, UnsetType

from nulpoint.errors import Failure, rejected

_WHERE = re.compile(r" - at `\$\.(\w+)")
_SHOWN = 100  # at most this much of what a caller sent is shown back


class StreamOptions(msgspec.Struct):
    """`stream_options` of the OpenAI API, as far as it matters here."""

    include_usage: bool | None = None


class Envelope(msgspec.Struct):
    """A chat, completions or embeddings request in the OpenAI format. A member given twice counts the last time."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | UnsetType | None = UNSET


_DECODER = msgspec.json.Decoder(Envelope)


def asks_for_usage(envelope: Envelope) -> bool:
    """Whether the caller wants a stream to say at its end what it took."""
    options = envelope.stream_options
    return options is not UNSET and options is not None and bool(options.include_usage)


def read_envelope(body: bytes) -> Envelope:
    """Raises Failure (400), naming the member that is wrong."""
    try:
        envelope = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid_member(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise rejected(f"the request body is not valid JSON: {error}"[: _SHOWN * 2], code="invalid_json") from None
    except RecursionError:
        raise rejected("the request body is nested too deeply", code="invalid_json") from None
    if not envelope.model or envelope.model.isspace():
        raise rejected("`model` is empty; name a model, for example gpt-5.4", param="model", code="invalid_value")
    return envelope


def _invalid_member(problem: str) -> Failure:
    if "missing required field `model`" in problem:
        text = "`model` is missing; name a model, for example gpt-5.4"
        return rejected(text, param="model", code="missing_required_parameter")
    where = _WHERE.search(problem)
    if where is None:
        return rejected("the request body must be a JSON object", code="invalid_type")
    what = problem[: where.start()]
    return rejected(f"`{where[1]}` is wrong: {what.lower()}", param=where[1], code="invalid_type")
