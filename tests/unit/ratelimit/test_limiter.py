"""Tests rate limits without I/O: exact in every sliding minute, all or nothing, corrected, and reported as OpenAI does."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Kind
from nulpoint.ratelimit.headers import duration, limit_headers, refusal_failure
from nulpoint.ratelimit.limiter import (
    MAX_CLIENTS,
    WINDOW,
    LimitRefusal,
    LimitRules,
    LimitStatus,
    RateLimiter,
    SlidingWindow,
    TokenBucket,
    Verdict,
)
from nulpoint.ratelimit.token_estimate import DEFAULT_OUTPUT, MAX_OUTPUT, MEDIUM_TOKENS, estimated_tokens

A, B = b"a", b"b"
GAPS = st.lists(st.floats(0, 20, allow_nan=False), max_size=60)


def times(gaps):
    now = 0.0
    for gap in gaps:
        now += gap
        yield now


# -- windows -----------------------------------------------------------------------------------------------------------


@given(GAPS, st.integers(1, 8))
def test_every_minute_has_up_to_the_limit_and_no_more(gaps, limit):
    window = SlidingWindow(limit)
    taken = []
    for now in times(gaps):
        recent = [at for at in taken if at > now - WINDOW]
        wait = window.wait(now)
        assert (wait == 0) == (len(recent) < limit)
        if wait == 0:
            window.take(now)
            taken.append(now)
        else:
            assert wait == recent[0] + WINDOW - now
    for at in taken:
        assert len([other for other in taken if at - WINDOW < other <= at]) <= limit


def test_a_request_leaves_the_window_after_exactly_a_minute():
    window = SlidingWindow(2)
    window.take(0.0)
    window.take(10.0)
    assert window.status(10.0) == LimitStatus(2, 0, 60.0)
    assert window.wait(59.999) == pytest.approx(0.001)
    assert window.wait(60.0) == 0
    window.take(60.0)
    assert window.wait(60.0) == 10.0


# -- buckets -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 30, allow_nan=False), st.integers(1, 150)), max_size=40))
def test_a_bucket_never_gives_more_than_its_size_and_refill(asks):
    bucket = TokenBucket(100, 0.0)
    now = 0.0
    taken = []
    for gap, tokens in asks:
        now += gap
        if bucket.wait(tokens, now) == 0:
            bucket.take(min(tokens, 100), now)
            taken.append((now, min(tokens, 100)))
    for start, _ in taken:
        for end, _ in taken:
            if end >= start:
                given_out = sum(tokens for at, tokens in taken if start <= at <= end)
                assert given_out <= 100 + (end - start) * 100 / WINDOW + 1e-6


@given(st.integers(1, 150), st.integers(0, 100))
def test_after_its_wait_a_bucket_has_enough(tokens, used):
    def bucket():
        drained = TokenBucket(100, 0.0)
        drained.take(used, 0.0)
        return drained

    wait = bucket().wait(tokens, 0.0)
    assert bucket().wait(tokens, wait + 1e-9) == 0
    if wait > 0:
        assert bucket().wait(tokens, wait - 1e-6) > 0


def test_debts_and_returns():
    bucket = TokenBucket(60, 0.0)
    bucket.take(90, 0.0)
    assert bucket.status(0.0) == LimitStatus(60, 0, 90.0)
    assert bucket.wait(1, 0.0) == 31.0
    bucket.take(-500, 1.0)
    assert bucket.status(1.0) == LimitStatus(60, 60, 0.0)
    bucket.take(30, 1.0)
    assert bucket.status(0.5).remaining == 30  # a clock that steps back does not fill the bucket


# -- all limits together -----------------------------------------------------------------------------------------------

# Rules, then steps (time, client, tokens) with the limit that refuses; None if admitted.
TABLE = [
    (LimitRules(), [(0, A, 10**9, None)] * 3),
    (
        LimitRules(requests=2),
        [(0, A, 1, None), (0, B, 1, None), (1, A, 1, ("requests", False, 59.0)), (60, A, 1, None)],
    ),
    (LimitRules(requests_per_key=1), [(0, A, 1, None), (0, B, 1, None), (1, A, 1, ("requests", True, 59.0))]),
    (LimitRules(tokens=60), [(0, A, 50, None), (0, B, 20, ("tokens", False, 10.0)), (10, B, 20, None)]),
    (LimitRules(tokens_per_key=60), [(0, A, 60, None), (0, B, 60, None), (0, A, 6, ("tokens", True, 6.0))]),
    (LimitRules(tokens=60), [(0, A, 10**6, None), (1, A, 10**6, ("tokens", False, 59.0)), (60, A, 10**6, None)]),
    (LimitRules(parallel_per_key=1), [(0, A, 1, None), (0, B, 1, None), (5, A, 1, ("parallel", True, 1.0))]),
    # The refusal with the longest wait is reported, and a refused request uses up nothing.
    (LimitRules(requests=1, tokens=60), [(0, A, 60, None), (30, A, 60, ("requests", False, 30.0)), (60, A, 60, None)]),
    (
        LimitRules(requests=9, tokens_per_key=60),
        [(0, A, 60, None), *[(0, A, 1, ("tokens", True, 1.0))] * 20, (0, B, 1, None)],
    ),
]


@pytest.mark.parametrize(("rules", "steps"), TABLE)
def test_which_requests_are_admitted(rules, steps):
    limiter = RateLimiter(rules, 0.0)
    for now, caller, tokens, refused in steps:
        refusal = limiter.admit(caller, tokens, float(now)).refusal
        assert refusal == (LimitRefusal(*refused) if refused else None), (now, caller)


@pytest.mark.parametrize(("used", "left"), [(10, 90), (100, 0), (130, -30), (0, 100), (None, 0)])
def test_finishing_corrects_the_estimate(used, left):
    limiter = RateLimiter(LimitRules(tokens=100, tokens_per_key=100, parallel_per_key=1), 0.0)
    assert limiter.admit(A, 250, 0.0).tokens.remaining == 0
    limiter.finish(A, 250, used, 0.0)
    verdict = limiter.admit(A, 100, 0.0)
    assert verdict.tokens.remaining == (0 if left == 100 else max(0, left))
    assert (verdict.refusal is None) == (left == 100)
    if verdict.refusal:
        assert verdict.refusal.wait == pytest.approx((100 - left) * 0.6)


def test_parallel_slots_are_always_returned():
    limiter = RateLimiter(LimitRules(parallel_per_key=2), 0.0)
    for _ in range(100):
        assert limiter.admit(A, 1, 0.0).refusal is None
        assert limiter.admit(A, 1, 0.0).refusal is None
        assert limiter.admit(A, 1, 0.0).refusal is not None
        limiter.finish(A, 1, None, 0.0)
        limiter.finish(A, 1, 7, 0.0)
    limiter.finish(A, 1, 0, 0.0)  # finished once too often: this frees no additional slot
    assert [limiter.admit(A, 1, 0.0).refusal is None for _ in range(3)] == [True, True, False]


def test_the_tighter_limit_is_reported():
    limiter = RateLimiter(LimitRules(requests=10, requests_per_key=3, tokens=1000, tokens_per_key=2000), 0.0)
    verdict = limiter.admit(A, 100, 0.0)
    assert verdict.requests == LimitStatus(3, 2, 60.0)
    assert verdict.tokens == LimitStatus(1000, 900, 6.0)
    verdict = RateLimiter(LimitRules(parallel_per_key=5), 0.0).admit(A, 1, 0.0)
    assert (verdict.requests, verdict.tokens) == (None, None)


def test_the_number_of_clients_in_memory_is_limited():
    limiter = RateLimiter(LimitRules(requests_per_key=1), 0.0)
    for number in range(MAX_CLIENTS + 2):
        limiter.admit(b"%d" % number, 1, 0.0)
    assert limiter.admit(b"%d" % (MAX_CLIENTS + 1), 1, 1.0).refusal is not None
    assert limiter.admit(b"0", 1, 1.0).refusal is None


@pytest.mark.parametrize(
    ("processes", "shares"), [(1, (100, 7, 0, 1, 0)), (4, (25, 1, 0, 1, 0)), (1000, (1, 1, 0, 1, 0))]
)
def test_shares_of_several_processes(processes, shares):
    assert LimitRules(100, 7, 0, 1, 0).shared_by(processes) == LimitRules(*shares)


# -- headers and errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, b"0s"), (0.0001, b"1ms"), (0.012, b"12ms"), (0.9991, b"1s"), (1, b"1s"), (8.64, b"8.64s"), (59.9999, b"1m0s"),
     (360, b"6m0s"), (432.1, b"7m12.1s"), (3600, b"1h0m0s"), (86399.5, b"23h59m59.5s")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


@given(st.floats(0, 100_000, allow_nan=False))
def test_durations_grow(seconds):
    def read(text):
        total, number = 0.0, ""
        for at, char in enumerate(text):
            if char.isdigit() or char == ".":
                number += char
            else:
                unit = "ms" if text[at : at + 2] == "ms" else char
                total += float(number or 0) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
                number = ""
                if unit == "ms":
                    break
        return total

    assert seconds - 1e-6 <= read(duration(seconds).decode()) <= seconds + 0.001 + 1e-6


def test_the_headers():
    verdict = Verdict(LimitRefusal("requests", False, 1.5), LimitStatus(60, 0, 59.5), LimitStatus(1000, 10, 0.0124), 1)
    assert limit_headers(verdict).decode().split("\r\n") == [
        "x-ratelimit-limit-requests: 60",
        "x-ratelimit-remaining-requests: 0",
        "x-ratelimit-reset-requests: 59.5s",
        "x-ratelimit-limit-tokens: 1000",
        "x-ratelimit-remaining-tokens: 10",
        "x-ratelimit-reset-tokens: 13ms",
        "retry-after-ms: 1500",
        "",
    ]
    assert limit_headers(Verdict(None, None, None, 1)) == b""


@pytest.mark.parametrize(
    ("refusal", "status", "kind", "code", "words"),
    [
        (
            LimitRefusal("requests", False, 2.0),
            429,
            Kind.RATE_LIMIT,
            "rate_limit_exceeded",
            "5 requests per minute (RPM_LIMIT)",
        ),
        (LimitRefusal("requests", True, 2.0), 429, Kind.RATE_LIMIT, "rate_limit_exceeded", "(RPM_LIMIT_PER_KEY)"),
        (
            LimitRefusal("tokens", False, 2.0),
            429,
            Kind.RATE_LIMIT,
            "rate_limit_exceeded",
            "tokens per minute (TPM_LIMIT)",
        ),
        (LimitRefusal("tokens", True, 2.0), 429, Kind.RATE_LIMIT, "rate_limit_exceeded", "try again in 2s"),
        (
            LimitRefusal("parallel", True, 1.0),
            429,
            Kind.RATE_LIMIT,
            "rate_limit_exceeded",
            "at a time (MAX_PARALLEL_PER_KEY)",
        ),
        (LimitRefusal("unavailable", False, 1.0), 503, Kind.OVERLOADED, "limits_unavailable", "RATE_LIMIT_ON_ERROR"),
    ],
)
def test_the_error(refusal, status, kind, code, words):
    failure = refusal_failure(refusal, LimitRules(5, 5, 5, 5, 5).limit_of(refusal))
    assert (failure.status, failure.kind, failure.code, failure.retry_after) == (status, kind, code, refusal.wait)
    assert words in failure.message


# -- estimates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "embeddings", "tokens"),
    [
        (b'{"input":"%b"}' % (b"a" * 388), True, 100),
        (b'{"a":"%b"}' % (b"a" * 392), False, 100 + DEFAULT_OUTPUT),
        (b'{"max_tokens":50,"p":"%b"}' % (b"a" * 377), False, 100 + 50),
        (b'{"max_completion_tokens":7,"max_tokens":50,"n":3}', False, 12 + 21),
        (b'{"max_tokens":null,"n":null}', False, 7 + DEFAULT_OUTPUT),
        (b'{"max_tokens":"x"}', False, 4 + DEFAULT_OUTPUT),
        (b'{"max_tokens":"150000","n":"2"}', False, 7 + 300_000),
        (b'{"max_tokens":1.5e5,"n":2.0}', False, 7 + 300_000),
        (b'{"max_tokens":15e4,"n":1}', False, 6 + 150_000),
        (b'{"max_tokens":99.5}', False, 4 + 100),
        (b'{"max_tokens":100,"n":-1}', False, 6 + 100),
        (b'{"max_tokens":150000,"n":[]}', False, 7 + 150_000),
        (b'{"max_tokens":150000,"n":{"a":1}}', False, 8 + 150_000),
        (b'{"max_tokens":true,"n":"\\u0032"}', False, 8 + 2),
        (b'{"m\\u0061x_tokens":150000}', False, 6 + 150_000),
        (b'{"max_completion_tokens":"x","max_tokens":150000}', False, 12 + 150_000),
        (b'{"max_tokens":10,"best_of":20}', False, 7 + 200),
        (b'{"max_tokens":"nan"}', False, 5 + MAX_OUTPUT),
        (b'{"max_tokens":"inf"}', False, 5 + MAX_OUTPUT),
        (b'{"max_tokens":1e999}', False, 5 + MAX_OUTPUT),
        (b'{"max_tokens":9%b}' % (b"9" * 100), False, 29 + MAX_OUTPUT),
        (b'{"max_tokens":%b,"n":%b}' % (b"9" * 40, b"9" * 40), False, 25 + MAX_OUTPUT),
        (b'{"max_tokens":-5}', False, 4),
        (b'{"url":"data:image/png;base64,%b"}' % (b"A" * 100_000), True, 6 + MEDIUM_TOKENS),
        (b"{}", True, 1),
    ],
)
def test_estimates(body, embeddings, tokens):
    assert estimated_tokens(body, not embeddings) == tokens


def test_windows_of_a_minute_side_by_side():
    """A fixed window would admit twice the limit around its boundary."""
    window = SlidingWindow(10)
    taken = []
    for now in (step / 10 for step in range(2000)):
        if window.wait(now) == 0:
            window.take(now)
            taken.append(now)
    assert all(later - earlier >= WINDOW for earlier, later in pairwise(taken[::10]))
