"""Opens connections to providers: DNS, both address families, an HTTPS proxy, and TLS."""

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

SECOND_FAMILY_DELAY = 0.25  # seconds; RFC 8305, 5 ("Connection Attempt Delay")
MAX_CONNECT_RESPONSE_BYTES = 16_384
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})[ \r]")

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
AddressInfo = tuple[Any, ...]


class Origin(NamedTuple):
    """The scheme, host and port of a provider. Connections are pooled, and TLS is verified, for each origin."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Return the origin of an `http` or `https` URL. Raise ValueError for any other URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http or https URL with a host: {url!r}")
    return Origin(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))


def tls_context(roots: str | None = None) -> ssl.SSLContext:
    """Return a context that verifies servers.

    The root certificates come from the PEM file `roots`, otherwise from the system, or from certifi if it has none.
    """
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
    """Opens connections to providers. Host names are looked up in threads and cached for `dns_ttl` seconds."""

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
        self._addresses: dict[tuple[str, int], tuple[float, list[AddressInfo]]] = {}  # with the loop time of expiry

    async def connect(self, origin: Origin, factory: Callable[[], ProtocolT]) -> ProtocolT:
        """Return a protocol that is connected and, for https, verified. Raise Failure of kind CONNECT."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await self._connect(origin, factory)
        except TimeoutError:
            message = f"no connection to {origin} could be opened within {self._connect_timeout:g} s"
            raise Failure(Kind.CONNECT, 504, message, code="connect_timeout") from None
        except socket.gaierror as error:
            raise _unreachable(f"{origin.host} could not be resolved: {error.strerror}") from None
        except ssl.SSLCertVerificationError as error:
            raise _unreachable(f"the certificate of {origin} cannot be verified: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise _unreachable(f"the TLS handshake with {origin} failed: {error.reason or error}") from None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # the limit is this machine's, not the provider's
                text = f"no connection to {origin} could be opened: {error.strerror}; raise the limit on open files"
                raise Failure(Kind.OVERLOADED, 503, text, code="too_many_connections", retry_after=1.0) from None
            self._addresses.pop((origin.host, origin.port), None)  # its addresses may have changed
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
        """Return the TLS context. It is made on first use, because loading the roots takes tens of milliseconds."""
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls

    async def _open(self, host: str, port: int) -> socket.socket:
        addresses = await self._resolve(host, port)
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=SECOND_FAMILY_DELAY, interleave=1
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    async def _resolve(self, host: str, port: int) -> list[AddressInfo]:
        loop = asyncio.get_running_loop()
        expiry, addresses = self._addresses.get((host, port), (0.0, []))
        if expiry > loop.time():
            return addresses
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "it has no addresses")
        self._addresses[host, port] = (loop.time() + self._dns_ttl, addresses)
        return addresses

    async def _tunnel(self, origin: Origin, proxy: str) -> socket.socket:
        """Return a socket that is connected through an HTTP proxy (RFC 9110, 9.3.6)."""
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        sock = await self._open(parts.hostname or "", parts.port or 80)
        try:
            await self._request_tunnel(sock, origin, parts.username, parts.password)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _request_tunnel(
        self, sock: socket.socket, origin: Origin, user: str | None, password: str | None
    ) -> None:
        loop = asyncio.get_running_loop()
        target = f"{origin.host}:{origin.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
        if user is not None:
            pair = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
            lines.append(f"proxy-authorization: Basic {pair}")
        await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
        response = b""
        while b"\r\n\r\n" not in response and len(response) < MAX_CONNECT_RESPONSE_BYTES:
            received = await loop.sock_recv(sock, 4096)
            if not received:
                raise _unreachable(f"the proxy closed the connection instead of connecting to {target}")
            response += received
        status = _STATUS_LINE.match(response)
        if status is None or not status[1].startswith(b"2"):
            # Only the number is shown, because a proxy may repeat what it was sent, with its password.
            reason = f"status {status[1].decode()}" if status is not None else "its response is not HTTP"
            raise _unreachable(f"the proxy refused a connection to {target}: {reason}")


def _unreachable(message: str) -> Failure:
    return Failure(Kind.CONNECT, 502, message, code="connect_failed")
