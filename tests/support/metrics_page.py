"""Recorded requests, and the metrics page read as samples."""

from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from nulpoint.telemetry.metrics.definitions import FAMILIES
from nulpoint.telemetry.request_log.record import RequestRecord


def record(**fields: Any) -> RequestRecord:
    known: dict[str, Any] = {
        "time": datetime.now(UTC),
        "level": "info",
        "id": "i",
        "route": "chat",
        "method": "POST",
        "status": 200,
    }
    return RequestRecord(**{**known, **fields})


def samples(text: bytes, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of one family by the suffix of the sample's name and the label values."""
    order = (*next(family.labels for family in FAMILIES if family.name == name), "le")
    (family,) = [
        candidate
        for candidate in text_string_to_metric_families(text.decode())
        if candidate.name == name.removesuffix("_total")
    ]
    return {
        (
            sample.name.removeprefix(name),
            *(sample.labels[label] for label in order if label in sample.labels),
        ): sample.value
        for sample in family.samples
    }
