"""JSON edits change only the requested members and leave every other byte as it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.formats import json_edit

KEYS = st.one_of(
    st.text(max_size=8), st.sampled_from(['model"', '\\"model', "model", "mode", '"model":', "stream_options"])
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["model", '"model":"x"']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OTHERS = st.dictionaries(KEYS.filter(lambda key: key != "model"), VALUES, max_size=6)
SPACES = st.sampled_from(["", " ", "\n\t ", "\r\n"])


@st.composite
def bodies(draw):
    """Generate a JSON object with one top-level `model`, written in any valid way, and the name of that model."""
    others = list(draw(OTHERS).items())
    model = draw(st.text(max_size=12))
    where = draw(st.integers(0, len(others)))
    ascii_only = draw(st.booleans())
    key = draw(st.sampled_from(['"model"', '"mod\\u0065l"', '"\\u006dodel"']))
    gap = draw(SPACES)

    def dump(value):
        return json.dumps(value, ensure_ascii=ascii_only)

    members = [f"{gap}{dump(name)}{gap}:{gap}{dump(value)}{gap}" for name, value in others]
    members.insert(where, f"{gap}{key}{gap}:{gap}{dump(model)}{gap}")
    text = gap + "{" + ",".join(members) + "}" + gap
    return text.encode("utf-8", "surrogatepass" if ascii_only else "strict"), model


@given(bodies(), st.text(min_size=1, max_size=12))
def test_only_the_model_changes(body_and_model, new):
    body, _ = body_and_model
    start, end = json_edit.model_span(body)
    changed = json_edit.apply(body, [json_edit.set_model(body, new)])
    assert changed[:start] == body[:start]
    assert changed[len(changed) - (len(body) - end) :] == body[end:]
    assert json.loads(changed) == {**json.loads(body), "model": new}


@given(bodies())
def test_a_member_can_be_added_to_any_object(body_and_model):
    body, _ = body_and_model
    edits = [json_edit.add_member(body, "added", b"[1]"), json_edit.set_model(body, "m")]
    assert json.loads(json_edit.apply(body, edits)) == {**json.loads(body), "model": "m", "added": [1]}


@given(bodies())
def test_members_are_found_where_they_stand(body_and_model):
    body, _ = body_and_model
    found = {m.key: json.loads(body[m.start : m.end]) for m in json_edit.members(body)}
    assert found == json.loads(body)


@given(bodies(), st.sets(KEYS, max_size=3))
def test_rewrite_drops_and_renames_and_keeps_the_rest(body_and_model, drop):
    body, _ = body_and_model
    drop = frozenset(drop - {"model"})
    before = json.loads(body)
    changed, dropped = json_edit.rewrite(body, {"model": "engine"}, drop)
    after = json.loads(changed)
    kept = {key: value for key, value in before.items() if key not in drop and key != "model"}
    assert after == {**kept, "engine": before["model"]} or "engine" in before
    assert set(dropped) >= {key for key in drop if before.get(key) is not None}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","messages":[],"model":"b"}',
        b'{"model":"a","mod\\u0065l":"b"}',
        b'{"model":"a","model":"a"}',
    ],
)
def test_a_model_given_twice_is_refused(body):
    with pytest.raises(Failure, match="more than once") as caught:
        json_edit.set_model(body, "x")
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"messages":[{"model":"in"}],"model":"out"}', b'{"messages":[{"model":"in"}],"model":"NEW"}'),
        (b'{"a":"\\"model\\":\\"x\\"","model":"m"}', b'{"a":"\\"model\\":\\"x\\"","model":"NEW"}'),
        (b'{"\\"model":"x","model":"m"}', b'{"\\"model":"x","model":"NEW"}'),
        (b'{"type":"model","model" : "m" }', b'{"type":"model","model" : "NEW" }'),
        (b'{"mod\\u0065l":"m","tool":{"model":"m"}}', b'{"mod\\u0065l":"NEW","tool":{"model":"m"}}'),
    ],
)
def test_awkward_places(body, expected):
    assert json_edit.apply(body, [json_edit.set_model(body, "NEW")]) == expected


def test_deep_nesting_does_not_recurse():
    body = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"model":"m","b":{"model":1}}'
    assert json_edit.apply(body, [json_edit.set_model(body, "x")]).endswith(b',"model":"x","b":{"model":1}}')


@pytest.mark.parametrize("rest", ["}", " }", '\n,"z":1}', '  ,  "z" : [ ] }'])
@pytest.mark.parametrize(
    "value",
    ["[]", "{}", '[{"a":[1,"]"]}]', '"]"', '"\\""', '"\\\\"', "-1.5e3", "null", '["\\ud800"]', "[[ ]  ]"],
)
def test_where_a_value_ends(value, rest):
    body = ('{"a":' + value + rest).encode()
    assert body[5 : json_edit.value_end(body, 5)] == value.encode()


def test_no_more_members_than_asked_for():
    body = b"{" + b",".join([b'"a":[1]'] * 50) + b"}"
    assert len(json_edit.members(body, 7)) == 7
    assert len(json_edit.members(body)) == 50


@pytest.mark.parametrize("value", [rb'"\ud800"', rb'"a\udfff\"b"', rb'["\ud800", {"b": "]"}]'])
def test_half_a_surrogate_pair_hides_no_member(value):
    body = b'{"user": %b, "model": "m"}' % value
    found = json_edit.members(body)
    assert [(member.key, body[member.start : member.end]) for member in found] == [("user", value), ("model", b'"m"')]
    assert json_edit.rewrite(body, {}, frozenset({"user"})) == (b'{"model": "m"}', ["user"])
