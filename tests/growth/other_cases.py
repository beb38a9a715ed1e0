"""Growth cases for inputs other than bodies: HTTP of clients and providers, headers, settings and the request log."""

import gzip
import json
import operator
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import brotli
from measure import Case, Work

from nulpoint.api.cors import CorsPolicy
from nulpoint.cli.log import reader
from nulpoint.cli.log.summary import summarise
from nulpoint.config import values
from nulpoint.errors import Failure, Kind
from nulpoint.formats.content_coding import ContentTooLongError, zstd
from nulpoint.models.catalog import built_in_models
from nulpoint.models.listing import read_listing
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.request.client_auth import ClientAuthenticator
from nulpoint.request.compressed_body import decompress_body
from nulpoint.request.headers import failure_headers, headers_for_client, headers_for_provider, provider_headers
from support.http_ends import read_requests, read_response

CREDENTIAL = CredentialMatcher("Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1")
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
GET = b"GET /health HTTP/1.1\r\nhost: x\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
Shape = tuple[Callable[[int], bytes], int]


def sized(head: bytes, body: bytes) -> bytes:
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def chunked(head: bytes, body: bytes) -> bytes:
    return b"%btransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, body)


# A head over the limits is rejected, so larger ones cost no more.
REQUESTS: dict[str, Shape] = {
    "one after the other": (lambda size: GET + b"\r\n" + (GET + b"\r\n") * size, 2_000),
    "bodies one after the other": (lambda size: sized(POST, b"{}") * (size + 1), 2_000),
    "a long body": (lambda size: sized(POST, b"x" * size), 400_000),
    "chunks of one byte": (lambda size: chunked(POST, b"1\r\nx\r\n" * size), 20_000),
    "chunks with extensions": (lambda size: chunked(POST, b"8;a=b\r\nxxxxxxxx\r\n" * size), 10_000),
    "a trailer": (lambda size: chunked(POST, b"1\r\nx\r\n")[:-2] + b"a: b\r\n" * (size % 90) + b"\r\n", 90),
    "fields": (lambda size: GET + b"a: b\r\n" * (size % 90) + b"\r\n", 90),
    "cookies": (lambda size: GET + b"cookie: b\r\n" * (size % 90) + b"\r\n", 90),
    "a long field": (lambda size: GET + b"a: " + b"b" * size + b"\r\n\r\n", 30_000),
    "a long target": (lambda size: b"GET /" + b"a" * size + b" HTTP/1.1\r\nhost: x\r\n\r\n", 8_000),
    "empty lines": (lambda size: b"\r\n" * size + GET + b"\r\n", 10_000),
}
ANSWERS: dict[str, Shape] = {
    "a long body": (lambda size: sized(OK, b"x" * size), 400_000),
    "chunks of one byte": (lambda size: chunked(OK, b"1\r\nx\r\n" * size), 20_000),
    "to the end of the connection": (lambda size: OK + b"\r\n" + b"x" * size, 400_000),
    "fields": (
        lambda size: OK + b"".join(b"a%d: b\r\n" % at for at in range(size)) + b"content-length: 0\r\n\r\n",
        900,
    ),
    "one field again": (lambda size: OK + b"a: b\r\n" * size + b"content-length: 0\r\n\r\n", 900),
    "interim responses": (lambda size: b"HTTP/1.1 100 Continue\r\n\r\n" * size + OK + b"content-length: 0\r\n\r\n", 8),
}


def _of_requests(build: Callable[[int], bytes], piece: int) -> Callable[[int], Work]:
    def make(size: int) -> Work:
        parts = _pieces(build(size), piece)
        return lambda: read_requests(parts)

    return make


def _of_answers(build: Callable[[int], bytes], piece: int) -> Callable[[int], Work]:
    def make(size: int) -> Work:
        parts = _pieces(build(size), piece)
        return lambda: read_response(parts)

    return make


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def _http() -> Iterator[Case]:
    for piece in (100, 60_000):
        for name, (build, largest) in REQUESTS.items():
            yield Case(f"request: {name}, {piece} bytes at a time", _of_requests(build, piece), largest)
        for name, (build, largest) in ANSWERS.items():
            yield Case(f"response: {name}, {piece} bytes at a time", _of_answers(build, piece), largest)


def fields(size: int) -> dict[bytes, bytes]:
    return {b"x-ratelimit-%d" % at: b"1" * 50 for at in range(size)} | {
        b"openai-beta": b"x" * size,
        b"origin": b"http://x" * size,
    }


def _preflight(size: int) -> dict[bytes, bytes]:
    return {
        b"origin": b"o",
        b"access-control-request-method": b"POST",
        b"access-control-request-headers": b"a, " * size,
    }


COMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b"zstd": zstd.compress,
}  # fmt: skip


def _compressed() -> Iterator[Case]:
    """Yield bodies that decompress to a long text, and bodies of many parts, which are rejected."""

    def decompressing(coding: bytes, make: Callable[[int], bytes]) -> Callable[[int], Work]:
        def prepared(size: int) -> Work:
            body = make(size)
            return lambda: _decompress(body, coding)

        return prepared

    for coding, compress in COMPRESS.items():
        for name, unit in (("text", b"abcd"), ("names", b'"a":1,')):
            make = decompressing(coding, partial(_repeated, compress, unit))
            yield Case(f"decompress {coding.decode()}: {name}", make, 400_000)
        make = decompressing(coding, partial(operator.mul, compress(b"a")))
        yield Case(f"decompress {coding.decode()}: many parts", make, 100_000)


def _repeated(compress: Callable[[bytes], bytes], unit: bytes, size: int) -> bytes:
    return compress(unit * size)


def _decompress(body: bytes, coding: bytes) -> None:
    with suppress(Failure, ContentTooLongError):
        decompress_body(body, coding, 1 << 24)


def _texts() -> Iterator[Case]:
    def reading(make: Callable[[int], object], read: Callable[..., object]) -> Callable[[int], Work]:
        def prepared(size: int) -> Work:
            prepared_input = make(size)
            return lambda: read(prepared_input)

        return prepared

    authenticator = ClientAuthenticator([b"x" * 32], forward=True, distinguish=True)
    yield Case(
        "headers for a provider",
        reading(fields, lambda given: headers_for_provider(given, True, authenticator, b"k" * 32)),
        1_000,
    )
    yield Case(
        "headers for a client",
        reading(fields, lambda given: headers_for_client(given, CREDENTIAL, beside_limits=False)),
        1_000,
    )
    yield Case("CORS", reading(fields, CorsPolicy(("*",)).preflight_headers), 1_000)
    yield Case("CORS preflight", reading(_preflight, CorsPolicy(("o",)).preflight_headers), 20_000)
    yield Case("a model's name", reading(lambda size: "é\n" * size, lambda name: provider_headers(b"p", name)), 200_000)
    for unit in ("a", "-v1:0", "@20250929", "claude-", "-v1"):
        yield Case(
            f"facts about a model: {unit}",
            reading(lambda size, unit=unit: unit * size, lambda name: built_in_models().provenance("bedrock", name)),
            1_000,
        )
    for name, unit in (("names", b'{"id":"a%d"},'), ("days", b'{"id":"%d","retires_at":"2030-01-01"},')):
        yield Case(
            f"a list of models: {name}",
            reading(
                lambda size, unit=unit: b"[" + b"".join(unit % number for number in range(size))[:-1] + b"]",
                read_listing,
            ),
            2_000,
        )
    failure = Failure(Kind.UPSTREAM, 502, "x")
    yield Case(
        "headers of a failure", reading(lambda size: b"x" * size, lambda name: failure_headers(failure, name)), 400_000
    )
    yield Case(
        "a long key",
        reading(
            lambda size: {b"authorization": b"Bearer " + b"x" * size},
            lambda headers: authenticator.authenticate(headers, ""),
        ),
        400_000,
        refused=True,
    )
    for name, unit in (("parameters", "key=%61&"), ("a long parameter", "x")):
        yield Case(
            f"keys in a query: {name}",
            reading(lambda size, unit=unit: "key=" + unit * size, lambda query: authenticator.authenticate({}, query)),
            10_000,
            refused=True,
        )
    for name in ("1h", "1", "s", "."):
        yield Case(
            f"duration: {name}", reading(lambda size, name=name: name * size, _tolerant(values.duration)), 20_000
        )
    for name in (",", "a,", "a", "://", "sk-", "?"):
        for reader_of in (
            values.names,
            values.patterns,
            values.origins,
            values.gateway_keys,
            values.url,
            values.display_text,
        ):
            read = _tolerant(reader_of)
            yield Case(f"{reader_of.__name__}: {name}", reading(lambda size, name=name: name * size, read), 4_000)


def _tolerant(read: Callable[[str], object]) -> Callable[[str], object]:
    def tried(text: str) -> object:
        try:
            return read(text)
        except ValueError:
            return None

    return tried


RECORD = {
    "time": "2026-11-30T12:00:00.000Z", "id": "r", "level": "info", "route": "chat", "method": "POST", "status": 200,
    "model": "gpt-4o", "provider": "openai", "total_us": 1000, "added_us": 10, "stream": False,
    "usage": {"prompt": 1, "completion": 1, "cached": 0}, "attempts": [{"provider": "openai", "status": 200}],
}  # fmt: skip
LINES: dict[str, Shape] = {
    "records": (lambda size: (json.dumps(RECORD) + "\n").encode() * (size + 1), 2_000),
    "words of another program": (lambda size: json.dumps(RECORD).encode() + b"\nhello" * size, 40_000),
    "one long record": (lambda size: json.dumps({**RECORD, "message": "x" * size}).encode(), 400_000),
    "many attempts": (lambda size: json.dumps({**RECORD, "attempts": RECORD["attempts"] * size}).encode(), 5_000),
    "many members": (lambda size: json.dumps({**RECORD, **{f"m{at}": at for at in range(size)}}).encode(), 5_000),
}


def _log() -> Iterator[Case]:
    def of_lines(build: Callable[[int], bytes]) -> Callable[[int], Work]:
        def make(size: int) -> Work:
            lines = build(size)

            def work() -> None:
                log = reader.RequestLogReader(reader.load_lines(lines, "here"), reader.STDIN, can_follow=False)
                for row in log.rows("1", ()):
                    reader.as_record(row)
                log.close()

            return work

        return make

    for name, (build, largest) in LINES.items():
        yield Case(f"request log: {name}", of_lines(build), largest)
    yield Case("summary", _summary, 10_000)


def _summary(size: int) -> Work:
    names = (
        "time",
        "status",
        "error",
        "total_us",
        "cache",
        "coalesced",
        "first_token_us",
        "tries",
        "prompt",
        "cost",
        "saved",
        "model",
    )
    row = dict.fromkeys(names) | {"status": 200, "total_us": 1, "coalesced": 0}
    rows = [{**row, "model": f"model-{at}", "total_us": at} for at in range(size)]
    return lambda: summarise(rows, "model")


CASES = [*_http(), *_compressed(), *_texts(), *_log()]
