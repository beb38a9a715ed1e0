"""The client protocol of OpenAI's API: chat completions, completions, embeddings and what has the same errors."""

from typing import Any

import msgspec

from nulpoint.errors import Failure
from nulpoint.formats import sse


class OpenAIClientProtocol:
    """Writes errors as OpenAI's API does (`error` with message, type, param and code). Its SDKs raise on the event."""

    def error_body(self, failure: Failure) -> bytes:
        error: dict[str, Any] = {
            "message": failure.message,
            "type": failure.type,
            "param": failure.param,
            "code": failure.code,
        }
        if failure.inner_error is not None:
            error["innererror"] = failure.inner_error
        if failure.attempts:
            error["attempts"] = failure.attempts
        return msgspec.json.encode({"error": {**error, **failure.more_members()}})

    def error_event(self, failure: Failure) -> bytes:
        # The empty line ends an event that may be incomplete.
        return b"\n\n" + sse.encode(self.error_body(failure))


OPENAI_CLIENT = OpenAIClientProtocol()
