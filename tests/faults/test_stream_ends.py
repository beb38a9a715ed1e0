"""How streams end, in the cases the matrix has no room for: several events in one read, and what comes after the end."""

import json

import pytest

from conftest import STREAM, gateway, run
from faultd import fin, reset, send, serve, silence
from outcome import ask
from provider_bytes import DONE, ROLE, STREAM_HEAD, WORD, chunk, delta

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
