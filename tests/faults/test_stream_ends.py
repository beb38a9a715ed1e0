"""How streams end, in the cases the matrix has no room for: several events in one read, and what comes after the end."""

import json

import pytest
from faultd import fin, reset, send, serve, silence
from outcome import ask
from provider_bytes import DONE, LAST_CHUNK, ROLE, STREAM_HEAD, WORD, chunk, delta

from conftest import STREAM, gateway, run

FINISH = delta(b"", b'"stop"')
SETTINGS = {"STREAM_IDLE_TIMEOUT": "200ms", "MAX_RETRIES": "1"}


async def relayed(*steps, settings=SETTINGS):
    """What a caller sees of a stream scripted so, and its log record."""
    faultd = await serve([send(STREAM_HEAD), *steps])
    async with gateway(settings, providers={"openai": faultd}) as running:
        outcome = await ask(running.port, STREAM)
        return outcome, json.loads(running.log())


@pytest.mark.parametrize("end", [reset(), fin(), silence()], ids=["reset", "end", "stall"])
@pytest.mark.parametrize("apart", [True, False], ids=["event by event", "in one read"])
def test_a_connection_that_breaks_after_the_terminal_event_takes_nothing_back(end, apart):
    events = [chunk(one) for one in (ROLE, WORD, FINISH, DONE)]

    async def main():
        outcome, record = await relayed(send(*events) if apart else send(b"".join(events)), end)
        assert (outcome.verdict, outcome.text) == ("answer", "word ")
        assert "error" not in record

    run(main())


@pytest.mark.parametrize("piece", [DONE[:8], DONE[:-1], WORD[:20], WORD[:-2]])
def test_of_a_stream_that_ends_within_an_event_that_event_is_not_shown(piece):
    """`[DONE]` without its empty line is the end of a whole answer; anything else in that place is half an event."""

    async def main():
        events = [chunk(one) for one in (ROLE, WORD, FINISH, piece)]
        outcome, _ = await relayed(send(*events, LAST_CHUNK))
        assert outcome.verdict == ("answer" if piece == DONE[:-1] else "error")
        assert [one for one in outcome.events if one != b"[DONE]" and not json.loads(one)] == []
        assert outcome.text == "word "

    run(main())
