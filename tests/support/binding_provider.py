"""A scripted provider that speaks Anthropic's Messages API, with accounts that keep their prompts and their reasoning apart.

Each API key is an account of its own:

- It has a *prompt cache*. A prefix of a prompt that ends at a cache mark is stored, and later prompts that begin with it
  read it from there.
- It *binds reasoning*: the signature of a thinking block is valid only for the same account, and only if everything
  before the block is what it was when the block was made. Otherwise the request is a 400, or, if it asks for
  `drop_block`, the block is left out.

Source: platform.claude.com/docs/en/build-with-claude (preserved thinking, prompt caching), read in November 2026.
"""

import hashlib
import json
import re
from typing import Any, NamedTuple

from support.provider_bytes import answer
from support.scripted_provider import ScriptedProvider, send, serve

JSON = dict[str, Any]
BETA = "thinking-binding-controls-2026-08-01"
_CHARACTERS_PER_TOKEN = 4


class Served(NamedTuple):
    """What one successful request cost, in tokens, and how many thinking blocks were left out."""

    account: str
    prompt: int
    cached: int
    dropped: int


class Rejected(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.body = json.dumps({"type": "error", "error": {"type": kind, "message": text}}).encode()


class Prefix:
    """The part of a prompt that has been read so far, as a digest and a number of characters."""

    def __init__(self, account: str) -> None:
        self._hash = hashlib.sha256()
        self._account = account
        self.characters = 0

    def add(self, value: Any) -> None:
        text = json.dumps(_without_marks(value), sort_keys=True)
        self._hash.update(text.encode() + b"\n")
        self.characters += len(text)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def tokens(self) -> int:
        return self.characters // _CHARACTERS_PER_TOKEN

    @property
    def signature(self) -> str:
        """The signature of a thinking block that comes next."""
        return hashlib.sha256(f"{self._account} {self.digest}".encode()).hexdigest()


class BindingProvider:
    """The provider. `dead` has the keys that are no longer accepted, and `cached` the stored prefixes of each account."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.served: list[Served] = []
        self.rejected: list[tuple[str, int, str]] = []
        self._cached: dict[str, set[str]] = {}
        self.server: ScriptedProvider = None  # type: ignore[assignment]  # set by start

    @property
    def url(self) -> str:
        return self.server.url

    async def start(self) -> "BindingProvider":
        self.server = await serve(choose=lambda request: [send(self._respond(request))])
        return self

    async def close(self) -> None:
        await self.server.close()

    def _respond(self, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        fields = dict(re.findall(r"(?m)^([\w-]+): *(.*?)\r?$", head.decode().lower()))
        account = fields["x-api-key"]
        try:
            if account in self.dead:
                raise Rejected(401, "authentication_error", "invalid x-api-key")
            response = self._message(account, json.loads(body), fields.get("anthropic-beta", ""))
        except Rejected as error:
            self.rejected.append((account, error.status, str(error)))
            return answer(error.body, error.status)
        return answer(json.dumps(response).encode())

    def _message(self, account: str, asked: JSON, betas: str) -> JSON:
        prefix, ends, dropped = self._read(account, asked, _asks_to_drop(asked, betas))
        stored = self._cached.setdefault(account, set())
        cached = max((tokens for digest, tokens, _ in ends if digest in stored), default=0)
        stored |= {digest for digest, _, marked in ends if marked}
        self.served.append(Served(account, prefix.tokens, cached, dropped))
        number = len(self.served)
        prefix.add({"role": "assistant"})
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": asked["model"],
            "content": [
                {"type": "thinking", "thinking": f"thought {number}. " * 20, "signature": prefix.signature},
                {"type": "text", "text": f"answer {number}. " * 20},
            ],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": prefix.tokens - cached,
                "cache_read_input_tokens": cached,
                "cache_creation_input_tokens": 0,
                "output_tokens": 160,
            },
        }

    def _read(self, account: str, asked: JSON, drop: bool) -> tuple[Prefix, list[tuple[str, int, bool]], int]:
        """Read a prompt. Return it, the ends of its messages (digest, tokens, marked) and the number of dropped blocks."""
        prefix, ends, dropped = Prefix(account), [], 0
        prefix.add(asked.get("tools", []))
        prefix.add(asked.get("system", []))
        ends.append((prefix.digest, prefix.tokens, _is_marked(asked.get("system", []))))
        for number, message in enumerate(asked["messages"]):
            prefix.add({"role": message["role"]})
            for position, block in enumerate(message["content"]):
                if block["type"] == "thinking" and block["signature"] != prefix.signature:
                    if not drop:
                        raise Rejected(
                            400,
                            "invalid_request_error",
                            f"messages.{number}.content.{position}: Invalid `signature` in `thinking` block. The block"
                            " is bound to a different conversation.",
                        )
                    dropped += 1
                    continue
                prefix.add(block)
            ends.append((prefix.digest, prefix.tokens, _is_marked(message["content"])))
        return prefix, ends, dropped


def _asks_to_drop(asked: JSON, betas: str) -> bool:
    binding = (asked.get("thinking") or {}).get("block_binding")
    if binding is not None and BETA not in betas:
        raise Rejected(400, "invalid_request_error", "thinking.block_binding: Extra inputs are not permitted")
    return binding == {"prefix_mismatch_behavior": "drop_block"}


def _is_marked(blocks: list[JSON]) -> bool:
    return any("cache_control" in block for block in blocks)


def _without_marks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_marks(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_marks(one) for name, one in value.items() if name != "cache_control"}
    return value
