"""Tests that a request with a cached head is read exactly as the parser would read it, or left to the parser."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.http.message import HttpRequest
from nulpoint.http.server.head_cache import ParsedHeadCache
from support.server_connection import FIRST, LIMITS, message, read
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
def test_requests_and_responses_are_the_same_with_and_without_the_cache(reads, data):
    pieces = []
    for data_read in reads:
        cut = data.draw(st.sampled_from([0, 0, 0, 1, len(data_read) // 2, max(0, len(data_read) - 1)]))
        pieces += [piece for piece in (data_read[:cut], data_read[cut:]) if piece]
    ours, parsed = read(pieces, learns=True), read(pieces, learns=False)
    assert ours.requests == parsed.requests
    assert ours.sent == parsed.sent
    assert ours.kept is None


def test_a_head_is_found_whatever_the_length_of_the_body():
    result = read([message(body) for body in (b"{}", b"{ }", b"x" * 1500, b"", b"{}")], learns=True)
    assert result.hits == 4
    assert [(one[3][b"content-length"], len(one[4])) for one in result.requests] == [
        (b"2", 2), (b"3", 3), (b"1500", 1500), (b"0", 0), (b"2", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"\r\n", b"{}"])
def test_an_empty_line_after_a_request_is_not_part_of_its_head(body):
    """An empty line is skipped before a request (RFC 9112, 2.2). With a cached head it could be taken for body."""
    pieces = [message(body) + b"\r\n", message(b"\r\nhel") + b"lo", message(b"{}")]
    ours, parsed = read(pieces, learns=True), read(pieces, learns=False)
    assert ours.requests == parsed.requests
    assert ours.sent == parsed.sent


def test_a_head_with_another_key_is_not_found():
    keys = [b"Authorization: Bearer a\r\n", b"Authorization: Bearer b\r\n", b"Authorization: Bearer a\r\n"]
    result = read([message(b"{}", before=key) for key in keys], learns=True)
    assert result.hits == 0
    assert [one[3][b"authorization"] for one in result.requests] == [b"Bearer a", b"Bearer b", b"Bearer a"]


def test_a_client_that_never_repeats_a_head_costs_no_learning():
    heads = [message(b"{}", before=b"X-Request-ID: %d\r\n" % number) for number in range(10)]
    result = read([*heads, message(b"{}"), message(b"{}")], learns=True)
    assert result.hits == 8  # from the fourth on, the last head that was learned is kept
    assert len(result.requests) == 12


@pytest.mark.parametrize("shape", SMUGGLING.values(), ids=SMUGGLING)
def test_a_misframed_request_is_rejected_after_a_cached_head_too(shape):
    result = read([message(b"{}"), message(b"{}"), shape], learns=True)
    assert len(result.requests) == 2
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
def test_a_head_that_does_not_determine_its_body_is_never_cached(changed):
    data = message(b"{}")
    request = HttpRequest("POST", b"/", {}, "1.1", True, 0.0)
    request.body = b"{}"
    cache = ParsedHeadCache(LIMITS)
    cache.learn(data, request)
    assert cache.find(data, 0.0) is not None
    for name, value in changed.items():
        setattr(request, name, value)
    cache.learn(data, request)
    assert cache.find(data, 0.0) is None
