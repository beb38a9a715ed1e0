"""Whether a request surely comes from this machine, and from no page in a browser on it.

Pages without a key rest on this. A loopback address alone says little: a proxy on this machine has one for everybody's
requests, and so has a browser here, whatever page is open in it, by the page's own requests or, when its host name is
made to lead here (DNS rebinding), as if it were the same origin.
"""

import re

from nulpoint.errors import Failure, Kind
from nulpoint.http.loopback import is_loopback
from nulpoint.http.message import HttpRequest

# How what proxies add begins.
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
    """`peer`: the connection's address. Raises Failure (403)."""
    headers = request.headers
    if not is_loopback(peer):
        raise _local_only_error("it is reached from another machine")
    if not is_loopback(_host(headers.get(b"host", b""))):
        raise _local_only_error("its Host field must be localhost or a loopback address")
    # nginx adds nothing unless it is told to and puts our address into Host, but it speaks HTTP/1.0 then.
    if request.version == "1.0" or any(name.startswith(_FORWARDED) for name in headers):
        raise _local_only_error("the request came through a proxy")
    if b"origin" in headers or headers.get(b"sec-fetch-site", b"none") not in _SAME_SITE:
        raise _local_only_error("the request comes from a page in a browser")


def _host(field: bytes) -> str:
    """Without the port and the brackets; empty where it is no host."""
    found = _HOST.fullmatch(field.decode("latin-1"))
    return found[1] or found[2] if found else ""


def _local_only_error(why: str) -> Failure:
    text = f"without ADMIN_API_KEY this page is for this machine alone, and {why}; set ADMIN_API_KEY and send it"
    return Failure(Kind.AUTH, 403, text, code="admin_key_needed")
