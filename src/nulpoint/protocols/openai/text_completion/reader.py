"""Reads a request of the legacy completions API as a conversation with one message.

Members that a conversation cannot express and that would change the meaning of the response (`suffix`, `echo`,
`best_of`, several prompts, token ids) are rejected. `logprobs`, which has a different format in chat, is dropped.
Source: OpenAI's API description, `POST /completions`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from nulpoint.conversation.parts import Text
from nulpoint.conversation.request import ConversationRequest, Message
from nulpoint.errors import Failure, rejected
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import read_body
from nulpoint.protocols.openai.chat_client.reader import with_messages

# The members that are not supported, with the values that have no effect.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {"suffix": (None, ""), "echo": (None, False), "best_of": (None, 1)}
)
_NOT_SETTINGS = frozenset({"prompt", "logprobs", "messages", *_UNSUPPORTED})


def read_completion(body: bytes, limits: TranslationLimits = DEFAULT_LIMITS) -> ConversationRequest:
    """Return the request as a conversation. Raises Failure (400) if it cannot be expressed as one."""
    request = read_body(body)
    for name, neutral in _UNSUPPORTED.items():
        if request.get(name) not in neutral:
            raise _unsupported(name, f"`{name}` has no counterpart in chat")
    prompt = Message("user", (Text(_single_prompt(request)),), "prompt", is_plain=True)
    others = {name: value for name, value in request.items() if name not in _NOT_SETTINGS}
    conversation = with_messages(others, (prompt,), limits)
    if request.get("logprobs") is None:
        return conversation
    return msgspec.structs.replace(conversation, dropped=("logprobs",))


def _single_prompt(request: dict[str, Any]) -> str:
    if "prompt" not in request:
        raise rejected("`prompt` is missing", param="prompt", code="missing_required_parameter")
    prompt = request["prompt"]
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        text = "`prompt` must be a single text: several prompts and token ids have no counterpart in chat"
        raise _unsupported("prompt", text)
    return prompt


def _unsupported(param: str, problem: str) -> Failure:
    text = f"{problem}; this provider only offers chat: choose one with /completions, or call /v1/chat/completions"
    return rejected(text, param=param, code="unsupported_parameter")
