"""Reads the most frequent events and responses: those with a single text of one candidate.

One typed decoding takes the place of an untyped one, one that checks the types, and much of the rest. What has any
member that is not declared here is not plain. Sources: the types of the `google-genai` SDK and recorded traffic.
"""

from typing import Literal

import msgspec

from nulpoint.conversation.usage import Tokens
from nulpoint.protocols.response_types import Enum, Index


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    pass


class PlainPart(_Plain):
    """A part with only text. `msgspec.to_builtins` returns it as it was sent."""

    text: str
    thought: bool | msgspec.UnsetType = msgspec.UNSET


class _Content(_Plain):
    parts: tuple[PlainPart]  # exactly one
    role: str = ""


class _Candidate(_Plain):
    content: _Content
    index: Index = 0


class _ModalityCount(_Plain):
    modality: Enum | msgspec.UnsetType = msgspec.UNSET
    tokenCount: Tokens | msgspec.UnsetType = msgspec.UNSET


class _PlainUsage(_Plain):
    """The usage so far, which comes with every event. `msgspec.to_builtins` returns it as it was sent."""

    promptTokenCount: Tokens | msgspec.UnsetType = msgspec.UNSET
    candidatesTokenCount: Tokens | msgspec.UnsetType = msgspec.UNSET
    totalTokenCount: Tokens | msgspec.UnsetType = msgspec.UNSET
    thoughtsTokenCount: Tokens | msgspec.UnsetType = msgspec.UNSET
    cachedContentTokenCount: Tokens | msgspec.UnsetType = msgspec.UNSET
    toolUsePromptTokenCount: Tokens | msgspec.UnsetType = msgspec.UNSET
    promptTokensDetails: list[_ModalityCount] | msgspec.UnsetType = msgspec.UNSET
    candidatesTokensDetails: list[_ModalityCount] | msgspec.UnsetType = msgspec.UNSET
    cacheTokensDetails: list[_ModalityCount] | msgspec.UnsetType = msgspec.UNSET
    toolUsePromptTokensDetails: list[_ModalityCount] | msgspec.UnsetType = msgspec.UNSET
    serviceTier: str | msgspec.UnsetType = msgspec.UNSET
    trafficType: str | msgspec.UnsetType = msgspec.UNSET


class _PlainEvent(_Plain):
    """An event with a piece of text or of a thought. What it says of the response, the first event has said too."""

    candidates: tuple[_Candidate]  # exactly one
    usageMetadata: _PlainUsage | None = None
    modelVersion: str | None = None
    responseId: str | None = None


class _WholeCandidate(_Candidate):
    finishReason: Literal["STOP", "MAX_TOKENS"] = "STOP"


class _PlainResponse(_Plain):
    """A complete response with a text."""

    candidates: tuple[_WholeCandidate]  # exactly one
    responseId: str
    usageMetadata: _PlainUsage | None = None
    modelVersion: str | None = None


read_plain_event = msgspec.json.Decoder(_PlainEvent).decode
read_plain_response = msgspec.json.Decoder(_PlainResponse).decode
