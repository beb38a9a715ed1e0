"""Tests that only well-formed request lines and heads are accepted, which all readers understand alike.

Every case is read whole, cut at every place, byte by byte, and after other requests, because neither the network's cuts
nor earlier requests may decide what is rejected.
"""

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.http.server.head_validation import check_request_line
from support.server_connection import message, read

HOST = b"Host: x\r\n\r\n"
BODY = b"Host: x\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n"
NEVER_SENT = b"GET /behind HTTP/1.1\r\n" + HOST

GOOD = {
    "GET": b"GET /x HTTP/1.1\r\n" + HOST,
    "a query": b"GET /x?a=b&c=[d]{e}|%zz HTTP/1.1\r\n" + HOST,
    "every character of a target": b"GET /!\"$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ HTTP/1.1\r\n" + HOST,
    "two slashes": b"GET //x HTTP/1.1\r\n" + HOST,
    "OPTIONS of all": b"OPTIONS * HTTP/1.1\r\n" + HOST,
    "HTTP/1.0": b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "a body": b"POST /x HTTP/1.1\r\n" + BODY,
    "a body of line ends": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n",
    "a body that is a request": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\nGET  /y RTSP/1.0\r\nHost: x\r\n\r\nab",
    "an empty body": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "chunks": CHUNKED,
    "chunks with a trailer": CHUNKED[:-2] + b"A: b\r\n\r\n",
    "one empty line before": b"\r\nGET /x HTTP/1.1\r\n" + HOST,
    "an empty line before a body": b"\r\nPOST /x HTTP/1.1\r\n" + BODY,
}  # fmt: skip

LINES = {
    "two spaces before the target": b"GET  /x HTTP/1.1\r\n",
    "two spaces behind the target": b"GET /x  HTTP/1.1\r\n",
    "a tab before the target": b"GET\t/x HTTP/1.1\r\n",
    "a tab behind the target": b"GET /x\tHTTP/1.1\r\n",
    "a tab beside the space": b"GET \t/x HTTP/1.1\r\n",
    "a space before": b" GET /x HTTP/1.1\r\n",
    "a tab before": b"\tGET /x HTTP/1.1\r\n",
    "a space at the end": b"GET /x HTTP/1.1 \r\n",
    "a tab at the end": b"GET /x HTTP/1.1\t\r\n",
    "words at the end": b"GET /x HTTP/1.1 HTTP/1.1\r\n",
    "a vertical tab": b"GET\x0b/x HTTP/1.1\r\n",
    "a form feed": b"GET /x\x0cHTTP/1.1\r\n",
    "a no-break space": b"GET\xa0/x HTTP/1.1\r\n",
    "LF before": b"\nGET /x HTTP/1.1\r\n",
    "CR before": b"\rGET /x HTTP/1.1\r\n",
    "LF and CR before": b"\n\rGET /x HTTP/1.1\r\n",
    "two empty lines before": b"\r\n\r\nGET /x HTTP/1.1\r\n",
    "an empty line and LF before": b"\r\n\nGET /x HTTP/1.1\r\n",
    "an empty line and CR before": b"\r\n\rGET /x HTTP/1.1\r\n",
    "CR CR LF before": b"\r\r\nGET /x HTTP/1.1\r\n",
    "a line of a space before": b" \r\nGET /x HTTP/1.1\r\n",
    "LF alone at its end": b"GET /x HTTP/1.1\n",
    "CR alone at its end": b"GET /x HTTP/1.1\r",
    "CR CR LF at its end": b"GET /x HTTP/1.1\r\r\n",
    "LF CR at its end": b"GET /x HTTP/1.1\n\r",
    "RTSP/1.0": b"POST /x RTSP/1.0\r\n",
    "RTSP/1.1": b"GET /x RTSP/1.1\r\n",
    "RTSP and its method": b"DESCRIBE /x RTSP/1.0\r\n",
    "OPTIONS of RTSP": b"OPTIONS * RTSP/1.0\r\n",
    "ICE": b"SOURCE /x ICE/1.0\r\n",
    "ICE with GET": b"GET /x ICE/1.1\r\n",
    "http in lower case": b"GET /x http/1.1\r\n",
    "Http": b"GET /x Http/1.1\r\n",
    "HTTPS": b"GET /x HTTPS/1.1\r\n",
    "no version": b"GET /x\r\n",
    "no version but a space": b"GET /x \r\n",
    "HTTP and no version": b"GET /x HTTP\r\n",
    "HTTP/ and no version": b"GET /x HTTP/\r\n",
    "half a version": b"GET /x HTTP/1\r\n",
    "half a version and a dot": b"GET /x HTTP/1.\r\n",
    "a version of three": b"GET /x HTTP/1.1.1\r\n",
    "a long version": b"GET /x HTTP/1.10\r\n",
    "a padded version": b"GET /x HTTP/01.1\r\n",
    "a version with a comma": b"GET /x HTTP/1,1\r\n",
    "a version with a space": b"GET /x HTTP/1. 1\r\n",
    "a space in HTTP": b"GET /x HTTP /1.1\r\n",
    "HTTP/0.9": b"GET /x HTTP/0.9\r\n",
    "HTTP/1.2": b"GET /x HTTP/1.2\r\n",
    "HTTP/2.0": b"GET /x HTTP/2.0\r\n",
    "HTTP/3.0": b"GET /x HTTP/3.0\r\n",
    "HTTP/9.9": b"GET /x HTTP/9.9\r\n",
    "no target": b"GET HTTP/1.1\r\n",
    "an empty target": b"GET  HTTP/1.1\r\n",
    "no method": b"/x HTTP/1.1\r\n",
    "an empty method": b" /x HTTP/1.1\r\n",
    "nothing but a version": b"HTTP/1.1\r\n",
    "a method alone": b"GET\r\n",
    "a method in lower case": b"get /x HTTP/1.1\r\n",
    "an unknown method": b"FROB /x HTTP/1.1\r\n",
    "a method with a bracket": b"G(T /x HTTP/1.1\r\n",
    "a method with a byte above ASCII": b"G\xc9T /x HTTP/1.1\r\n",
    "a method with NUL": b"GE\x00T /x HTTP/1.1\r\n",
    "a space in the target": b"GET /x y HTTP/1.1\r\n",
    "NUL in the target": b"GET /x\x00y HTTP/1.1\r\n",
    "a tab in the target": b"GET /x\ty HTTP/1.1\r\n",
    "CR in the target": b"GET /x\ry HTTP/1.1\r\n",
    "LF in the target": b"GET /x\ny HTTP/1.1\r\n",
    "ESC in the target": b"GET /x\x1b[0m HTTP/1.1\r\n",
    "DEL in the target": b"GET /x\x7f HTTP/1.1\r\n",
    "UTF-8 in the target": "GET /\u00e9 HTTP/1.1\r\n".encode(),
    "0xff in the target": b"GET /\xff HTTP/1.1\r\n",
    "a fragment": b"GET /x#y HTTP/1.1\r\n",
    "an empty fragment": b"GET /x# HTTP/1.1\r\n",
    "a fragment of a query": b"GET /x?y#z HTTP/1.1\r\n",
    "a fragment alone": b"GET # HTTP/1.1\r\n",
    "the absolute form": b"GET http://x/x HTTP/1.1\r\n",
    "another host in the absolute form": b"GET http://y/x HTTP/1.1\r\n",
    "https in the absolute form": b"POST https://x/x HTTP/1.1\r\n",
    "another scheme": b"GET ftp://x/x HTTP/1.1\r\n",
    "a relative path": b"GET x HTTP/1.1\r\n",
    "dots": b"GET ../x HTTP/1.1\r\n",
    "a query alone": b"GET ?x HTTP/1.1\r\n",
    "a backslash": b"GET \\x HTTP/1.1\r\n",
    "an asterisk": b"GET * HTTP/1.1\r\n",
    "an asterisk of POST": b"POST * HTTP/1.1\r\n",
    "an asterisk and more": b"OPTIONS *x HTTP/1.1\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\n",
    "CONNECT to a path": b"CONNECT /x HTTP/1.1\r\n",
    "CONNECT to a URL": b"CONNECT http://x/ HTTP/1.1\r\n",
    "an authority of GET": b"GET x:443 HTTP/1.1\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n",
    "a header in its place": b"Host: x\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SSLv2": b"\x80\x2e\x01\x00\x02",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO x\r\n",
    "PROXY protocol": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    "PROXY protocol 2": b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c",
    "JSON": b'{"model":"x"}\r\n',
    "NUL": b"\x00",
}  # fmt: skip
# These are malformed after their request line.
POST = b"POST /x HTTP/1.1\r\nHost: x\r\n"
HEADS = {
    "obs-fold": POST + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "obs-fold by a tab": POST + b"X-A: b\r\n\tc\r\nContent-Length: 2\r\n\r\n{}",
    "obs-fold of a first header": b"POST /x HTTP/1.1\r\n Host: x\r\nContent-Length: 2\r\n\r\n{}",
    "obs-fold of nothing": POST + b"X-A:\r\n \r\nContent-Length: 2\r\n\r\n{}",
    "obs-fold of the length": POST + b"Content-Length:\r\n 2\r\n\r\n{}",
    "obs-fold of the coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "LF at the end of a header": POST + b"X-A: b\nContent-Length: 2\r\n\r\n{}",
    "LF at the end of the head": POST + b"Content-Length: 2\r\n\n{}",
    "two LF at the end of the head": POST + b"Content-Length: 2\n\n{}",
    "LF everywhere": POST.replace(b"\r", b"") + b"Content-Length: 2\n\n{}",
    "CR at the end of a header": POST + b"X-A: b\rContent-Length: 2\r\n\r\n{}",
    "CR at the end of the head": POST + b"Content-Length: 2\r\n\r{}",
    "CR CR LF": POST + b"X-A: b\r\r\nContent-Length: 2\r\n\r\n{}",
    "CR in a name": POST + b"X\r-A: b\r\nContent-Length: 2\r\n\r\n{}",
    "CR in a value": POST + b"X-A: b\rc\r\nContent-Length: 2\r\n\r\n{}",
    "LF in a value": POST + b"X-A: b\nc\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a name": POST + b"X\x00A: b\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a value": POST + b"X-A: b\x00c\r\nContent-Length: 2\r\n\r\n{}",
    "ESC in a value": POST + b"X-A: \x1b[0m\r\nContent-Length: 2\r\n\r\n{}",
    "DEL in a value": POST + b"X-A: \x7f\r\nContent-Length: 2\r\n\r\n{}",
    "a byte above ASCII in a value": POST + b"X-A: \xe9\r\nContent-Length: 2\r\n\r\n{}",
    "a byte above ASCII in a name": POST + b"X-\xe9: b\r\nContent-Length: 2\r\n\r\n{}",
    "a space before the colon": POST + b"X-A : b\r\nContent-Length: 2\r\n\r\n{}",
    "a tab before the colon": POST + b"X-A\t: b\r\nContent-Length: 2\r\n\r\n{}",
    "a space before the length's colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a space before the coding's colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a space in a name": POST + b"X A: b\r\nContent-Length: 2\r\n\r\n{}",
    "a space before a name": POST + b"Content-Length: 2\r\n X-A: b\r\n\r\n{}",
    "an empty name": POST + b": b\r\nContent-Length: 2\r\n\r\n{}",
    "no colon": POST + b"X-A\r\nContent-Length: 2\r\n\r\n{}",
    "a bracket in a name": POST + b"X(A): b\r\nContent-Length: 2\r\n\r\n{}",
    "a quote in a name": POST + b'"X-A": b\r\nContent-Length: 2\r\n\r\n{}',
    "a slash in a name": POST + b"X/A: b\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two equal lengths": POST + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "an empty length": POST + b"Content-Length: \r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a hex length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a point": POST + b"Content-Length: 2.0\r\n\r\n{}",
    "a length with an exponent": POST + b"Content-Length: 2e0\r\n\r\n{}",
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n{}",
    "a length with a space in it": POST + b"Content-Length: 1 2\r\n\r\n{}",
    "a quoted length": POST + b'Content-Length: "2"\r\n\r\n{}',
    "a length above 64 bits": POST + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "another script's digits": POST + "Content-Length: \u0662\r\n\r\n{}".encode(),
    "a length and a coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "a length of 0 and a coding": POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n{}",
    "an empty coding": POST + b"Transfer-Encoding: \r\n\r\n0\r\n\r\n",
    "a coding in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a coding with a parameter": POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "a coding behind a comma": POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "gzip and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked and gzip": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding behind a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no Host": b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "two Hosts": POST + b"Host: x\r\nContent-Length: 2\r\n\r\n{}",
    "an odd Host": b"POST /x HTTP/1.1\r\nHost: x/y\r\nContent-Length: 2\r\n\r\n{}",
    "a user in Host": b"POST /x HTTP/1.1\r\nHost: a@x\r\nContent-Length: 2\r\n\r\n{}",
    "a space in Host": b"POST /x HTTP/1.1\r\nHost: x y\r\nContent-Length: 2\r\n\r\n{}",
    "a list of Hosts": b"POST /x HTTP/1.1\r\nHost: x\r\nHost:\r\nContent-Length: 2\r\n\r\n{}",
    "an upgrade": POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    "LF after a chunk's size": POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
    "CR after a chunk's size": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r{}\r\n0\r\n\r\n",
    "LF after a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n",
    "no line end after a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
    "LF after the last chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\n\r\n",
    "LF at the end of chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\n",
    "LF alone behind the last chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\n\n",
    "a signed chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "0x before a chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "an empty chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
    "a space before a chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n 2\r\n{}\r\n0\r\n\r\n",
    "a space after a chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
    "a chunk size above 64 bits": POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "obs-fold in a trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "LF in a trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\n\r\n",
    "a space before a trailer's colon": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A : b\r\n\r\n",
}  # fmt: skip
BAD = {**{name: line + BODY for name, line in LINES.items()}, **HEADS}
BEFORE = {
    "first": [],
    "cached heads": [message(b"{}"), message(b"{}")],
    "another request": [GOOD["GET"]],
    "chunks": [CHUNKED],
    "an empty line": [b"\r\n" + GOOD["a body"]],
}


def assert_rejected(result, before):
    """Assert that the first requests got responses, followed by one rejection and nothing else."""
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", result.sent)
    assert len(result.requests) == before, result.requests
    assert [status for status in statuses[:before] if status != b"200"] == []
    assert statuses[before:] in ([b"400"], [b"505"], [b"431"]), (statuses, result.sent)


def assert_read(result, count):
    assert len(result.requests) == count
    assert result.sent.count(b"HTTP/1.1 200 ") == count
    assert b"HTTP/1.1 4" not in result.sent


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("shape", BAD.values(), ids=BAD)
def test_a_malformed_request_is_rejected_after_any_other_request(shape, before):
    for pieces in (
        [*before, shape + NEVER_SENT],
        [b"".join([*before, shape, NEVER_SENT])],
        [*before, *(bytes([byte]) for byte in shape + NEVER_SENT)],
    ):
        assert_rejected(read(pieces, learns=True), len(before))


@pytest.mark.parametrize("shape", BAD.values(), ids=BAD)
def test_a_malformed_request_is_rejected_wherever_it_is_cut(shape):
    whole = shape + NEVER_SENT
    for cut in range(1, len(shape) + 3):
        assert_rejected(read([whole[:cut], whole[cut:]], learns=True), 0)


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("shape", GOOD.values(), ids=GOOD)
def test_a_correct_request_is_read_wherever_it_is_cut(shape, before):
    whole = shape + NEVER_SENT
    for cut in range(len(whole)):
        assert_read(read([*before, *filter(None, (whole[:cut], whole[cut:]))], learns=True), len(before) + 2)
    everything = b"".join([*before, whole])
    for pieces in ([everything], [bytes([byte]) for byte in everything]):
        assert_read(read(pieces, learns=True), len(before) + 2)


def test_one_empty_line_is_skipped_before_each_request_and_no_more():
    """RFC 9112, 2.2. It may arrive with the request before it, alone, or with the next one."""
    one = message(b"{}")
    assert_read(read([one, b"\r\n", one, b"\r\n" + one, one + b"\r\n", one, b"\r", b"\n" + one], learns=True), 6)
    assert_rejected(read([one, b"\r\n", b"\r\n", one], learns=True), 1)
    assert_rejected(read([one + b"\r\n", b"\r\n" + one], learns=True), 1)
    assert_rejected(read([one, one, b"\r", one], learns=True), 2)


def test_an_impossible_beginning_is_rejected_before_the_line_ends():
    """A client that speaks TLS to this port waits for a response, and sends no line end."""
    for beginning in (b"\x16", b"G\x00", b"GET  ", b"GET /x\t", b"GET /x h", b" ", b"GET /x HTTP/1.1 ", b"{"):
        assert_rejected(read([beginning], learns=True), 0)
    for beginning in (b"\r", b"\r\n", b"G", b"GET", b"GET ", b"GET /x", b"GET /x ", b"GET /x HT", b"GET /x HTTP/1.1\r"):
        result = read([beginning], learns=True)
        assert (result.requests, result.sent) == ([], b"")


@settings(max_examples=500)
@given(st.binary(max_size=24), st.integers(0, 23))
@example(b"GET /x HTTP/1.1\r\n", 3)
def test_the_beginning_of_a_correct_line_is_never_rejected(line, cut):
    try:
        check_request_line(line + b"\r\n")
    except Failure:
        return
    check_request_line(line[:cut])


@settings(max_examples=200)
@given(
    shapes=st.lists(st.sampled_from([*GOOD.values(), *BAD.values()]), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 600), max_size=6),
)
def test_requests_and_responses_are_the_same_however_the_bytes_are_cut(shapes, cuts):
    whole = b"".join(shapes)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in itertools.pairwise(places)]
    cut, uncut = read(pieces, learns=True), read([whole], learns=False)
    assert cut.requests == uncut.requests
    assert cut.sent.count(b"HTTP/1.1 ") == uncut.sent.count(b"HTTP/1.1 ")


def test_a_request_without_headers_ends_after_its_line():
    whole = b"GET /x HTTP/1.0\r\n\r\n"
    for cut in range(len(whole)):
        assert_read(read([*filter(None, (whole[:cut], whole[cut:]))], learns=True), 1)
