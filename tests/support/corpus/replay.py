"""Replays recorded provider traffic; `make corpus` prints the table.

Every recording is judged twice: through the gateway's own code at every kind of cut, and over sockets, with the
official `openai` SDK asking. One that cannot be is left out for a reason that is printed with its count.
"""

import collections
import sys

import uvloop

from support.corpus.judge import judge
from support.corpus.records import Recording, recordings
from support.corpus.sockets import replay
from support.paths import CORPUS

_OUTCOMES = ("passed", "failed", "left out")


def verdict(recording: Recording, *, thorough: bool = True) -> tuple[str, list[str]]:
    """Return `passed`, `failed` or `left out`, and the notes or the reason."""
    reason = recording.left_out()
    if reason:
        return "left out", [reason]
    try:
        return "passed", judge(recording, thorough=thorough)
    except Exception as error:
        return "failed", [f"{type(error).__name__}: {str(error)[:300]}"]


def main() -> int:
    """Print the table. Return the exit code, which is 1 if any recording fails."""
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    said: dict[str, collections.Counter[str]] = {outcome: collections.Counter() for outcome in _OUTCOMES}
    found = recordings()
    over_sockets = uvloop.run(replay([recording for recording in found if not recording.left_out()]))
    for recording in found:
        outcome, words = verdict(recording)
        if outcome == "passed" and recording.name in over_sockets:
            outcome, words = "failed", [f"over sockets: {over_sockets[recording.name]}"]
        kind = recording.record["kind"] if outcome == "left out" else recording.kind
        counts[recording.record["provider"], kind, outcome] += 1
        one = (
            f"{recording.name} ({recording.record['source']})" if outcome == "failed" else recording.record["provider"]
        )
        said[outcome].update(f"{one}: {word}" for word in words)
    _print_table(counts)
    for title, outcome in (("left out", "left out"), ("passed, to be noted", "passed"), ("failed", "failed")):
        print(f"\n{title}:" if said[outcome] else "", end="\n" if said[outcome] else "")
        for line, count in sorted(said[outcome].items()):
            print(f"  {count:>5}  {line}")
    return 1 if said["failed"] else 0


def _print_table(counts: collections.Counter[tuple[str, str, str]]) -> None:
    print(f"{'provider':<16}{'kind':<20}{'recordings':>11}{'passed':>8}{'failed':>8}{'left out':>10}")
    for provider, kind in sorted({key[:2] for key in counts}):
        row = [counts[provider, kind, outcome] for outcome in _OUTCOMES]
        print(f"{provider:<16}{kind:<20}{sum(row):>11}{row[0]:>8}{row[1]:>8}{row[2]:>10}")
    totals = [sum(count for key, count in counts.items() if key[2] == outcome) for outcome in _OUTCOMES]
    print(f"{'all':<36}{sum(totals):>11}{totals[0]:>8}{totals[1]:>8}{totals[2]:>10}")


if __name__ == "__main__":
    if not CORPUS.exists():
        sys.exit(f"the recordings are not here: {CORPUS} is missing; NULPOINT_CORPUS says where they are")
    sys.exit(main())
