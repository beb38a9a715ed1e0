"""Checks that a request surely comes from this machine, and not from a page in a browser on it.

It protects the admin pages when no admin key is set. A loopback address alone is not enough. A proxy on this machine
passes on everybody's requests from such an address. So does a browser on this machine for any page open in it, by the
page's cross-origin requests or, if its host name resolves to this machine (DNS rebinding), as the same origin.
"""

import re

from nulpoint.errors import Failure, Kind
from nulpoint.http.loopback import is_loopback
from nulpoint.http.message import HttpRequest

# The beginnings of the names of headers that proxies add.
_FORWARDED = (
    b"forwarded",
    b"via",
    b"x-forwarded",
    b"x-real-ip",
    b"x-client-ip",
    b"true-client-ip",
    b"cf-",
    b"x-envoy-",
)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]{0,5})?")
_SAME_SITE = (b"none", b"same-origin")


def check_local(peer: str, request: HttpRequest) -> None:
    """Raise Failure (403) unless the request comes from this machine. `peer` is the address of the connection."""
    headers = request.headers
    if not is_loopback(peer):
        raise _local_only_error("it is reached from another machine")
    if not is_loopback(_host(headers.get(b"host", b""))):
        raise _local_only_error("its Host header must be localhost or a loopback address")
    # By default nginx adds no headers and puts the gateway's address into Host, but then it uses HTTP/1.0.
    if request.version == "1.0" or any(name.startswith(_FORWARDED) for name in headers):
        raise _local_only_error("the request came through a proxy")
    if b"origin" in headers or headers.get(b"sec-fetch-site", b"none") not in _SAME_SITE:
        raise _local_only_error("the request comes from a page in a browser")


def _host(value: bytes) -> str:
    """Return the host of a Host header without the port and the brackets; empty if the header is invalid."""
    match = _HOST.fullmatch(value.decode("latin-1"))
    return match[1] or match[2] if match else ""


def _local_only_error(why: str) -> Failure:
    text = f"without ADMIN_API_KEY this page is only served to this machine, and {why}; set ADMIN_API_KEY and send it"
    return Failure(Kind.AUTH, 403, text, code="admin_key_needed")
