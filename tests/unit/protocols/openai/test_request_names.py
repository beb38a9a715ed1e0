"""The names at a request's top level have one meaning, for the gateway and for every provider."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.formats.canonical_json import separate
from nulpoint.protocols.openai import envelope, request_names
from nulpoint.protocols.openai.envelope import read_envelope
from nulpoint.protocols.openai.request_names import MAX_MEMBERS, READ_NAMES, SHORT, SINGLE_NAMES

LONG = '"' + "x" * 3000 + '"'
FILLERS = [
    "", '"messages":[{"role":"user","content":"hi"}],', f'"messages":[{{"role":"user","content":{LONG}}}],',
    f'"user":{LONG},', f'"tools":[{{"messages":[{LONG}]}}],"messages":[{LONG}],',
]  # fmt: skip
SPELLINGS = {
    "Model": "model", "MODEL": "model", "mOdel": "model", "\\u004dodel": "model", "Stream": "stream",
    "\u017ftream": "stream", "\\u017Ftream": "stream", "STREAM_OPTIONS": "stream_options", "N": "n",
    "Max_Tokens": "max_tokens", "max_to\u212aens": "max_tokens", "max_completion_to\\u212aens": "max_completion_tokens",
    "Messages": "messages", "me\u017fsages": "messages", "Input": "input", "\u0131nput": "input", "\u0130nput": "input",
    "Prompt": "prompt", "Tools": "tools", "tool\u017f": "tools", "Best_of": "best_of", "Temperature": "temperature",
}  # fmt: skip


def refusal(body):
    with pytest.raises(Failure) as caught:
        read_envelope(body.encode())
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("spelling", sorted(SPELLINGS))
def test_another_spelling_of_a_name_that_is_read(spelling, filler):
    for members in (f'"model":"m",{filler}"{spelling}":1', f'"{spelling}" : 1, {filler}"model":"m"'):
        failure = refusal("{" + members + "}")
        given = json.loads(f'"{spelling}"')
        assert (failure.param, failure.code) == (given, "ambiguous_field")
        assert f"`{given}`" in failure.message
        assert f"write `{SPELLINGS[spelling]}`" in failure.message


@pytest.mark.parametrize("filler", ["", f'"user":{LONG},', '"top_k":1,', '"x:y" : 1, ', '"x\\u003ay":1,'])
@pytest.mark.parametrize("name", sorted(SINGLE_NAMES - {"model"}))
def test_a_name_given_twice(name, filler):
    for again in (name, f"\\u{ord(name[0]):04x}{name[1:]}", name[:-1] + f"\\u{ord(name[-1]):04X}"):
        for first, second in (("null", "null"), ("null", f"{LONG}"), ("[1]", "null")):
            body = f'{{"model":"m","{name}" :{first},{filler}"{again}":{second}}}'
            if name in ("stream", "stream_options") and second == f"{LONG}":
                continue  # of the wrong type, which is said first
            if name in ("stream", "stream_options"):
                body = body.replace("[1]", "null")
            failure = refusal(body)
            assert (failure.param, failure.code) == (name, "duplicate_field")
            assert "more than once" in failure.message


@pytest.mark.parametrize("filler", FILLERS)
def test_a_model_given_twice(filler):
    for again in ("model", "mod\\u0065l", "\\u006dodel"):
        failure = refusal(f'{{"model":"m",{filler}"{again}":"m"}}')
        assert (failure.param, failure.code) == ("model", "duplicate_field")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","seed":1,"seed":2}',
        b'{"model":"m","x":{"Model":1,"model":2,"model":3}}',
        b'{"model":"m","messages":[{"Stream":1}],"metadata":{"N":1}}',
        b'{"model":"m","X":1,"x":2,"maxTokens":3,"model ":4,"mo\\u0000del":5,"\xc3\x9f":6,"top_k":7}',
        b'{"model":"m","x:y":1,"user":"a:b"}',
        b'{"model" : "m" , "messages" : [ ] , "x:y" : ":" }',
        b'{"model":"m","messages":[%b],"tools":[{"messages":[%b]}]}' % (LONG.encode(), LONG.encode()),
        b'{"model":"m","tools":[{"messages":[%b]}],"messages":[%b]}' % (LONG.encode(), LONG.encode()),
        b'{"model":"m","x":{"messages":1%b},"messages":1%b}' % (b"1" * 2000, b"1" * 1999),
        b'{"model":"m","x":"\\"messages\\":[%b]","messages":[%b]}' % (b"1," * 999 + b"1", b"1," * 999 + b"1"),
    ],
)
def test_what_has_one_meaning_is_taken(body):
    assert read_envelope(body).model == "m"


def test_too_many_members():
    def body(count, value):
        return '{"model":"m"' + "".join(f',"x{i}":{value}' for i in range(count - 1)) + "}"

    for value in ("1", "[[]]"):
        assert read_envelope(body(MAX_MEMBERS, value).encode()).model == "m"
        failure = refusal(body(MAX_MEMBERS + 1, value))
        assert failure.code == "too_many_members"
        assert str(MAX_MEMBERS) in failure.message


@pytest.mark.parametrize("name", ["\\ud800", "a\\udc00b", "x\\ud800\\ud800"])
def test_a_name_that_is_no_text_is_no_bug(name):
    assert refusal(f'{{"model":"m","{name}":1}}').code == "invalid_json"


NAMES = st.sampled_from(sorted(READ_NAMES)) | st.sampled_from(sorted(SINGLE_NAMES)) | st.text(max_size=6)
SPELLED = st.builds(
    lambda name, upper, escaped: name.upper() if upper else name.capitalize() if escaped else name,
    NAMES, st.sampled_from([False] * 9 + [True]), st.sampled_from([False] * 9 + [True]),
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["x" * 600, ":", '":"', '"messages":[1]']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def bodies(draw):
    """A JSON object whose names stand in any order, spelling and number, and those of them that count."""
    space = draw(st.sampled_from(["", " ", "\n  "]))
    pairs = [("model", "m")] * draw(st.sampled_from([1, 1, 1, 2])) + draw(
        st.lists(
            st.tuples(SPELLED.filter(lambda name: name not in ("model", "stream", "stream_options")), VALUES),
            max_size=8,
        )
    )
    pairs = draw(st.permutations(pairs))

    def key(name):
        text = json.dumps(name, ensure_ascii=draw(st.booleans()))
        if name.isascii() and name.isalpha() and draw(st.integers(0, 9)) == 0:
            return text[:1] + f"\\u{ord(name[0]):04x}" + text[2:]
        return text

    members = [f"{space}{key(name)}{space}:{space}{json.dumps(value)}{space}" for name, value in pairs]
    return "{" + ",".join(members) + "}"


@given(bodies(), st.integers(2, 2000), st.sampled_from([0, 100, 1 << 16]))
@example('{"model":"m","":0,"":0}', 10, 0)
def test_as_a_reader_of_all_pairs_sees_it(body, short, decoded):
    names = [name for name, _ in json.loads(body, object_pairs_hook=list)]
    folded = [name.replace("\u0131", "i").replace("\u0130", "i").casefold() for name in names]
    other_case = any(fold != name and fold in READ_NAMES for name, fold in zip(names, folded, strict=True))
    twice = any(names.count(name) > 1 and name in SINGLE_NAMES for name in names)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(envelope, "SHORT", short)
        patched.setattr(request_names, "SHORT", short)
        patched.setattr(envelope, "MAX_DECODED_BYTES", decoded)
        if other_case or twice:
            expected = "ambiguous_field" if other_case else "duplicate_field"
            assert refusal(body).code == expected
        else:
            assert read_envelope(body.encode()).model == "m"


BULK = [b"[%b1]" % (b"1," * 9000), b'"%b"' % (b"\\n" * 9000), b'{"a":"%b"}' % (b"x" * 9000)]


@pytest.mark.parametrize("bulk", BULK)
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"model":"m","messages":%b.5}', "invalid_json"),
        (b'{"model":"m","messages":%b5}', "invalid_json"),
        (b'{"model":"m","messages":%b "n":1}', "invalid_json"),
        (b'{"model":"m","messages":%b', "invalid_json"),
        (b'{"model":"m","messages":%b}}', "invalid_json"),
        (b'{"model":"m",,"messages":%b}', "invalid_json"),
        (b'{"model":"m","messages":[%b,nul]}', "invalid_json"),
        (b'{"model":"m","messages":[%b' + b"[" * 100_000 + b"]" * 100_001 + b"}", "invalid_json"),
        (b'{"model":"m","a\\x":%b}', "invalid_json"),
        (b'{"model":"m","a":' + b"x" * 9000 + b',"b":%b}', "invalid_json"),
        (b'{"model":[%b]}', "invalid_type"),
        (b'["model",%b]', "invalid_type"),
        (b'{"Model":%b,"model":"m"}', "ambiguous_field"),
        (b'{"model":"m","input":%b,"input":[]}', "duplicate_field"),
        (b'{"stream_options":{"x":%b,"include_usage":5},"model":"m"}', "invalid_type"),
    ],
)
def test_a_long_request_is_judged_as_a_short_one(bulk, body, problem):
    body = body.replace(b"%b", bulk)
    codes = set()
    for long in (100, 1 << 30):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(envelope, "LONG", long)
            with pytest.raises(Failure) as caught:
                read_envelope(body)
            codes.add(caught.value.code)
    assert codes == {problem}


@pytest.mark.parametrize("bulk", BULK)
def test_a_long_request_is_read_as_a_short_one(bulk):
    body = b' {"x":%b , "model" : "m", "stream_options":{"x":%b,"include_usage":true},"stream":true,"messages": %b\n}' % (
        bulk, bulk, bulk,
    )  # fmt: skip
    for long in (100, 1 << 30):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(envelope, "LONG", long)
            read = read_envelope(body)
        assert (read.model, read.stream, envelope.asks_for_usage(read)) == ("m", True, True)
        assert json.loads(read.frame).keys() == json.loads(body).keys()


@given(bodies())
def test_both_ways_of_reading_agree(body):
    """And with a body that is cut anywhere, which is no JSON."""
    for text in (body, body[:-1], body[: len(body) // 2], body + "}", body.replace(":", "", 1)):
        seen = []
        for long in (1, 1 << 30):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(envelope, "LONG", long)
                patched.setattr(request_names, "_MAX_KEPT_BYTES", 1 if long == 1 else 1 << 30)
                try:
                    seen.append(read_envelope(text.encode()).model)
                except Failure as failure:
                    seen.append(failure.code)
        assert seen[0] == seen[1]
        assert outcome(text.encode(), canonical=True) == outcome(text.encode(), canonical=False)


def outcome(body, *, canonical):
    """Return what an envelope says, or the code of the refusal. A canonical text is checked."""
    try:
        read = read_envelope(body, canonical=canonical)
    except Failure as failure:
        return failure.code
    assert canonical or read.canonical_text is None
    if read.canonical_text is not None:
        assert separate(body, envelope.DELIVERY)[0] == read.canonical_text
        assert (read.stream_options is envelope.UNSET) == ("stream_options" not in json.loads(body))
    return read.model, read.stream, envelope.asks_for_usage(read), read.frame


@pytest.mark.parametrize(
    ("delivery", "made"),
    [("", True), (',"stream":true', True), (',"stream":null,"stream_options":null', True), (',"top_k":1', False),
     (',"stream":true,"stream_options":{"include_usage":true,"x":[1]}', True), (',"stream":false', True),
     (',"stream":1', False), (',"stream_options":[]', False), (',"stream_options":{"include_usage":1}', False),
     (',"model":"m"', False), (',"user":"a","user":"a"', False), (',"metadata":{"a":1,"a":1}', False),
     (',"user":"\\ud800"', False), (f',"user":"{"u" * SHORT}"', False), (f',"user":"{"u" * (SHORT - 60)}"', True)],
)  # fmt: skip
def test_the_canonical_text_is_made_while_a_short_request_is_read(delivery, made):
    body = f'{{"model":"m" , "messages":[]{delivery}}}'.encode()
    assert outcome(body, canonical=True) == outcome(body, canonical=False)
    try:
        text = read_envelope(body, canonical=True).canonical_text
    except Failure:
        text = None
    assert (text is not None) == made


@pytest.mark.parametrize("filler", FILLERS)
def test_a_model_s_name_is_bounded(filler):
    name = "m" * envelope.MAX_MODEL_LENGTH
    assert read_envelope(f'{{{filler}"model":"{name}"}}'.encode()).model == name
    for long in (name + "m", "claude-" * 300_000):
        failure = refusal(f'{{{filler}"model":"{long}"}}')
        assert (failure.param, failure.code) == ("model", "invalid_value")
        assert len(failure.message) < 200
