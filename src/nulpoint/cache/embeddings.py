"""Embeddings are kept one by one: of a batch, a provider is asked only for the inputs nobody has asked for before.

The joined answer is what the provider would have said to the whole batch: every vector in its place, in the encoding
asked for, and the tokens of all inputs. Providers count the tokens of a batch as one number, so that number is shared
out over the inputs by length: it is exact where the same batch, a single input or token ids are asked for, and close
elsewhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from nulpoint.cache.fingerprint import UncacheableRequestError, canonical, digest, separate
from nulpoint.formats import json_edit
from nulpoint.formats.malformed import MALFORMED, NOT_JSON
from nulpoint.protocols.openai.usage import Tokens

MAX_INPUTS = 2048  # OpenAI's own bound of a batch
_COUNTED = 256 * 1024  # bytes of an answer; a shorter one cannot hold many members
_MEMBERS_A_VECTOR, _OTHER_MEMBERS = 16, 10_000


class CachedVector(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One kept embedding.

    Fields:
        item: its JSON object without `index`, as it came.
        tokens: its share of what the provider counted; None where that was nothing.
        provider: who answered.
        model: as the provider says.
        stored: when it was kept, in Unix seconds.
        target: the model's name at the provider.
        dropped: request members that the provider could not take, comma-separated.
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
        """Bytes it holds; the names are one for the whole batch."""
        return len(self.item) + len(self.model)


class VectorMismatchError(Exception):
    """The provider's answer does not hold one vector for each input it was asked for."""


class EmbeddingBatch(NamedTuple):
    """The inputs of a request, as JSON texts, and the key of each."""

    body: bytes
    inputs: list[bytes]
    keys: list[bytes]

    def missing(self, cached: Mapping[bytes, CachedVector]) -> list[int]:
        """The inputs to ask for, by position; of equal ones the first."""
        first = {key: position for position, key in reversed([*enumerate(self.keys)])}
        return sorted(position for key, position in first.items() if key not in cached)

    def request(self, missing: Sequence[int]) -> bytes:
        """The caller's request, for those inputs only. The same bytes where that is all of them."""
        if len(missing) == len(self.inputs):
            return self.body
        (member,) = [member for member in json_edit.members(self.body) if member.key == "input"]
        text = b"[" + b",".join([self.inputs[position] for position in missing]) + b"]"
        return json_edit.apply(self.body, [json_edit.JsonEdit(member.start, member.end, text)])


def read_batch(body: bytes, namespace: bytes, chain: bytes) -> EmbeddingBatch | None:
    """None where the cache has to be bypassed; see `fingerprint` for that and for the arguments."""
    try:
        rest, apart = separate(body, ("input",))
        if "input" not in apart:
            return None
        given = _inputs(apart["input"])
        if not 0 < len(given) <= MAX_INPUTS:
            return None
        inputs = [canonical(each) for each in given]
    except UncacheableRequestError:
        return None
    common = digest(b"embeddings", namespace, chain, rest)
    return EmbeddingBatch(body, inputs, [digest(common, text) for text in inputs])


def _inputs(value: Any) -> list[Any]:
    """A list of numbers is one input, already cut into tokens."""
    tokens = isinstance(value, list) and value and all(isinstance(each, int) for each in value)
    return [value] if tokens or not isinstance(value, list) else value


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None


class _EmbeddingsResponse(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]
    model: str = ""
    usage: dict[str, Any] | None = None  # all of it is decoded, since the joined answer repeats it


def read_vectors(
    response: bytes,
    batch: EmbeddingBatch,
    requested: Sequence[int],
    provider: str,
    now: float,
    target: str = "",
    dropped: str = "",
) -> dict[bytes, CachedVector]:
    """The vectors of a provider's answer by key, each a copy. Raises VectorMismatchError. `now`: Unix seconds."""
    if len(response) > _COUNTED and _has_too_many_members(response, len(requested)):
        raise VectorMismatchError
    try:
        decoded = msgspec.json.decode(response, type=_EmbeddingsResponse)
        usage = msgspec.convert(decoded.usage or {}, _Usage)
        items = {int(bytes(item.get("index", b"%d" % at))): item for at, item in enumerate(decoded.data)}
    except MALFORMED:
        raise VectorMismatchError from None
    whole = all("embedding" in item for item in decoded.data)
    if not whole or len(decoded.data) != len(requested) or sorted(items) != [*range(len(requested))]:
        raise VectorMismatchError
    shares = _shares(usage.prompt_tokens, [_length(batch.inputs[position]) for position in requested])
    return {
        batch.keys[position]: CachedVector(
            _without_index(items[at]), shares[at], provider, decoded.model, now, target, dropped
        )
        for at, position in enumerate(requested)
    }


def _has_too_many_members(response: bytes, vectors: int) -> bool:
    """Whether it is made of so many objects or members that reading them would hold up the event loop."""
    most = vectors * _MEMBERS_A_VECTOR + _OTHER_MEMBERS
    return response.count(b"{") > most or response.count(b":") > most


def _without_index(item: dict[str, msgspec.Raw]) -> bytes:
    return msgspec.json.encode({name: value for name, value in item.items() if name != "index"})


def _length(text: bytes) -> int:
    """In tokens, where the input is a list of them, else in bytes."""
    return text.count(b",") + 1 if text.startswith(b"[") else len(text)


def _shares(total: int | None, lengths: Sequence[int]) -> list[int] | list[None]:
    """`total` in whole parts like the lengths; the parts add up to it."""
    if total is None:
        return [None] * len(lengths)
    whole = sum(lengths)
    shares = []
    given = reached = 0
    for length in lengths:
        reached += length
        shares.append(total * reached // whole - given)
        given += shares[-1]
    return shares


def join(batch: EmbeddingBatch, vectors: Mapping[bytes, CachedVector], response: bytes | None) -> bytes:
    """The answer to the whole batch. `answer`: the provider's to what was asked of it, None where nothing was. Raises
    VectorMismatchError where a name in that is no UTF-8."""
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
    # Megabytes, so they are put together in one copy.
    pieces: list[bytes | memoryview] = [msgspec.json.encode(members)[:-1], b',"data":[']
    for index, vector in enumerate(ordered):
        pieces += (b',{"index":%d,' % index if index else b'{"index":0,', memoryview(vector.item)[1:])
    return b"".join([*pieces, b"]}"])
