"""Checks the content type of a request."""

from nulpoint.errors import rejected
from nulpoint.http.message import Headers


def check_content_type(headers: Headers) -> None:
    """Raise Failure (415) unless the body is declared as JSON.

    A web page can send other types to another origin without a preflight request, so accepting them would let any page
    spend the budget of a gateway on localhost. A request without the header is accepted only if it has no `Origin`,
    because browsers always send that.
    """
    content_type = headers.get(b"content-type")
    if content_type == b"application/json":
        return
    if content_type is None:
        if b"origin" not in headers:
            return
    elif content_type.split(b";", 1)[0].strip().lower() == b"application/json":
        return
    raise rejected(
        "the request body must be JSON; send it with Content-Type: application/json",
        status=415,
        code="unsupported_media_type",
    )
