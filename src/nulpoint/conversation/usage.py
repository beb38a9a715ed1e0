"""Token counts of a response. Counts that are not reported are never guessed."""

from typing import Annotated

import msgspec

# More tokens than any model can read or write. Larger numbers are not accepted as counts, since their sums would be too
# large for the metrics and the request log.
MAX_TOKENS = 1_000_000_000
Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class Usage(msgspec.Struct, frozen=True):
    """The token counts of a response.

    `prompt` includes `cached` (read from the provider's cache) and `written` (written to it, of which `written_1h` are
    kept for an hour and the others for minutes). `completion` includes `reasoning`, which is None in a response of a
    provider that does not report it.
    """

    prompt: Tokens = 0
    completion: Tokens = 0
    cached: Tokens = 0
    reasoning: Tokens | None = 0
    written: Tokens = 0
    written_1h: Tokens = 0

    def is_plausible(self) -> bool:
        """Return whether the totals, which may be sums, are small enough to be token counts."""
        return self.prompt <= MAX_TOKENS and self.completion <= MAX_TOKENS
