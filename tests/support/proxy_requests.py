"""Chat requests as the proxy parses them."""

from typing import Any

from nulpoint.http.message import HttpRequest
from nulpoint.providers.operations import OPERATIONS
from nulpoint.request.client_auth import ClientAuthenticator
from nulpoint.request.request import ProxyRequest, parse_request
from nulpoint.request.rules import RequestRules

BODY = b'{"model":"gpt-4o","messages":[]}'


def parsed_request(
    headers: Any = (),
    *,
    forward_keys: bool = False,
    strict: bool = False,
    body: bytes = BODY,
    keys: Any = (),
    route: str = "chat",
) -> ProxyRequest:
    all_headers = {b"content-type": b"application/json", **dict(headers)}
    request = HttpRequest("POST", b"/v1/chat/completions", all_headers, "1.1", True, 0.0)
    request.body = body
    authenticator = ClientAuthenticator(keys, forward=forward_keys, distinguish=False)
    return parse_request(request, RequestRules(authenticator, strict, 600.0, 1 << 20), OPERATIONS[route], 1000.0)
