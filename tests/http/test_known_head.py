"""A head that is known is read exactly as the parser would read it, or not at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.http.message import HttpRequest
from nulpoint.http.server.head_cache import ParsedHeadCache
from support.server_connection import FIRST, message, read
from support.smuggling import SMUGGLING

ODD = (
    b"GET /readiness HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n" + message(b"{}"),
    message(b"{}") + b"\r\n",
    message(b"{}", after=b"Connection: close\r\n"),
    FIRST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    FIRST.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n{}",
    message(b"x" * 2001),
    message(b"{}", after=b"X-A: " + b"a" * 600 + b"\r\n"),
    message(b"{}").replace(b": 2", b": 02"),
    message(b"{}").replace(b": 2", b": 2 "),
    message(b"{}").replace(b": 2", b": +2"),
    message(b"{}").replace(b": 2", b": 3"),
    message(b"{}").replace(b": 2", b": 1"),
    message(b"{}", before=b"Content-Length: 2\r\n"),
    message(b"{}", before=b"X-Content-Length: 7\r\n"),
    *list(SMUGGLING.values())[:8],
)
BODIES = st.sampled_from([b"", b"{}", b"x" * 9, b"y" * 10, b"z" * 100, b"\r\n\r\n", message(b"inner")])
PLAIN = st.builds(
    message,
    BODIES,
    before=st.sampled_from([b"", b"Authorization: Bearer a\r\n", b"Authorization: Bearer b\r\n"]),
    after=st.sampled_from([b"", b"X-A: 1\r\n"]),
    name=st.sampled_from([b"Content-Length", b"content-length"]),
)
READS = st.lists(st.one_of(PLAIN, PLAIN, PLAIN, st.sampled_from(ODD)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(reads=READS, data=st.data())
def test_with_and_without_it_the_same_is_read_and_answered(reads, data):
    pieces = []
    for one in reads:
        cut = data.draw(st.sampled_from([0, 0, 0, 1, len(one) // 2, max(0, len(one) - 1)]))
        pieces += [piece for piece in (one[:cut], one[cut:]) if piece]
    ours, parsed = read(pieces, learns=True), read(pieces, learns=False)
    assert ours.asked == parsed.asked
    assert ours.sent == parsed.sent
    assert ours.kept is None


def test_the_same_head_is_known_whatever_the_length_of_the_body():
    result = read([message(body) for body in (b"{}", b"{ }", b"x" * 1500, b"", b"{}")], learns=True)
    assert result.known == 4
    assert [(one[3][b"content-length"], len(one[4])) for one in result.asked] == [
        (b"2", 2), (b"3", 3), (b"1500", 1500), (b"0", 0), (b"2", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"\r\n", b"{}"])
def test_an_empty_line_behind_a_request_is_no_part_of_its_head(body):
    """RFC 9112, 2.2: it is skipped before a request. In one that is read by a known head it would be of the body."""
    pieces = [message(body) + b"\r\n", message(b"\r\nhel") + b"lo", message(b"{}")]
    ours, parsed = read(pieces, learns=True), read(pieces, learns=False)
    assert ours.asked == parsed.asked
    assert ours.sent == parsed.sent


def test_another_key_is_another_head():
    keys = [b"Authorization: Bearer a\r\n", b"Authorization: Bearer b\r\n", b"Authorization: Bearer a\r\n"]
    result = read([message(b"{}", before=key) for key in keys], learns=True)
    assert result.known == 0
    assert [one[3][b"authorization"] for one in result.asked] == [b"Bearer a", b"Bearer b", b"Bearer a"]


def test_who_never_sends_a_head_again_costs_no_learning():
    own = [message(b"{}", before=b"X-Request-ID: %d\r\n" % number) for number in range(10)]
    result = read([*own, message(b"{}"), message(b"{}")], learns=True)
    assert result.known == 8  # the last one learnt is kept from the fourth on
    assert len(result.asked) == 12


@pytest.mark.parametrize("shape", SMUGGLING.values(), ids=SMUGGLING)
def test_what_is_misframed_is_refused_after_a_known_head_too(shape):
    result = read([message(b"{}"), message(b"{}"), shape], learns=True)
    assert len(result.asked) == 2
    assert b"HTTP/1.1 400 " in result.sent or shape.startswith(b"\x16")


@pytest.mark.parametrize(
    "changed",
    [
        {"keep_alive": False},
        {"version": "1.0"},
        {"headers": {b"expect": b"100-continue"}},
        {"headers": {b"transfer-encoding": b"chunked"}},
        {"headers": {b"upgrade": b"h2c"}},
        {"body": b"{"},
    ],
)
def test_what_a_head_alone_does_not_tell_is_never_known(changed):
    data = message(b"{}")
    request = HttpRequest("POST", b"/", {}, "1.1", True, 0.0)
    request.body = b"{}"
    assert ParsedHeadCache.of(data, request, 1000) is not None
    for name, value in changed.items():
        setattr(request, name, value)
    assert ParsedHeadCache.of(data, request, 1000) is None
