"""Tests of streams that are cut: wherever and however a stream is cut, the client gets exactly one error.

NULPOINT_CUTS sets the number of random cuts; 10,000 take about 40 s.
"""

import asyncio
import contextlib
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
    """`at` is the number of bytes sent after the head: bytes of the events for "http end", else bytes on the wire."""

    form: Format
    how: str
    at: int
    apart: bool  # whether each event is sent in a write of its own

    def __str__(self) -> str:
        return f"{self.form.name}, {self.how} at {self.at}{', event by event' if self.apart else ''}"

    @property
    def pieces(self) -> list[bytes]:
        """The writes after the head."""
        events = self.form.events if self.apart else [b"".join(self.form.events)]
        if self.how == "http end":
            return [*map(chunk, shortened(events, self.at)), LAST_CHUNK]
        return shortened([*map(chunk, events), LAST_CHUNK], self.at)

    @property
    def whole(self) -> bool:
        """Return whether everything that makes the response complete comes before the cut."""
        sent = b"".join(self.pieces)
        last = self.form.terminal[-1]
        # Bedrock's streams may end without the event that reports the usage.
        if self.form.speaks == "bedrock" and self.how == "http end":
            everything = b"".join(self.form.events)
            return everything[: self.at] in (everything, everything.removesuffix(last))
        if self.how == "http end" and (self.form.speaks or self.form.name) in ("openai", "mistral"):
            return self._ends_after_the_finish_reason
        if self.how == "http end":
            return last.rstrip(b"\r\n") in sent
        return sent.endswith(LAST_CHUNK) or (self.form.name != "gemini" and last in sent)

    @property
    def _ends_after_the_finish_reason(self) -> bool:
        """Return whether the finish reason is in a whole event, and no other event is cut in its data."""
        *events, rest = b"".join(self.form.events)[: self.at].split(b"\n\n")
        data = rest.partition(b":")[2].strip()
        if data and not _is_whole(data):
            return False
        return any(b'"finish_reason":"' in event.replace(b": ", b":") for event in [*events, rest])


def _is_whole(data: bytes) -> bool:
    with contextlib.suppress(json.JSONDecodeError):
        return data == b"[DONE]" or isinstance(json.loads(data), dict)
    return False


def shortened(pieces: list[bytes], size: int) -> list[bytes]:
    shortened_pieces = []
    for piece in pieces:
        shortened_pieces.append(piece[:size])
        size -= len(shortened_pieces[-1])
    return [piece for piece in shortened_pieces if piece]


def cuts(count: int):
    """Generate cuts: half of them anywhere, half near the end, where it matters most."""
    rng = random.Random(SEED)
    for number in range(count):
        form, how = STREAMS[number % len(STREAMS)], rng.choice(("reset", "fin", "http end"))
        apart = rng.random() < 0.5
        everything = form.events if how == "http end" else Cut(form, how, 10**9, apart).pieces
        size = len(b"".join(everything))
        near_end = size - rng.randrange(min(size, 60))
        yield Cut(form, how, rng.choice((rng.randrange(size + 1), near_end)), apart)


def test_no_cut_stream_looks_complete_and_none_ends_without_an_error():
    planned = list(cuts(CUTS))

    def script(request: bytes):
        cut = planned[int(_NUMBER.search(request)[1])]
        end = {"reset": [reset()], "fin": [fin()], "http end": []}[cut.how]
        return [send(cut.form.head, *cut.pieces), *end]

    async def main():
        providers = {form.name: await serve(choose=script) for form in TALKS}
        problems = []
        async with gateway(SETTINGS, providers=providers) as running:
            semaphore = asyncio.Semaphore(AT_ONCE)

            async def request(number, cut):
                body = STREAM.replace(b"gpt-4o", f"{cut.form.name}/{cut.form.model}".encode())
                async with semaphore:
                    outcome = await ask(running.port, body.replace(b"hi", b"cut %d." % number))
                expected = "answer" if cut.whole else "error"
                # A reset may discard bytes that are still in the kernel, and then the response was not complete.
                if outcome.verdict != expected and not (cut.how == "reset" and outcome.verdict == "error"):
                    problems.append(f"{cut}: {outcome.verdict}, not {expected}")
                if outcome.streamed and cut.form in TALKS and not TEXT.startswith(outcome.text):
                    problems.append(f"{cut}: {outcome.text!r}")
                return outcome

            outcomes = await asyncio.gather(*(request(number, cut) for number, cut in enumerate(planned)))
            errors = sum(outcome.verdict == "error" for outcome in outcomes)
            records = [json.loads(line) for line in running.log().splitlines()]
            assert len(records) == len(planned)
            assert sum("error" in record for record in records) == errors
            failures = sum(len(health.breaker._failures) for health in running.app.runtime.provider_health.values())
            assert failures == errors
            assert sum(len(provider.requests) for provider in providers.values()) == len(planned)  # nothing was retried
            assert any("error" in record and "usage" in record for record in records)
        assert not problems, "\n".join(["", *problems[:20], f"{len(problems)} in all"])

    run(main(), 600)


@pytest.mark.parametrize("number", [0, 2, -2, -1], ids=["beginning", "text", "stop", "cost"])
def test_a_cut_at_every_byte_of_a_message_in_aws_framing(number):
    """Cut inside the lengths, their checksum, a header, the payload, and the last checksum of the message."""
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
                outcomes = [ask(running.port, body.replace(b"hi", b"cut %d." % cut)) for cut in cuts]
                for cut, outcome in zip(cuts, await asyncio.gather(*outcomes), strict=True):
                    whole = cut == 0 and number == -1  # only the event that reports the usage is missing
                    assert outcome.verdict == ("answer" if whole else "error"), cut
                    assert TEXT.startswith(outcome.text if outcome.streamed else "")

    run(main())


def test_a_cut_after_up_to_fifty_chunks():
    """Cut after each of the first fifty chunks; the second target that is configured must not be called."""

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
def test_a_whole_response_cut_at_every_third_byte_is_502_and_its_connection_is_not_reused(message, end):
    async def main():
        cut_positions = range(1, len(message), 3)
        provider = await serve(*([send(message[:cut]), end] for cut in cut_positions))
        settings = {**SETTINGS, "MAX_RETRIES": "1", "LOG_LEVEL": "error"}
        async with gateway(settings, providers={"openai": provider}) as running:
            for _ in cut_positions:
                outcome = await ask(running.port)
                assert (outcome.status, outcome.verdict) == (502, "error")
            assert len(provider.requests) == len(provider.talks) == len(cut_positions)

    run(main())
