"""A toy client protocol in one class, which shows the calls of a stream parser."""

import json
from collections.abc import Mapping
from typing import Any

from nulpoint.conversation.parts import NO_MEMBERS, Citation, Members
from nulpoint.conversation.response import FinishReason
from nulpoint.conversation.stream import PartKind
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure


class LineWriter:
    """Writes one line of text for each call: the whole client side of a toy protocol."""

    def begin(self, response_id: str, model: str, *, index: int = 0, created: int | None = None) -> bytes:
        return f"begin {response_id} {model}\n".encode() + (self.select_choice(index) if index else b"")

    def keep_alive(self) -> bytes:
        return b""

    def progress(self) -> bytes:
        return b""

    def start_part(self, kind: PartKind) -> bytes:
        return f"part {kind}\n".encode()

    def text(self, text: str) -> bytes:
        return f"text {text}\n".encode() if text else b""

    def citation(self, citation: Citation) -> bytes:
        place = f" {citation.span}" if citation.span else ""
        return f"citation {citation.url}{place}\n".encode()

    def reasoning(self, text: str) -> bytes:
        return f"reasoning {text}\n".encode()

    def signature(self, provider: str, data: str, *, redacted: bool = False) -> bytes:
        return f"{'redacted' if redacted else 'signature'} {provider} {data}\n".encode()

    def provider_part(self, provider: str, data: Members) -> bytes:
        return f"provider part {provider} {json.dumps(data)}\n".encode()

    def select_choice(self, index: int) -> bytes:
        return f"choice {index}\n".encode()

    def logprobs(self, logprobs: Members) -> bytes:
        return f"logprobs {sorted(logprobs)}\n".encode()

    def start_call(
        self, number: int, call_id: str | None, name: str | None, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        data = f" {dict(provider_data)}" if provider_data else ""
        return f"call {number} {call_id} {name}{data}\n".encode()

    def arguments(self, number: int, text: str) -> bytes:
        return f"arguments {number} {text}\n".encode()

    def end_call(self, number: int) -> bytes:
        return f"end of call {number}\n".encode()

    def custom_call(
        self, number: int, call_id: str | None, name: str, text: str, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        data = f" {dict(provider_data)}" if provider_data else ""
        return f"custom call {number} {call_id} {name} {text}{data}\n".encode()

    def refusal(self, text: str) -> bytes:
        return f"refusal {text}\n".encode()

    def finish(self, reason: FinishReason, provider_data: Mapping[str, Any]) -> bytes:
        return f"finish {reason} {sorted(provider_data)}\n".encode()

    def late_data(self, provider_data: Members) -> bytes:
        return f"late data {sorted(provider_data)}\n".encode()

    def usage(self, usage: UsageReport) -> bytes:
        return f"usage {usage.prompt} {usage.completion}\n".encode()

    def end(self) -> bytes:
        return b"end\n"

    def error(self, failure: Failure) -> bytes:
        return f"error {failure.message}\n".encode()
