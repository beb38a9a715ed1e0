"""Sends responses to the socket, correctly or with an injected fault."""

import asyncio
import gzip
import socket
import struct
from collections.abc import Mapping

from nulpoint.mock.faults import Fault
from nulpoint.mock.interface import MockRequest, MockResponse, ProviderApi, json_text
from nulpoint.mock.tokens import oauth_error

_HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>Error</h1>cloudflare</body></html>"
_SERVER_ERROR = "The server had an error while processing your request."


def apply_fault(api: ProviderApi, request: MockRequest, response: MockResponse, fault: Fault | None) -> MockResponse:
    """Return the response that the fault puts in place of the good one. Connection faults leave it as it is."""
    if fault is not None and fault.name.startswith("token_"):
        description = (
            "The mock was told to refuse." if fault.name != "token_repeat" else request.raw_body.decode("latin-1")
        )
        return oauth_error("invalid_grant", description, int(fault.arg or 400))
    match fault:
        case Fault(name="rate_limit"):
            return api.rate_limited(fault.arg)
        case Fault(name="status" | "repeat"):
            return api.error(
                int(fault.arg), _error_message(fault, request, f"The mock was told to answer {int(fault.arg)}.")
            )
        case Fault(name="expired_token"):
            return api.error(int(fault.arg), "The access token has expired.")
        case Fault(name="html_error"):
            return MockResponse(status=int(fault.arg), body=_HTML, headers={"content-type": "text/html"})
        case Fault(name="error_in_200" | "repeat_in_200"):
            return MockResponse(body=api.error(500, _error_message(fault, request, "Provider returned error")).body)
        case Fault(name="malformed_json"):
            return MockResponse(body=b'{"id":"chatcmpl-mock","choices":[{"index":0,"mess')
        case Fault(name="error_first" | "repeat_first") if response.events is not None:
            error_event = api.error_event(int(fault.arg), _error_message(fault, request, "Overloaded"))
            return MockResponse(events=[error_event], headers=response.headers)
        case Fault(name="error_mid_stream" | "repeat_mid_stream") if response.events is not None:
            error_event = api.error_event(500, _error_message(fault, request, _SERVER_ERROR))
            return MockResponse(events=[*response.events[: int(fault.arg)], error_event], headers=response.headers)
    return response


def _error_message(fault: Fault, request: MockRequest, default: str) -> str:
    """Return the default text, or a text that repeats the credential and the request, as a careless provider does."""
    if not fault.name.startswith("repeat"):
        return default
    credential_headers = ("x-amz-security-token", "authorization", "x-api-key", "x-goog-api-key", "api-key")
    credential = next((request.headers[name] for name in credential_headers if name in request.headers), "none")
    return (
        f"Incorrect API key provided: {credential.removeprefix('Bearer ')}. The request was: {json_text(request.body)}"
    )


class ResponseSender:
    """Sends one response. `pause` is the time in seconds between the events of a stream."""

    def __init__(
        self, transport: asyncio.Transport, writable: asyncio.Event, fault: Fault | None, pause: float
    ) -> None:
        self._transport = transport
        self._writable = writable
        self._fault = fault or Fault("")
        self._name = self._fault.name
        self._pause = pause

    async def send(self, response: MockResponse, *, keep_alive: bool) -> None:
        if self._name in ("reset_before_head", "close_before_head"):
            self._end(reset=self._name.startswith("reset"))
            return
        if self._name in ("stall", "token_stall"):
            await asyncio.sleep(3600)
        if self._name == "informational":
            self._transport.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * int(self._fault.arg))
        if self._name == "reset_after_head":
            self._transport.write(_head(response.status, {"content-type": "application/json", "content-length": "9"}))
            await asyncio.sleep(0.01)
            self._end(reset=True)
        elif response.events is not None:
            await self._send_stream(response, response.events)
        else:
            await self._send_whole(response, keep_alive)

    async def _send_whole(self, response: MockResponse, keep_alive: bool) -> None:
        body = response.body
        headers = {"content-type": "application/json", **response.headers}
        if self._name == "gzip":
            body = gzip.compress(body, mtime=0)
            headers["content-encoding"] = "gzip"
        if self._name == "huge_head":
            headers["x-huge"] = "x" * 131_072
        if self._name == "close_delimited":
            headers["connection"] = "close"
        else:
            headers["content-length"] = str(len(body) + (10 if self._name == "wrong_length" else 0))
        extra = b"HTTP/1.1 200" if self._name == "short_length" else b""
        await self._write(_head(response.status, headers) + body + extra)
        if self._name in ("wrong_length", "close_delimited") or not keep_alive:
            self._end(reset=False)

    async def _send_stream(self, response: MockResponse, events: list[bytes]) -> None:
        complete = not self._name.endswith("_mid_stream") or self._name in ("error_mid_stream", "repeat_mid_stream")
        if not complete:
            events = events[: int(self._fault.arg)]
        head = _head(200, {"content-type": "text/event-stream", **response.headers, "transfer-encoding": "chunked"})
        for number, event in enumerate(events):
            last = b"0\r\n\r\n" if complete and number == len(events) - 1 else b""
            await self._write(b"%b%x\r\n%b\r\n%b" % (head, len(event), event, last))
            head = b""
            if self._pause:
                await asyncio.sleep(self._pause)
            await self._writable.wait()
        if not complete:
            await self._break_off(head)

    async def _break_off(self, head: bytes) -> None:
        self._transport.write(head)
        if self._name == "stall_mid_stream":
            await asyncio.sleep(3600)
        if self._name == "end_mid_stream":
            self._transport.write(b"0\r\n\r\n")
        else:
            await asyncio.sleep(0.01)
            self._end(reset=self._name == "reset_mid_stream")

    async def _write(self, data: bytes) -> None:
        if self._name != "slow_drip":
            self._transport.write(data)
            return
        for position in range(len(data)):
            self._transport.write(data[position : position + 1])
            await asyncio.sleep(self._fault.arg / 1000)

    def _end(self, *, reset: bool) -> None:
        if reset:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
