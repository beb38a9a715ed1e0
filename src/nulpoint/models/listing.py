"""Reads the lists of models that hosts give out themselves."""

from datetime import UTC, date, datetime
from typing import NamedTuple

import msgspec

MAX_LISTED_MODELS = 10_000  # of one host; hosts of many makers' models list some hundreds
_MAX_NAME_LENGTH = 256


class ListedModel(NamedTuple):
    """A model that a host lists, and the day on which it retires if the host says so."""

    name: str
    retires: date | None


class _Record(msgspec.Struct):
    """A model in a list. OpenAI, Anthropic and most hosts give its `id`, Google its `name`."""

    id: str = ""
    name: str = ""
    shutdown_date: object = None  # OpenAI
    retires_at: object = None  # Anthropic


class _List(msgspec.Struct):
    data: list[_Record] | None = None
    models: list[_Record] | None = None  # Google


_LIST = msgspec.json.Decoder(_List | list[_Record])


def read_listing(body: bytes) -> tuple[ListedModel, ...]:
    """Return the models in the body of a response. Raises ValueError if it is not a list of models."""
    document = _LIST.decode(body)  # Together's list has no object around it
    records = document if isinstance(document, list) else document.data or document.models or []
    listed = {
        name: ListedModel(name, _date(record.retires_at or record.shutdown_date))
        for record in records[:MAX_LISTED_MODELS]
        if (name := (record.id or record.name).removeprefix("models/")) and len(name) <= _MAX_NAME_LENGTH
    }
    if not listed:
        raise ValueError("it names no models")
    return tuple(listed.values())


def _date(value: object) -> date | None:
    """Return the day of a date, of a time of RFC 3339 or of a Unix time; None if there is none."""
    try:
        if isinstance(value, str):
            return date.fromisoformat(value[:10])
        return datetime.fromtimestamp(value, UTC).date() if isinstance(value, int) else None
    except (ValueError, OverflowError, OSError):
        return None
