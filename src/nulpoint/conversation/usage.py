"""Token counts of a response. Counts that are not reported are never guessed."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec

# More tokens than any model can read or write. Larger numbers are not accepted as counts, since their sums would be too
# large for the metrics and the request log.
MAX_TOKENS = 1_000_000_000
Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
_NO_COUNTS: Mapping[str, int] = MappingProxyType({})


class Usage(msgspec.Struct, frozen=True):
    """The token counts of a response that are logged, limited and priced.

    `prompt` includes `cached` (read from the provider's cache) and `written` (written to it, of which `written_1h` are
    kept for an hour and the others for minutes). `completion` includes `reasoning`.
    """

    prompt: Tokens = 0
    completion: Tokens = 0
    cached: Tokens = 0
    reasoning: Tokens = 0
    written: Tokens = 0
    written_1h: Tokens = 0


class UsageReport(msgspec.Struct, frozen=True, gc=False):
    """The token counts of a response as its provider reports them. See `Usage`; None means that there is no report.

    Fields:
        total: the provider's own sum.
        prompt_details: further counts of parts of the prompt, by OpenAI's names, such as `audio_tokens`.
        completion_details: the same for the completion.
    """

    prompt: int = 0
    completion: int = 0
    cached: int | None = None
    reasoning: int | None = None
    written: int | None = None
    written_1h: int = 0
    total: int | None = None
    prompt_details: Mapping[str, int] = _NO_COUNTS
    completion_details: Mapping[str, int] = _NO_COUNTS

    def counts(self) -> Usage | None:
        """Return the counts, with 0 for those that are not reported, or None if they are too large to be true."""
        if self.prompt > MAX_TOKENS or self.completion > MAX_TOKENS:
            return None
        cached, reasoning, written = self.cached or 0, self.reasoning or 0, self.written or 0
        return Usage(self.prompt, self.completion, cached, reasoning, written, self.written_1h)
