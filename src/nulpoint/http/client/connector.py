"""Opening a connection to a provider: DNS, both address families, an HTTPS proxy, TLS."""

import asyncio
import base64
import errno
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # public, but not in the stubs

import aiohappyeyeballs
import certifi

from nulpoint.errors import Failure, Kind
from nulpoint.files import path_of_regular_file

SECOND_FAMILY_AFTER = 0.25  # seconds; RFC 8305, 5 ("Connection Attempt Delay")
CONNECT_ANSWER_BYTES = 16_384
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})[ \r]")

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
AddressInfo = tuple[Any, ...]


class Origin(NamedTuple):
    """Where a provider listens. Connections are pooled and TLS is verified per origin."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def origin_of(url: str) -> Origin:
    """The origin of an `http` or `https` URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http or https URL with a host: {url!r}")
    return Origin(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))


def tls_context(roots: str | None = None) -> ssl.SSLContext:
    """Verify against the PEM file `roots`, or else the system's roots; certifi's where the system has none."""
    if roots:
        with path_of_regular_file(roots) as path:
            context = ssl.create_default_context(cafile=path)
    else:
        context = ssl.create_default_context()
    if not roots and not context.get_ca_certs() and not ssl.get_default_verify_paths().cafile:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Opens connections. Names are looked up by the loop's threads and remembered for `dns_ttl` seconds."""

    def __init__(
        self,
        *,
        connect_timeout: float,
        dns_ttl: float,
        https_proxy: str | None = None,
        no_proxy: str | None = None,
        tls: Callable[[], ssl.SSLContext] = tls_context,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._dns_ttl = dns_ttl
        self._proxy = https_proxy
        self._no_proxy = {"no": no_proxy or ""}
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._names: dict[tuple[str, int], tuple[float, list[AddressInfo]]] = {}

    async def connect(self, origin: Origin, factory: Callable[[], ProtocolT]) -> ProtocolT:
        """A connected (and, for https, verified) protocol. Raises Failure of kind CONNECT."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await self._connect(origin, factory)
        except TimeoutError:
            message = f"{origin} could not be reached in {self._connect_timeout:g} s"
            raise Failure(Kind.CONNECT, 504, message, code="connect_timeout") from None
        except socket.gaierror as error:
            raise _unreachable(f"{origin.host} could not be resolved: {error.strerror}") from None
        except ssl.SSLCertVerificationError as error:
            raise _unreachable(f"the certificate of {origin} was not accepted: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise _unreachable(f"no TLS with {origin}: {error.reason or error}") from None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # ours, not the provider's
                text = f"no connection to {origin} could be opened: {error.strerror}; raise the limit on open files"
                raise Failure(Kind.OVERLOADED, 503, text, code="too_many_connections", retry_after=1.0) from None
            self._names.pop((origin.host, origin.port), None)  # its addresses may have changed
            raise _unreachable(f"{origin} could not be reached: {error.strerror or error}") from None

    async def _connect(self, origin: Origin, factory: Callable[[], ProtocolT]) -> ProtocolT:
        loop = asyncio.get_running_loop()
        proxied = origin.scheme == "https" and self._proxy and not proxy_bypass_environment(origin.host, self._no_proxy)
        sock = await (self._tunnel(origin, str(self._proxy)) if proxied else self._open(origin.host, origin.port))
        try:
            if origin.scheme == "http":
                _, protocol = await loop.create_connection(factory, sock=sock)
            else:
                _, protocol = await loop.create_connection(
                    factory, sock=sock, ssl=self._context(), server_hostname=origin.host
                )
        except BaseException:
            sock.close()
            raise
        return protocol

    def _context(self) -> ssl.SSLContext:
        """Loading the roots takes tens of milliseconds: done once, and not before it is needed."""
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls

    async def _open(self, host: str, port: int) -> socket.socket:
        addresses = await self._resolve(host, port)
        sock = await aiohappyeyeballs.start_connection(
            addresses,
            happy_eyeballs_delay=SECOND_FAMILY_AFTER,
            interleave=1,
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    async def _resolve(self, host: str, port: int) -> list[AddressInfo]:
        loop = asyncio.get_running_loop()
        known = self._names.get((host, port))
        if known is not None and known[0] > loop.time():
            return known[1]
        found: list[AddressInfo] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "it has no addresses")
        self._names[host, port] = (loop.time() + self._dns_ttl, found)
        return found

    async def _tunnel(self, origin: Origin, proxy: str) -> socket.socket:
        """A connection through an HTTP proxy (RFC 9110, 9.3.6)."""
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        sock = await self._open(parts.hostname or "", parts.port or 80)
        try:
            await self._ask_proxy(sock, origin, parts.username, parts.password)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _ask_proxy(self, sock: socket.socket, origin: Origin, user: str | None, password: str | None) -> None:
        loop = asyncio.get_running_loop()
        where = f"{origin.host}:{origin.port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"host: {where}"]
        if user is not None:
            pair = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
            lines.append(f"proxy-authorization: Basic {pair}")
        await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < CONNECT_ANSWER_BYTES:
            received = await loop.sock_recv(sock, 4096)
            if not received:
                raise _unreachable(f"the proxy closed the connection when asked for {where}")
            answer += received
        said = _STATUS_LINE.match(answer)
        if said is None or not said[1].startswith(b"2"):
            # The number alone: a proxy may repeat what it was sent, and that holds its password.
            told = f"with status {said[1].decode()}" if said is not None else "in words that are no HTTP"
            raise _unreachable(f"the proxy refused a connection to {where} {told}")


def _unreachable(message: str) -> Failure:
    return Failure(Kind.CONNECT, 502, message, code="connect_failed")
