"""The fault matrix: every fault at every moment, for streams and whole responses, for every format, with and without a
healthy second target. The expected result is computed by a rule instead of being listed case by case.
"""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from nulpoint.credentials import google
from nulpoint.credentials.source import Credential
from nulpoint.mock import MockSettings, start
from nulpoint.providers.auth import Bearer
from support.client_outcome import ask
from support.event_loop import run
from support.http_client import CHAT, STREAM
from support.provider_bytes import (
    CLOUDS,
    CLOUDS_CONFIG,
    EMBEDDINGS,
    FORMATS,
    LAST_CHUNK,
    STREAM_HEAD,
    TEXT,
    WORDS,
    Format,
    answer,
    chunk,
    chunks,
)
from support.running_gateway import gateway
from support.scripted_provider import BlackHole, Nobody, fin, reset, send, serve, silence

EVERYWHERE = {**FORMATS, **CLOUDS}
BY_IDENTITY = frozenset(
    {"bedrock", "vertexai", "vertexai-claude"}
)  # these use the gateway's own identity, so a refusal is its failure
AT_ONCE = 20  # cases that run at the same time


class Fault(NamedTuple):
    """A fault and what follows from it.

    `status` and `kind` describe the failure, `counts` says whether the breaker counts it, `retried` whether a single target
    is tried twice, and `fails_over` whether another target is tried.
    """

    name: str
    status: int = 502
    kind: str = "upstream"
    counts: bool = True
    retried: bool = False
    fails_over: bool = True


UNREACHABLE = (
    Fault("refused", kind="connect", retried=True),
    Fault("black hole", 504, "connect", retried=True),
)
CUTS = (Fault("reset"), Fault("end"), Fault("stall", 504, "timeout"), Fault("garbage"))
ANSWERS = {
    Fault("500", retried=True): 500,
    Fault("503", retried=True): 503,
    Fault("529", retried=True): 529,
    Fault("302"): 302,
    Fault("429", 429, "rate_limit", counts=False, retried=True): 429,
    Fault("401", 401, "auth", counts=False): 401,
    Fault("400", 400, "rejected", counts=False, fails_over=False): 400,
    Fault("404", 404, "not_found", counts=False): 404,
}
HTML = Fault("html", retried=True)
ERROR = Fault("error", retried=True)  # an error in a response with a good status
NONSENSE = Fault("nonsense")
CHECKSUMS = (Fault("checksum of the beginning"), Fault("checksum of the message"))  # of a message in the framing of AWS
HTTP_END = Fault("http end")  # the HTTP message is complete, but the response in it is not

STREAM_MOMENTS = ("after head", "after preamble", "after content", "at the terminal event", "after the terminal event")
EMBED = b'{"model":"gpt-4o","input":"hi"}'
CHUNKED_HEAD = STREAM_HEAD.replace(b"text/event-stream", b"application/json")
SEEN = frozenset({"after content", "at the terminal event", "after the terminal event"})


class Case(NamedTuple):
    form: str
    stream: bool
    second: bool
    moment: str
    fault: Fault
    embeddings: bool = False

    def __str__(self) -> str:
        mode, company = "stream" if self.stream else "whole", "second" if self.second else "alone"
        what = "embeddings" if self.embeddings else mode
        return f"{self.form} {what} {company}: {self.fault.name} {self.moment}"

    @property
    def script(self) -> Format:
        """The bytes that a healthy provider sends."""
        return EMBEDDINGS[self.form] if self.embeddings else EVERYWHERE[self.form]

    @property
    def moves(self) -> bool:
        """Say whether another target may serve the request. Embeddings never move: vectors of models are not comparable."""
        return self.second and self.fault.fails_over and not self.embeddings

    @property
    def head_shown(self) -> bool:
        """Say whether the preamble made the gateway send its head to the client. Gemini's preamble has nothing to send."""
        return self.stream and self.moment == "after preamble" and self.script.speaks != "gemini"

    @property
    def whole(self) -> bool:
        """Say whether the response was complete before the fault. Only Gemini's streams have no terminal event."""
        if self.moment != "after the terminal event":
            return False
        return self.fault is HTTP_END if self.script.speaks == "gemini" else True


def cases(form: str, stream: bool, second: bool) -> Iterator[Case]:
    def at(moment, faults):
        return (Case(form, stream, second, moment, fault) for fault in faults)

    yield from at("before connect", UNREACHABLE)
    yield from at("before head", (*CUTS, *ANSWERS, HTML))
    if not stream:
        # Bedrock reports no errors with a good status.
        yield from at(
            "after head", (*CUTS, NONSENSE) if EVERYWHERE[form].speaks == "bedrock" else (*CUTS, ERROR, NONSENSE)
        )
        yield from at("in the body", CUTS)
        return
    for moment in STREAM_MOMENTS:
        yield from at(moment, (*CUTS, HTTP_END))
        if moment != "after the terminal event":
            # OpenAI streams are passed on unchanged, so an unreadable event is left to the client.
            yield from at(moment, (ERROR,) if EVERYWHERE[form].speaks == "openai" else (ERROR, NONSENSE))
            yield from at(moment, CHECKSUMS if form == "bedrock" else ())


class Expected(NamedTuple):
    """The expected outcome: `calls` counts both targets, `error` is from the log record, `failures` from the breaker."""

    verdict: str
    status: int
    error: str
    calls: tuple[int, int]
    failures: int


def expected(case: Case) -> Expected:
    """Return the outcome that follows from the case."""
    fault, seen = case.fault, case.stream and case.moment in SEEN
    if fault.kind == "auth" and case.form in BY_IDENTITY:
        fault = fault._replace(status=502, kind="upstream")
    reached = 0 if fault in UNREACHABLE else 1
    if case.whole:
        return Expected("answer", 200, "", (1, 0), 0)
    if case.moves and not seen:
        return Expected("answer", 200, "", (reached, 1), int(fault.counts))
    attempts = 2 if fault.retried and not seen and not case.moves else 1
    begun = case.stream and (seen or case.head_shown)
    return Expected("error", 200 if begun else fault.status, fault.kind, (attempts * reached, 0),
                    attempts * fault.counts)  # fmt: skip


# -- playing the cases --------------------------------------------------------------------------------------------------


def settings(case: Case) -> dict[str, str]:
    """Return settings in which only the timer under test is short, so that a busy machine triggers no other timer."""
    timer = ""
    if case.fault.name == "black hole":
        timer = "CONNECT_TIMEOUT"
    elif case.fault.name == "stall":
        timer = "PROVIDER_TIMEOUT" if case.moment == "before head" else "STREAM_IDLE_TIMEOUT"
    return {"MAX_RETRIES": "2", **({timer: "1200ms"} if timer else {})}


async def provider(case: Case):
    if case.fault.name == "refused":
        return Nobody()
    if case.fault.name == "black hole":
        return BlackHole()
    return await serve([send(*before(case)), *happening(case)])


def before(case: Case) -> list[bytes]:
    """Return the bytes that the provider sends before the fault."""
    form = case.script
    if case.moment == "before head":
        return []
    if not case.stream:
        if case.fault in (ERROR, NONSENSE):
            return []
        return [CHUNKED_HEAD, chunk(form.whole[:40])] if case.moment == "in the body" else [CHUNKED_HEAD]
    events = {
        "after head": [],
        "after preamble": form.preamble,
        "after content": form.preamble + form.content,
        "at the terminal event": form.events[:-1],
        "after the terminal event": form.events,
    }[case.moment]
    return [form.head, *chunks(events)]


def happening(case: Case):
    form, name = case.script, case.fault.name
    if case.moment == "at the terminal event" and case.fault in (*CUTS, HTTP_END):
        half = form.terminal[-1][: len(form.terminal[-1]) // 2]
        return [send(chunk(half)), *happening(case._replace(moment="within the event"))]
    if case.fault in CUTS:
        garbage = [send(b"SSH-2.0\r\n\r\n"), silence()]
        return {"reset": [reset()], "end": [fin()], "stall": [silence()], "garbage": garbage}[name]
    if case.fault in ANSWERS:
        fields = [b"location: http://127.0.0.1:1/"] if name == "302" else []
        return [send(answer(form.error, ANSWERS[case.fault], *fields))]
    if case.fault is HTML:
        return [send(answer(b"<html><h1>Bad gateway</h1></html>", 502, content_type=b"text/html"))]
    if case.fault is HTTP_END:
        return [send(LAST_CHUNK)]
    if case.stream:
        return [send(chunk(bad_event(case)), LAST_CHUNK)]
    return [send(answer(form.error if case.fault is ERROR else form.whole[:40]))]


def bad_event(case: Case) -> bytes:
    form = case.script
    if case.fault not in CHECKSUMS:
        return form.error_event if case.fault is ERROR else form.nonsense
    event = bytearray(form.content[0])
    event[11 if case.fault is CHECKSUMS[0] else -1] ^= 1
    return bytes(event)


async def play(case: Case) -> str | None:
    """Play a case and return what differed from the expected outcome, or None."""
    form = case.script
    first = await provider(case)
    providers = {case.form: first}
    if case.second:
        other = "openai" if case.form != "openai" else "anthropic"
        providers[other] = await start(other, settings=MockSettings(stream_words=WORDS))
    async with gateway(settings(case), providers=providers, directory=CLOUDS_CONFIG) as running:
        body = EMBED if case.embeddings else STREAM if case.stream else CHAT
        path = "/v1/embeddings" if case.embeddings else "/v1/chat/completions"
        outcome = await ask(running.port, body.replace(b"gpt-4o", form.model.encode()), path)
        health = running.app.runtime.provider_health[case.form]
        calls = len(getattr(first, "requests", ())), running.mocks[other].requests if case.second else 0
        records = [json.loads(line) for line in running.log().splitlines()]
        actual = Expected(
            outcome.verdict,
            outcome.status,
            records[0].get("error", ""),
            calls,
            len(health.breaker._failures),
        )
        wanted = expected(case)
        problems = [] if actual == wanted else [f"got {actual}, want {wanted}"]
        if len(records) != 1:
            problems.append(f"{len(records)} log records")
        problems += list(wrong_in(case, outcome))
    return f"{case}: {'; '.join(problems)}" if problems else None


def wrong_in(case: Case, outcome) -> Iterator[str]:
    """Yield what was wrong in the bytes that the client received."""
    if outcome.verdict == "answer":
        if outcome.text != TEXT:
            yield f"the text is {outcome.text!r}"
        if case.stream and sum("role" in delta for delta in outcome.deltas) > 1:
            yield "the message begins twice"
        if not case.whole:
            yield from wrong_attribution(case, outcome)
    elif not TEXT.startswith(outcome.text if outcome.streamed else ""):
        yield f"the text is {outcome.text!r}"
    if b"finish_reason\":\"stop" in outcome.body and outcome.verdict != "answer" and case.moment in (
        "after head", "after preamble", "after content",
    ):  # fmt: skip
        yield "a finish reason was made up"
    if case.stream and not all(event == b"[DONE]" or readable(event) for event in outcome.events):
        yield "half an event was shown"
    if any(b"x-nulpoint" in line for line in outcome.body.splitlines()):
        yield "two heads"


def readable(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def wrong_attribution(case: Case, outcome) -> Iterator[str]:
    """Check that the head names the provider that served, or a comment does if the head was sent before."""
    other = "openai" if case.form != "openai" else "anthropic"
    shown = case.head_shown
    if outcome.headers["x-nulpoint-provider"] != (case.form if shown else other):
        yield f"the head says {outcome.headers['x-nulpoint-provider']}"
    if (b": answered by %b\n" % other.encode() in outcome.body) is not shown:
        yield "the comment that says who answered"
    if outcome.headers["x-nulpoint-attempts"] != ("1" if shown else "2"):
        yield f"attempts {outcome.headers['x-nulpoint-attempts']}"


@pytest.fixture(autouse=True)
def immediate_token(monkeypatch):
    """Replace the token fetch of Google, because signing in every case would take most of the time."""
    monkeypatch.setattr(
        google.GoogleSource, "fetch", lambda _: Credential(Bearer("ya29.a-token-of-the-matrix"), float("inf"))
    )


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("form", EVERYWHERE)
def test_the_matrix(form, stream):
    async def main():
        semaphore = asyncio.Semaphore(AT_ONCE)

        async def attempt(case):
            async with semaphore:
                try:
                    return await play(case)
                except Exception as error:
                    return f"{case}: {error!r}"

        both = itertools.chain(cases(form, stream, True), cases(form, stream, False))
        return await asyncio.gather(*map(attempt, both))

    wrong = [problem for problem in run(main()) if problem]
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("form", EMBEDDINGS)
def test_the_matrix_of_embeddings(form):
    async def main():
        both = itertools.chain(cases(form, False, True), cases(form, False, False))
        return await asyncio.gather(*(play(case._replace(embeddings=True)) for case in both))

    wrong = [problem for problem in run(main()) if problem]
    assert not wrong, "\n".join(["", *wrong])


def test_the_matrix_is_complete():
    """The number of cases is known, and no two are equal."""
    names = [
        str(case)
        for form, stream, second in itertools.product(EVERYWHERE, (True, False), (True, False))
        for case in cases(form, stream, second)
    ]
    assert len(set(names)) == len(names) == 1166
