"""Caching of embeddings, one vector per entry: of a batch, only the inputs that are not cached go to the provider.

The joined response is the one the provider would have given to the whole batch: every vector in its place, in the
requested encoding, and the tokens of all inputs. Providers report the tokens of a batch as one number, which is divided
among the inputs by length. The sum in a joined response is exact for the same batch, for a single input and for token
ids, and approximate otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from nulpoint.cache.fingerprint import digest
from nulpoint.conversation.usage import Tokens
from nulpoint.formats import json_edit
from nulpoint.formats.canonical_json import NoCanonicalTextError, canonical, separate
from nulpoint.formats.malformed import MALFORMED, NOT_JSON

MAX_INPUTS = 2048  # OpenAI's limit for a batch
_UNCHECKED_BYTES = 256 * 1024  # a response of at most this size cannot have too many members
_MEMBERS_PER_VECTOR, _OTHER_MEMBERS = 16, 10_000


class CachedVector(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A cached embedding.

    Fields:
        item: the JSON object that the provider sent, without `index`.
        tokens: its share of the tokens that the provider reported; None if the provider reported none.
        provider: the name of the provider.
        model: the model as the provider named it in its response.
        stored: when it was stored, in Unix seconds.
        target: the name of the model in the request to the provider.
        dropped: the request members that the provider does not support, comma-separated.
    """

    item: bytes
    tokens: Tokens | None
    provider: str
    model: str
    stored: float
    target: str = ""
    dropped: str = ""

    @property
    def size(self) -> int:
        """Return its size in bytes. Strings that all vectors of a batch share do not count."""
        return len(self.item) + len(self.model)


class VectorMismatchError(Exception):
    """The provider's response does not have exactly one vector for each input."""


class EmbeddingBatch(NamedTuple):
    """The inputs of a request, as JSON texts, and the key of each."""

    body: bytes
    inputs: list[bytes]
    keys: list[bytes]

    def missing(self, cached: Mapping[bytes, CachedVector]) -> list[int]:
        """Return the positions of the inputs that are not cached; of equal inputs only the first."""
        first = {key: position for position, key in reversed([*enumerate(self.keys)])}
        return sorted(position for key, position in first.items() if key not in cached)

    def request(self, missing: Sequence[int]) -> bytes:
        """Return the client's request with only those inputs. If they are all, it is returned unchanged."""
        if len(missing) == len(self.inputs):
            return self.body
        (member,) = [member for member in json_edit.members(self.body) if member.key == "input"]
        text = b"[" + b",".join([self.inputs[position] for position in missing]) + b"]"
        return json_edit.apply(self.body, [json_edit.JsonEdit(member.start, member.end, text)])


def read_batch(body: bytes, namespace: bytes, chain: bytes) -> EmbeddingBatch | None:
    """Return the batch of an embeddings request, or None if the cache has to be bypassed.

    The arguments, and the reasons for a bypass, are the same as for `fingerprint`.
    """
    try:
        other_members, _, removed = separate(body, ("input",))
        if "input" not in removed:
            return None
        values = _inputs(removed["input"])
        if not 0 < len(values) <= MAX_INPUTS:
            return None
        inputs = [canonical(value) for value in values]
    except NoCanonicalTextError:
        return None
    common = digest(b"embeddings", namespace, chain, other_members)
    return EmbeddingBatch(body, inputs, [digest(common, text) for text in inputs])


def _inputs(value: Any) -> list[Any]:
    """Return the inputs of a request. A list of numbers is a single input that consists of token ids."""
    tokens = isinstance(value, list) and value and all(isinstance(each, int) for each in value)
    return [value] if tokens or not isinstance(value, list) else value


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None


class _EmbeddingsResponse(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]
    model: str = ""
    usage: dict[str, Any] | None = None  # decoded in full, since the joined response repeats it


def read_vectors(
    response: bytes,
    batch: EmbeddingBatch,
    requested: Sequence[int],
    provider: str,
    now: float,
    target: str = "",
    dropped: str = "",
) -> dict[bytes, CachedVector]:
    """Return copies of the vectors in a provider's response, by key. `now` is in Unix seconds.

    Raises VectorMismatchError.
    """
    if len(response) > _UNCHECKED_BYTES and _has_too_many_members(response, len(requested)):
        raise VectorMismatchError
    try:
        decoded = msgspec.json.decode(response, type=_EmbeddingsResponse)
        usage = msgspec.convert(decoded.usage or {}, _Usage)
        items = {int(bytes(item.get("index", b"%d" % at))): item for at, item in enumerate(decoded.data)}
    except MALFORMED:
        raise VectorMismatchError from None
    complete = all("embedding" in item for item in decoded.data)
    if not complete or len(decoded.data) != len(requested) or sorted(items) != [*range(len(requested))]:
        raise VectorMismatchError
    shares = _shares(usage.prompt_tokens, [_length(batch.inputs[position]) for position in requested])
    return {
        batch.keys[position]: CachedVector(
            _without_index(items[at]), shares[at], provider, decoded.model, now, target, dropped
        )
        for at, position in enumerate(requested)
    }


def _has_too_many_members(response: bytes, vectors: int) -> bool:
    """Return whether the response has so many objects or members that decoding it would block the event loop."""
    limit = vectors * _MEMBERS_PER_VECTOR + _OTHER_MEMBERS
    return response.count(b"{") > limit or response.count(b":") > limit


def _without_index(item: dict[str, msgspec.Raw]) -> bytes:
    return msgspec.json.encode({name: value for name, value in item.items() if name != "index"})


def _length(text: bytes) -> int:
    """Return the length of an input: in tokens if it is a list of token ids, else in bytes."""
    return text.count(b",") + 1 if text.startswith(b"[") else len(text)


def _shares(total: int | None, lengths: Sequence[int]) -> list[int] | list[None]:
    """Divide `total` in proportion to the lengths, into whole numbers that add up to it."""
    if total is None:
        return [None] * len(lengths)
    total_length = sum(lengths)
    shares = []
    assigned = length_so_far = 0
    for length in lengths:
        length_so_far += length
        shares.append(total * length_so_far // total_length - assigned)
        assigned += shares[-1]
    return shares


def join(batch: EmbeddingBatch, vectors: Mapping[bytes, CachedVector], response: bytes | None) -> bytes:
    """Return the response to the whole batch, made of the vectors.

    `response` is the provider's response to the inputs that were missing, None if none were. Raises
    VectorMismatchError if a name in it is not valid UTF-8.
    """
    ordered = [vectors[key] for key in batch.keys]
    members: dict[str, Any] = {"object": "list", "model": ordered[0].model}
    if response is not None:
        try:
            members |= msgspec.json.decode(response, type=dict[str, msgspec.Raw])
        except NOT_JSON:
            raise VectorMismatchError from None
        del members["data"]
    tokens = [vector.tokens for vector in ordered if vector.tokens is not None]
    reported = msgspec.json.decode(members.pop("usage", b"null")) or {}
    if len(tokens) == len(ordered):
        members["usage"] = {**reported, "prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
    # The result may be megabytes long, so the pieces are joined in one copy.
    pieces: list[bytes | memoryview] = [msgspec.json.encode(members)[:-1], b',"data":[']
    for index, vector in enumerate(ordered):
        pieces += (b',{"index":%d,' % index if index else b'{"index":0,', memoryview(vector.item)[1:])
    return b"".join([*pieces, b"]}"])
