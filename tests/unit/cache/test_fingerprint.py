"""Tests the fingerprint of a request: equal requests share it, and anything a provider could read changes it."""

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nulpoint.cache.fingerprint import LONG_BODY, digest, fingerprint
from nulpoint.formats.canonical_json import MAX_BYTES, MAX_DECIMALS, MAX_NODES, NoCanonicalTextError, separate
from nulpoint.protocols.openai.envelope import DELIVERY

ROUTE, ALL, CHAIN = b"chat", b"", b"openai/gpt-4o"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.7, "seed": 1}


def key(body, route=ROUTE, namespace=ALL, chain=CHAIN):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    made = fingerprint(body, route, namespace, chain)
    with contextlib.suppress(NoCanonicalTextError):
        assert len(body) > LONG_BODY or digest(route, namespace, chain, separate(body, DELIVERY)[0]) == made
    return made


# -- equal requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        b'{"seed":1,"temperature":0.7,"messages":[{"content":"hi","role":"user"}],"model":"gpt-4o"}',
        b' {\n"model" : "gpt-4o",\t"messages": [ {"role":"user","content":"hi"} ],"temperature":7e-1,"seed":1.0 }\r\n',
        rb'{"model":"gpt\u002d4o","messages":[{"role":"user","content":"\u0068i"}],"temperature":0.70,"seed":1e0}',
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"temperature":0.7,"seed":1,"stream":true}',
        b'{"stream_options":{"include_usage":true},"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],'
        b'"temperature":70E-2,"seed":0.1e+1,"stream":null}',
    ],
)
def test_spelling_and_delivery_do_not_count(other):
    assert key(other) == key(BODY) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("1", "1e0"), ("100", "1E+2"), ("0", "-0"), ("0", "0.0e7"), ("0.1", "1e-1"), ("-2.50", "-25e-1"),
     ("1e39", "1" + "0" * 39), ("1e400", "10e399"), ("1234567890123456789012345", "1234567890123456789012345.0")],
)  # fmt: skip
def test_two_spellings_of_one_number(one, other):
    assert key(b'{"model":"m","n":%b}' % one.encode()) == key(b'{"model":"m","n":%b}' % other.encode()) is not None


# -- different requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.70", "0.71"), ("0.1", "0.10000000000000000001"), ("9007199254740992", "9007199254740993"), ("1", "-1"),
     ("18446744073709551616", "18446744073709551617"), ("1", '"1"'), ("1", "true"), ("0", "false"), ("0", "null"),
     ("1e400", "1e401"), ("1.5", '"15e-1"'), ("[]", "{}"), ('""', "null"), ("[1]", "1"), ('"a"', '"a "')],
)  # fmt: skip
def test_two_different_values(one, other):
    assert key(b'{"model":"m","n":%b}' % one.encode()) != key(b'{"model":"m","n":%b}' % other.encode())


# The members of OpenAI's chat, completions and embeddings requests (from its API description), and unknown ones.
MEMBERS = [
    "audio", "best_of", "cache_control", "dimensions", "echo", "encoding_format", "extra_body",
    "frequency_penalty", "function_call", "functions", "input", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "messages", "metadata", "min_p", "modalities", "model", "n",
    "parallel_tool_calls", "prediction", "presence_penalty", "prompt", "prompt_cache_key",
    "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed",
    "service_tier", "stop", "store", "suffix", "task_type", "temperature", "thinking", "tool_choice", "tools",
    "top_k", "top_logprobs", "top_p", "user", "verbosity", "web_search_options", "x_unheard_of",
]  # fmt: skip


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_counts_and_null_is_not_absent(member):
    plain = {name: value for name, value in BODY.items() if name != member}
    variants = [plain, *({**plain, member: value} for value in (None, 0, "", "a", [], {}, {"stream": True}))]
    assert len({key(variant) for variant in variants}) == len(variants)


def test_only_the_top_level_stream_is_delivery():
    assert key({**BODY, "extra": {"stream": True}}) != key({**BODY, "extra": {"stream": False}})


def test_route_namespace_and_chain_count_separately():
    keys = {
        key(BODY),
        key(BODY, route=b"completions"),
        key(BODY, namespace=b"t1"),
        key(BODY, namespace=b"t2"),
        key(BODY, chain=b"azure/gpt-4o"),
        key(BODY, namespace=b"t1", chain=b""),
        key(BODY, namespace=b"", chain=b"t1"),
    }
    assert len(keys) == 7
    assert digest(b"ab", b"c") != digest(b"a", b"bc") != digest(b"", b"abc")
    assert digest(b"1:", b"") != digest(b"1", b":")


# -- bodies without a fingerprint --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","n":1,"n":2}',
        b'{"model":"m","n":1,"n":1}',
        rb'{"model":"m","n":1,"\u006e":2}',
        b'{"model":"m","a":[{"b":{"n":1,"n" : 2}}]}',
        b'{"model":"m","stream":true,"stream":false}',
        rb'{"model":"m","n":1,"n":2,"text":"\u003a"}',
        rb'{"model":"m","n":1,"n":2,"text":"\u003A"}',
        rb'{"model":"m","n":"a:b","n":"\u003A\u003a"}',
        rb'{"model":"m","n":{"a":1},"n":2,"text":"\u003a\u003a"}',
        b'{"model":"m","n":1e30,"n":1}',
        b'{"model":"m","n":1e5,"n":1e5,"top_p":1e9}',
        b'{"model":"m","n":0.5,"n":0.25,"top_p":1e6,"x":[0.5,0.5,0.5,0.5,0.5,0.5]}',
        b'{"model":"m","stream":1e30,"stream":1}',
    ],
)
def test_a_repeated_key(body):
    assert key(body) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'"a"', b"{", b'{"a":1}x', b'{"a":NaN}', b'{"a":"\xff"}', rb'{"a":"\ud800"}', b"\xef\xbb\xbf{}"],
)
def test_bodies_that_are_not_json_objects(body):
    assert key(body) is None


def test_colons_in_texts_are_no_keys():
    texts = {"a": 'x:"y":z', 'b":': [":", "\\:", {"c\\": ":"}], "\\": 1}
    assert key({**BODY, **texts}) is not None
    escaped = json.dumps({**BODY, **texts}).replace("x:", r"x\u003a").replace('b\\":', r"b\"\u003A")
    assert key(escaped.encode()) == key({**BODY, **texts})


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
        b"9" * 100_000,
        b"1e" + b"9" * 100_000,
        b"1e999999999",
        b"[" + b",".join([b"1e40"] * (MAX_DECIMALS + 1)) + b"]",
        b'"' + b"a" * MAX_BYTES + b'"',
    ],
)
def test_hostile_bodies_take_little_time_and_memory(value):
    body = b'{"model":"m","n":%b}' % value
    assert len(key(body) or b"") in (0, 32)
    with contextlib.suppress(NoCanonicalTextError):
        separate(body, ())


def test_many_decimals_within_the_bound():
    assert separate(b'{"n":[' + b",".join([b"1.5"] * MAX_DECIMALS) + b"]}", ())
    with pytest.raises(NoCanonicalTextError):
        separate(b'{"n":[' + b",".join([b"1.5"] * (MAX_DECIMALS + 1)) + b"]}", ())
    assert key(BODY) is not None  # the next request has a fingerprint


# -- random requests ---------------------------------------------------------------------------------------------------

NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda d: d + 0)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
REQUESTS = st.dictionaries(st.text(max_size=4) | st.sampled_from(MEMBERS), VALUES, max_size=5)


def written(value, draw):
    """Return the value as JSON text in a random spelling."""
    space = draw(st.sampled_from(["", "", " ", "\n\t"]))
    if isinstance(value, dict):
        items = draw(st.permutations(list(value.items())))
        parts = [f"{written(key, draw)}{space}:{space}{written(item, draw)}" for key, item in items]
        return "{" + space + f"{space},".join(parts) + "}"
    if isinstance(value, list):
        return "[" + f",{space}".join(written(item, draw) for item in value) + space + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=draw(st.booleans())).replace(":", draw(st.sampled_from([":", r"\u003a"])))
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return number_written(Decimal(value), draw)


def number_written(value, draw):
    shift = draw(st.integers(-3, 3))
    plain = f"{value:f}"
    if shift == 0 or len(plain) > 20:  # `scaleb` rounds numbers of more than 28 digits
        return plain
    return f"{value.scaleb(shift):f}{draw(st.sampled_from('eE'))}{-shift}"


@st.composite
def spelled_twice(draw):
    request = draw(REQUESTS)
    return written(request, draw).encode(), written(request, draw).encode()


@given(spelled_twice())
def test_equal_requests_have_equal_fingerprints(spellings):
    one, other = spellings
    assert key(one) == key(other) is not None


def kept(value):
    """Return a value as the fingerprint sees it: numbers compare by value, and booleans are not numbers."""
    if isinstance(value, dict):
        return {name: kept(item) for name, item in value.items()}
    if isinstance(value, list):
        return [kept(item) for item in value]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return ("number", Decimal(value))
    return (type(value).__name__, value)


@st.composite
def two_requests(draw):
    """Return a request, and the same request with one change."""
    request = draw(REQUESTS.filter(bool))
    member = draw(st.sampled_from(sorted(request)))
    changed = dict(request)
    if draw(st.booleans()):
        changed[member] = draw(VALUES)
    else:
        changed[draw(st.text(max_size=4))] = changed.pop(member)
    return request, changed, written(request, draw).encode(), written(changed, draw).encode()


@given(two_requests())
def test_any_change_gives_another_fingerprint(requests):
    request, changed, one, other = requests
    assume(kept(request) != kept(changed))
    assert key(one) != key(other)


@given(spelled_twice(), st.data())
def test_a_repeated_key_is_never_missed(spellings, data):
    body = spellings[0]
    member = data.draw(st.text(max_size=3))
    twice = f'"x:":{{{json.dumps(member)}:{written(data.draw(VALUES), data.draw)},{json.dumps(member)}:1}}'.encode()
    rest = body[1:].lstrip()
    assert key(b"{" + twice + (b"" if rest.startswith(b"}") else b",") + rest) is None


def test_a_body_of_too_many_names_and_values_has_none():
    def body(count):
        return b'{"model":"m","x":[%b1],"text":"%b"}' % (b"1," * count, b"a, " * 100_000)

    assert separate(body(MAX_NODES - 10), ())
    with pytest.raises(NoCanonicalTextError):
        separate(body(MAX_NODES + 10), ())


def test_wide_objects_may_have_their_names_in_any_order():
    """With the greatest name first and the others in order, msgspec's sort would overflow the C stack."""
    names = [f"{number:06}" for number in range(39_000)]

    def made(ordered):
        inner = ",".join(f'"{name}":1' for name in ordered)
        return separate(f'{{"model":"m","metadata":[{{{inner}}}]}}'.encode(), ())

    assert made([names[-1], *names[:-1]]) == made(names) == made(names[::-1])


# -- long requests -----------------------------------------------------------------------------------------------------

TEXT = "word: " * LONG_BODY
DELIVERIES = [{}, {"stream": True}, {"stream": False}, {"stream_options": {"include_usage": True}, "stream": True}]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "  : ")])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_how_a_long_request_is_delivered_does_not_count(delivery, place, separators):
    members = [("model", "m"), ("messages", [{"role": "user", "content": TEXT}])]
    with_delivery = dict(members[:place] + list(delivery.items()) + members[place:])
    plain, other = (json.dumps(one, separators=separators).encode() for one in (dict(members), with_delivery))
    assert key(other) == key(plain) == fingerprint(plain, ROUTE, ALL, CHAIN, has_delivery=False) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"text": TEXT + " "}, {"n": 2}, {"n": 1.0}, {"n": None}, {"extra": 1}, {"inner": {"stream": True}}, {"stop": ["stream"]},
    ],
)  # fmt: skip
def test_everything_in_a_long_request_counts(change):
    body = {"model": "m", "text": TEXT, "n": 1, "inner": {}, "stop": []}
    assert len({key(body), key({**body, **change}), key(BODY), None}) == 4


def test_a_short_and_a_long_request_never_share():
    body = b'{"model":"m","text":"%b"}' % (b"a" * LONG_BODY)
    canonical, _, _ = separate(body, ())
    assert canonical == body
    assert key(body) != digest(ROUTE, ALL, CHAIN, canonical)
