"""Fuzz targets for request bodies that are passed on: envelopes, members, fingerprints, estimates and batches.

The reference is Python's own `json`.
"""

import json
from typing import Any

import msgspec
from fuzz_requests import check_refusal
from hypothesis import strategies as st
from target import Target

from nulpoint.cache.embeddings import VectorMismatchError, join, read_batch, read_vectors
from nulpoint.cache.fingerprint import LONG_BODY, fingerprint
from nulpoint.errors import Failure
from nulpoint.formats import json_edit
from nulpoint.formats.json_nodes import exceeds_node_count
from nulpoint.protocols.openai.conversation_key import conversation_key
from nulpoint.protocols.openai.envelope import asks_for_usage, read_envelope
from nulpoint.ratelimit.token_estimate import estimated_tokens
from support.mutation import any_json, garbled, mutated_json
from support.samples import EMBEDDINGS, REQUESTS

Pairs = list[tuple[str, Any]]
_NAMES = st.sampled_from(
    ("model", "model", "Model", "MODEL", "stream", "Stream", "stream_options", "messages", "max_tokens", "max_completion_tokens",
     "n", "input", "prompt", "tools", "a", "", 'model"', "\\model", '"model":', "\u212a", "mode\u0131", "user", "metadata", "\u2028")
)  # fmt: skip
_SPACES = st.sampled_from(("", "", " ", "\n", "\t \r\n"))
_values = any_json.filter(lambda value: "\\ud800" not in json.dumps(value))


@st.composite
def objects(draw: Any) -> bytes:
    """Draw a JSON object in any legal spelling: with escapes, white space and repeated names."""
    pairs: Pairs = draw(st.lists(st.tuples(_NAMES, _values), max_size=6))
    if draw(st.integers(0, 4)):
        pairs.insert(
            draw(st.integers(0, len(pairs))),
            ("model", draw(st.sampled_from(("m", "gpt-4o", "", " ", '"', "é", "x" * 300)))),
        )
    members = []
    for name, value in pairs:
        key = json.dumps(name, ensure_ascii=draw(st.booleans()))
        if draw(st.integers(0, 5)) == 0:
            key = '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
        gap = draw(_SPACES)
        members.append(f"{gap}{key}{gap}:{gap}{json.dumps(value, ensure_ascii=draw(st.booleans()))}{gap}")
    gap = draw(_SPACES)
    return f"{gap}{{{','.join(members)}}}{gap}".encode("utf-8", "surrogatepass")


def pairs_of(body: bytes) -> Pairs | None:
    """Return the members of the object in the body, including repeated ones, or None if it is no object."""
    found: list[Pairs] = []
    try:
        text = body.decode()
        text.encode()
        json.loads(
            text, object_pairs_hook=lambda pairs: found.append(pairs) or dict(pairs), parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        return None
    return found[-1] if found and text.lstrip(" \t\r\n").startswith("{") else None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def envelope(body: bytes) -> None:
    """Check that an accepted body has one meaning and that any other is rejected as the client's mistake."""
    try:
        taken = read_envelope(body)
    except Failure as failure:
        check_refusal(failure)
        return
    with_text = read_envelope(body, canonical=True)
    assert (with_text.model, with_text.stream, asks_for_usage(with_text)) == (
        taken.model, taken.stream, asks_for_usage(taken),
    )  # fmt: skip
    pairs = pairs_of(body)
    if pairs is None:  # a string is invalid UTF-8; members that the gateway does not use are not decoded
        return
    for name in ("model", "stream", "n", "max_tokens", "max_completion_tokens"):
        named = [key for key, _ in pairs if key.lower() == name]
        assert named in ([], [name]), f"{named} in a request that was taken"
    members = dict(pairs)
    assert taken.model == members["model"]
    assert bool(taken.stream) == bool(members.get("stream"))


def positions(body: bytes) -> None:
    """Check that members are found at their positions and that an edit changes nothing else."""
    pairs = pairs_of(body)
    if not pairs:
        return
    found = json_edit.members(body)
    assert [(member.key, json.loads(body[member.start : member.end])) for member in found] == pairs
    assert [json.loads(body[member.key_start : member.key_end].rstrip(b" \t\r\n:")) for member in found] == [
        key for key, _ in pairs
    ]
    added = json_edit.apply(body, [json_edit.add_member(body, "added", b"[1]")])
    assert pairs_of(added) == [*pairs, ("added", [1])]
    if [key for key, _ in pairs].count("model") == 1:
        changed = json_edit.apply(body, [json_edit.set_model(body, 'n"')])
        assert pairs_of(changed) == [(key, 'n"' if key == "model" else value) for key, value in pairs]


def rewriting(body: bytes) -> None:
    pairs = pairs_of(body)
    if not pairs:
        return
    rename, drop = {"max_tokens": "max_completion_tokens", "a": "b"}, frozenset({"user", "metadata"})
    names = {key for key, _ in pairs}
    sent, dropped = json_edit.rewrite(body, rename, drop)
    lost = [key in drop or (key in rename and rename[key] in names) for key, _ in pairs]
    expected = [(rename.get(key, key), value) for (key, value), gone in zip(pairs, lost, strict=True) if not gone]
    assert (pairs_of(sent) or []) == expected
    assert dropped == [key for (key, value), gone in zip(pairs, lost, strict=True) if gone and value is not None]


def questions(given: tuple[bytes, int]) -> None:
    """Check that the same request in another spelling has the same fingerprint, and another request another one.

    The spelling of a long request counts.
    """
    body, place = given
    first = fingerprint(body, b"chat", b"", b"")
    pairs = pairs_of(body)
    if first is None or pairs is None:
        return
    if len(body) <= LONG_BODY:
        assert len({key for key, _ in pairs}) == len(pairs), "a name that comes twice has no one meaning"
    members = dict(pairs)
    again = json.dumps(dict(reversed(pairs)), ensure_ascii=place % 2 == 0, indent=1).encode("utf-8", "surrogatepass")
    if max(len(body), len(again)) <= LONG_BODY and not _has_numbers_json_changes(members):
        assert fingerprint(again, b"chat", b"", b"") == first
    others = {**members, f"more {place}": 1}
    assert fingerprint(json.dumps(others).encode(), b"chat", b"", b"") != first
    for name in members:
        if name not in ("stream", "stream_options"):
            without = {key: value for key, value in members.items() if key != name}
            assert fingerprint(json.dumps(without).encode(), b"chat", b"", b"") != first


def _has_numbers_json_changes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_numbers_json_changes, value.values()))
    if isinstance(value, list):
        return any(map(_has_numbers_json_changes, value))
    return isinstance(value, float)


def conversations(body: bytes) -> None:
    """Check that a body in which no reader can differ has one key, whether it is read at once or step by step."""
    try:
        envelope = read_envelope(body)
    except Failure:
        return
    key = conversation_key(body, envelope)
    padded = body + b" " * 5000
    assert conversation_key(padded, read_envelope(padded)) == key or key is None


def estimates(body: bytes) -> None:
    for generates_text in (True, False):
        tokens = estimated_tokens(body, generates_text)
        assert isinstance(tokens, int)
        assert tokens >= 1


def node_counts(given: tuple[bytes, int]) -> None:
    """Check that the count is never too low, because a body over the limit must not be decoded."""
    body, limit = given
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError):
        exceeds_node_count(body, limit)  # must not crash
        return
    nodes = _nodes(value)
    if nodes > limit + 1 and pairs_of(body) is not None and "\\" not in body.decode():
        assert exceeds_node_count(body, limit), f"{nodes} names and values are not over {limit}"


def _nodes(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(_nodes, value.values()))
    return 1 + sum(map(_nodes, value)) if isinstance(value, list) else 1


class _Item(msgspec.Struct):
    index: int


class _Joined(msgspec.Struct):
    data: list[_Item]


def batches(given: tuple[bytes, bytes]) -> None:
    body, answer = given
    batch = read_batch(body, b"", b"")
    if batch is None:
        return
    assert len(batch.inputs) == len(batch.keys)
    missing = batch.missing({})
    part = msgspec.json.decode(batch.request(missing[:1]))
    assert "input" in part
    try:
        joined = join(batch, read_vectors(answer, batch, missing, "p", 0.0), answer)
    except VectorMismatchError:
        return
    decoded = msgspec.json.decode(joined, type=_Joined)  # its other members are those of the provider, byte for byte
    assert [one.index for one in decoded.data] == [*range(len(batch.keys))]


_VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5]}
_BATCH_ANSWERS = [
    {"object": "list", "model": "m", "data": [_VECTOR], "usage": {"prompt_tokens": 5, "total_tokens": 5}},
    {"object": "list", "model": "m", "data": [_VECTOR, {**_VECTOR, "index": 1}], "usage": {"prompt_tokens": 5}},
]
bodies = objects() | garbled(objects()) | mutated_json(REQUESTS)
TARGETS = (
    Target("envelope", bodies, envelope),
    Target("members by position", objects() | mutated_json(REQUESTS), positions),
    Target("members renamed and dropped", objects() | mutated_json(REQUESTS), rewriting),
    Target("fingerprint", st.tuples(bodies, st.integers(0, 9)), questions),
    Target("conversation", objects() | mutated_json(REQUESTS), conversations),
    Target("token estimate", bodies, estimates),
    Target("count of names and values", st.tuples(bodies, st.integers(0, 60)), node_counts),
    Target(
        "batch of embeddings",
        st.tuples(mutated_json(EMBEDDINGS), mutated_json(_BATCH_ANSWERS)),
        batches,
        (
            (b'{"model":"m","input":"a"}', b'{"data":[{"embedding":[1]}],"\x80":1}'),
            (b'{"model":"m","input":"a"}', b'{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":1,"a":"\x80"}}'),
        ),
    ),
)
