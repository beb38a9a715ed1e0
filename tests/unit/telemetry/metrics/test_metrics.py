"""Tests what a request counts, and that the page matches the format and the documentation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.usage import Usage
from nulpoint.errors import Kind
from nulpoint.telemetry.metrics.definitions import FAMILIES, Buckets, MetricValues
from nulpoint.telemetry.metrics.exposition import page
from nulpoint.telemetry.metrics.metrics import Metrics
from support.metrics_page import record, samples
from support.paths import ROOT

KINDS = {family.name: family.kind for family in FAMILIES}


# -- the page ----------------------------------------------------------------------------------------------------------


def test_requests_without_a_price_are_counted():
    metrics = Metrics("1.2")
    usage = Usage(prompt=3, completion=4)
    for fields in (
        {"usage": usage},
        {"usage": usage, "cost": 0.5},
        {"usage": usage, "cost": 0.0, "cache": "HIT"},  # no provider was paid
        {"usage": usage, "cost": 0.0, "coalesced": True},
        {},
    ):
        metrics.request_finished(record(provider="openai", **fields))
    assert samples(metrics.page(), "gateway_unpriced_requests_total") == {("", "openai", "chat"): 1}


def test_the_metrics_of_one_request():
    metrics = Metrics("1.2")
    metrics.request_finished(
        record(
            provider="openai", total_us=20_000, first_byte_us=9_000, first_token_us=9_500, added_us=80, bytes_in=300,
            bytes_out=5_000, cache="MISS", usage=Usage(prompt=3, completion=4), cost=0.25, limit="allowed",
        ),
        attempt_us=15_000,
    )  # fmt: skip
    text = metrics.page()
    for name, labels, value in (
        ("gateway_http_requests_total", ("chat", "200"), 1),
        ("gateway_requests_total", ("openai", "200"), 1),
        ("gateway_latency_ms_total", ("openai",), 20),
        ("gateway_upstream_attempts_total", ("openai", "chat", "success"), 1),
        ("gateway_tokens_total", ("openai", "chat", "input", "miss"), 3),
        ("gateway_tokens_total", ("openai", "chat", "output", "miss"), 4),
        ("gateway_tokens_total", ("openai", "chat", "total", "miss"), 7),
        ("gateway_cost_dollars_total", ("openai", "chat"), 0.25),
        ("gateway_ratelimit_total", ("allowed",), 1),
        ("cache_misses_total", (), 1),
        ("cache_hits_total", (), 0),
        ("gateway_build_info", ("1.2",), 1),
    ):
        assert samples(text, name)["", *labels] == value, name
    for name, labels, bound, total in (
        ("gateway_http_request_duration_seconds", ("chat",), "0.025", 0.02),
        ("gateway_request_duration_seconds", ("openai", "chat", "miss"), "0.025", 0.02),
        ("gateway_upstream_attempt_duration_seconds", ("openai", "chat", "success"), "0.025", 0.015),
        ("gateway_first_byte_seconds", ("openai",), "0.01", 0.009),
        ("gateway_time_to_first_token_seconds", ("openai", "chat"), "0.01", 0.0095),
        ("gateway_added_seconds", ("chat",), "0.0001", 0.00008),
        ("gateway_http_request_size_bytes", ("chat",), "1024", 300),
        ("gateway_http_response_size_bytes", ("chat", "200"), "16384", 5000),
    ):
        found = samples(text, name)
        assert found["_sum", *labels] == pytest.approx(total), name
        assert found["_count", *labels] == 1
        counts = [(one[-1], value) for one, value in found.items() if one[0] == "_bucket"]
        assert next(edge for edge, value in counts if value) == bound, name


def test_hits_shared_calls_and_failures_count_where_they_belong():
    metrics = Metrics("1")
    metrics.request_finished(record(provider="openai", cache="HIT", usage=Usage(3, 4), cost=0.0, saved=0.5))
    metrics.request_finished(record(provider="openai", cache="MISS", coalesced=True, usage=Usage(3, 4), saved=0.25))
    metrics.request_finished(record(provider="openai", status=502, error="upstream", cache="MISS"))
    metrics.attempt_failed("openai", "chat", "upstream", 0.3)
    metrics.request_finished(record(status=404, error="rejected"))
    text = metrics.page()
    assert samples(text, "gateway_requests_total") == {("", "openai", "502"): 1}
    assert samples(text, "provider_errors_total") == {("", "openai", "upstream"): 1}
    assert samples(text, "gateway_upstream_attempts_total") == {("", "openai", "chat", "upstream"): 1}
    assert samples(text, "gateway_upstream_attempt_duration_seconds")["_sum", "openai", "chat", "upstream"] == 0.3
    assert samples(text, "gateway_coalesced_requests_total") == {("", "chat"): 1}
    assert samples(text, "gateway_saved_dollars_total") == {("", "openai", "chat"): 0.75}
    assert samples(text, "gateway_cost_dollars_total") == {}
    assert {labels[3:] for labels in samples(text, "gateway_tokens_total")} == {
        (direction, "hit") for direction in ("input", "output", "total")
    }
    durations = samples(text, "gateway_request_duration_seconds")
    counts = {labels[1:]: value for labels, value in durations.items() if labels[0] == "_count"}
    assert counts == {("openai", "chat", "hit"): 1, ("openai", "chat", "miss"): 2}
    assert sum(samples(text, "gateway_http_requests_total").values()) == 4


def test_a_second_page_counts_nothing_twice():
    metrics = Metrics("1")
    metrics.request_finished(record(provider="openai", total_us=5, usage=Usage(1, 1), first_byte_us=1))
    assert metrics.page() == metrics.page()


@given(st.text(), st.floats(0, 1e9), st.lists(st.integers(0, 2**40), min_size=19, max_size=19))
def test_the_page_is_valid_for_any_values(label, total, counts):
    numbers = MetricValues(errors={(label, "x"): 7}, http_seconds={(label,): Buckets(counts, total)})
    found = samples(page(numbers), "provider_errors_total")
    assert found == {("", label, "x"): 7}
    histogram = samples(page(numbers), "gateway_http_request_duration_seconds")
    assert histogram["_count", label] == histogram["_bucket", label, "+Inf"] == sum(counts)
    assert histogram["_sum", label] == total


def test_clients_cannot_make_the_page_grow():
    metrics = Metrics("1")
    lines = []
    for number in range(10_000):
        metrics.request_finished(
            record(
                route="other", status=404, model=f"m-{number}", id=str(number), method=f"M{number}", error="rejected",
                message=f"unknown {number}", answered_model=f"a-{number}", code=f"c{number}",
            )
        )  # fmt: skip
        if number % 5000 == 0:
            lines.append(metrics.page().count(b"\n"))
    assert len(set(lines)) == 1
    assert len(metrics._counters) == 1


# -- the documentation -------------------------------------------------------------------------------------------------


def test_every_family_is_documented_as_it_is():
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)(?:\{([a-z_,]+)\})?` \| (\w+) \| \S", text, re.MULTILINE)
    told = {name: (tuple(filter(None, labels.split(","))), kind) for name, labels, kind in rows}
    assert told == {family.name: (family.labels, family.kind) for family in FAMILIES}
    assert len(rows) == len(FAMILIES)
    for kind in Kind:
        assert f"`{kind.value}`" in text


def test_the_metrics_the_operations_page_names_exist():
    text = (ROOT / "docs" / "operations.md").read_text()
    labels = {family.name: set(family.labels) for family in FAMILIES}
    named = {name: set(given.split(",")) for name, given in re.findall(r"`([a-z_]+)\{([a-z_,]+)\}`", text)}
    assert named == {name: labels.get(name) for name in named}
    assert {name for name in re.findall(r"`((?:gateway|cache|provider)_[a-z_]+)[`{]", text)} <= set(KINDS)


GO_FAMILIES = [
    "gateway_inflight_requests",
    "gateway_http_requests_total{route,status}",
    "gateway_http_request_duration_seconds{route}",
    "gateway_http_request_size_bytes{route}",
    "gateway_http_response_size_bytes{route,status}",
    "gateway_requests_total{provider,status}",
    "gateway_latency_ms_total{provider}",
    "gateway_request_duration_seconds{provider,route,cache}",
    "gateway_upstream_attempts_total{provider,route,outcome}",
    "gateway_upstream_attempt_duration_seconds{provider,route,outcome}",
    "cache_hits_total",
    "cache_misses_total",
    "gateway_cache_operations_total{op,result}",
    "provider_errors_total{provider,error_type}",
    "circuit_breaker_state{provider}",
    "gateway_circuit_breaker_transitions_total{provider,to_state}",
    "gateway_circuit_breaker_rejections_total{provider,state}",
    "gateway_failover_events_total{primary,from,to,reason}",
    "gateway_failover_success_total{primary,to}",
    "gateway_failover_exhausted_total{primary}",
    "gateway_ratelimit_total{result}",
    "gateway_tokens_total{provider,route,direction,cache}",
    "gateway_provider_health{provider}",
    "gateway_build_info{version}",
]


def test_families_of_earlier_versions_keep_their_names():
    ours = {family.name + (f"{{{','.join(family.labels)}}}" if family.labels else "") for family in FAMILIES}
    assert set(GO_FAMILIES) <= ours
