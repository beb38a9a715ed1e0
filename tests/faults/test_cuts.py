"""Cuts of streams, U08 to U10 and U37: wherever a stream is cut and however, the caller hears of it, once.

NULPOINT_CUTS says how many; 10,000 take some 40 s.
"""

import asyncio
import json
import os
import random
import re
from typing import NamedTuple

import pytest

from nulpoint.mock import start
from support.client_outcome import ask
from support.event_loop import run
from support.http_client import STREAM
from support.provider_bytes import (  # fmt: skip
    CHAT_ANSWER,
    CLOUDS,
    FORMATS,
    LAST_CHUNK,
    STREAM_HEAD,
    TEXT,
    Format,
    answer,
    chunk,
    with_tool_call,
)
from support.running_gateway import gateway
from support.scripted_provider import fin, reset, send, serve

CUTS = int(os.environ.get("NULPOINT_CUTS", "500"))
SEED = int(os.environ.get("NULPOINT_TEST_SEED", "1"))
AT_ONCE = 20
SETTINGS = {"MAX_RETRIES": "3", "COALESCE": "false", "CB_ERROR_THRESHOLD": "1000000000", "LOG_QUEUE": "100000"}

BEDROCK = CLOUDS["bedrock"]
TALKS = [*FORMATS.values(), BEDROCK, CLOUDS["azure"]]
STREAMS: list[Format] = [
    *TALKS,
    *(with_tool_call(FORMATS[name]) for name in ("openai", "anthropic")),
    with_tool_call(BEDROCK),
]
_NUMBER = re.compile(rb"cut (\d+)\.")


class Cut(NamedTuple):
    """`at`: bytes of the events (for "http end") or of the wire after the head that still come."""

    form: Format
    how: str
    at: int
    apart: bool  # each event in a write of its own

    def __str__(self) -> str:
        return f"{self.form.name}, {self.how} at {self.at}{', event by event' if self.apart else ''}"

    @property
    def pieces(self) -> list[bytes]:
        """What comes after the head."""
        events = self.form.events if self.apart else [b"".join(self.form.events)]
        if self.how == "http end":
            return [*map(chunk, shortened(events, self.at)), LAST_CHUNK]
        return shortened([*map(chunk, events), LAST_CHUNK], self.at)

    @property
    def whole(self) -> bool:
        """Whether all that makes the answer whole comes before the cut."""
        given = b"".join(self.pieces)
        last = self.form.terminal[-1]
        if self.form.speaks == "bedrock" and self.how == "http end":  # it may end without the event that tells its cost
            everything = b"".join(self.form.events)
            return everything[: self.at] in (everything, everything.removesuffix(last))
        if self.how == "http end":
            return last.rstrip(b"\r\n") in given
        return given.endswith(LAST_CHUNK) or (self.form.name != "gemini" and last in given)


def shortened(pieces: list[bytes], size: int) -> list[bytes]:
    kept = []
    for piece in pieces:
        kept.append(piece[:size])
        size -= len(kept[-1])
    return [piece for piece in kept if piece]


def cuts(count: int):
    """Half of them anywhere, half where it matters most: near the end."""
    chance = random.Random(SEED)
    for number in range(count):
        form, how = STREAMS[number % len(STREAMS)], chance.choice(("reset", "fin", "http end"))
        apart = chance.random() < 0.5
        everything = form.events if how == "http end" else Cut(form, how, 10**9, apart).pieces
        size = len(b"".join(everything))
        near_end = size - chance.randrange(min(size, 60))
        yield Cut(form, how, chance.choice((chance.randrange(size + 1), near_end)), apart)


def test_U08_U09_U10_U37_no_cut_stream_looks_whole_and_none_ends_in_silence():
    planned = list(cuts(CUTS))

    def script(request: bytes):
        cut = planned[int(_NUMBER.search(request)[1])]
        end = {"reset": [reset()], "fin": [fin()], "http end": []}[cut.how]
        return [send(cut.form.head, *cut.pieces), *end]

    async def main():
        providers = {one.name: await serve(choose=script) for one in TALKS}
        problems = []
        async with gateway(SETTINGS, providers=providers) as running:
            places = asyncio.Semaphore(AT_ONCE)

            async def one(number, cut):
                body = STREAM.replace(b"gpt-4o", f"{cut.form.name}/{cut.form.model}".encode())
                async with places:
                    outcome = await ask(running.port, body.replace(b"hi", b"cut %d." % number))
                expected = "answer" if cut.whole else "error"
                # What a reset overtakes in the kernel is lost, and then the answer was not whole.
                if outcome.verdict != expected and not (cut.how == "reset" and outcome.verdict == "error"):
                    problems.append(f"{cut}: {outcome.verdict}, not {expected}")
                if outcome.streamed and cut.form in TALKS and not TEXT.startswith(outcome.text):
                    problems.append(f"{cut}: {outcome.text!r}")
                return outcome

            outcomes = await asyncio.gather(*(one(number, cut) for number, cut in enumerate(planned)))
            errors = sum(outcome.verdict == "error" for outcome in outcomes)
            records = [json.loads(line) for line in running.log().splitlines()]
            assert len(records) == len(planned)
            assert sum("error" in record for record in records) == errors
            failures = sum(len(standing.breaker._failures) for standing in running.app.runtime.provider_health.values())
            assert failures == errors
            assert sum(len(faultd.requests) for faultd in providers.values()) == len(planned)  # nothing tried again
            assert any("error" in record and "usage" in record for record in records)
        assert not problems, "\n".join(["", *problems[:20], f"{len(problems)} in all"])

    run(main(), 600)


@pytest.mark.parametrize("number", [0, 2, -2, -1], ids=["beginning", "text", "stop", "cost"])
def test_U37_at_every_byte_of_a_message_in_aws_s_framing(number):
    """Inside its lengths, their checksum, a header, the payload, the last checksum; the rest of it never comes."""
    events = BEDROCK.events
    place = number % len(events)
    before, message = events[:place], events[place]

    def script(request):
        at = int(_NUMBER.search(request)[1])
        return [send(BEDROCK.head, *map(chunk, before), *([chunk(message[:at])] if at else []), LAST_CHUNK)]

    async def main():
        async with gateway(
            {**SETTINGS, "MAX_RETRIES": "1"}, providers={"bedrock": await serve(choose=script)}
        ) as running:
            body = STREAM.replace(b"gpt-4o", b"bedrock/" + BEDROCK.model.encode())
            for first in range(0, len(message), AT_ONCE):
                cuts = range(first, min(first + AT_ONCE, len(message)))
                asked = [ask(running.port, body.replace(b"hi", b"cut %d." % cut)) for cut in cuts]
                for cut, outcome in zip(cuts, await asyncio.gather(*asked), strict=True):
                    whole = cut == 0 and number == -1  # without the event that tells its cost
                    assert outcome.verdict == ("answer" if whole else "error"), cut
                    assert TEXT.startswith(outcome.text if outcome.streamed else "")

    run(main())


def test_U08_after_fifty_chunks_too():
    """At each of the first fifty chunks, with a second target at hand that must not be asked."""

    async def main():
        other = await start("anthropic")
        word = FORMATS["openai"].content[0]

        def script(request):
            return [send(STREAM_HEAD, *[chunk(word)] * int(_NUMBER.search(request)[1])), reset()]

        providers = {"openai": await serve(choose=script), "anthropic": other}
        async with gateway({"CB_ERROR_THRESHOLD": "1000"}, providers=providers) as running:
            for count in range(1, 51):
                outcome = await ask(running.port, STREAM.replace(b"hi", b"cut %d." % count))
                assert outcome.verdict == "error"
                assert set(outcome.text) <= {"a"}
            assert other.requests == 0
            assert len(running.app.runtime.provider_health["openai"].breaker._failures) == 50

    run(main())


WHOLE = answer(CHAT_ANSWER)
CHUNKED = WHOLE.replace(b"content-length: %d" % len(CHAT_ANSWER), b"transfer-encoding: chunked")
CHUNKED = CHUNKED.replace(
    CHAT_ANSWER, b"".join(chunk(CHAT_ANSWER[at : at + 50]) for at in range(0, len(CHAT_ANSWER), 50))
)


@pytest.mark.parametrize("message", [WHOLE, CHUNKED + LAST_CHUNK], ids=["sized", "chunked"])
@pytest.mark.parametrize("end", [reset(), fin()], ids=["reset", "end"])
def test_U10_a_whole_answer_cut_at_every_third_byte_is_502_and_its_connection_is_not_kept(message, end):
    async def main():
        places = range(1, len(message), 3)
        faultd = await serve(*([send(message[:cut]), end] for cut in places))
        settings = {**SETTINGS, "MAX_RETRIES": "1", "LOG_LEVEL": "error"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            for _ in places:
                outcome = await ask(running.port)
                assert (outcome.status, outcome.verdict) == (502, "error")
            assert len(faultd.requests) == len(faultd.talks) == len(places)

    run(main())
