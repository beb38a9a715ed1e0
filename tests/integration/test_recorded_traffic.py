"""Recorded traffic of the real APIs passes through the gateway's code. `make corpus` does the same with more splits."""

import collections

import pytest

from support.corpus.completeness import lost
from support.corpus.cuts import cuts
from support.corpus.records import CORPUS, recordings
from support.corpus.replay import verdict
from support.corpus.sockets import replay
from support.event_loop import run

there = pytest.mark.skipif(not CORPUS.exists(), reason="the recordings are not here")


@there
def test_every_recording_is_shown_as_it_came_or_left_out_for_a_reason():
    outcomes = collections.Counter()
    for recording in recordings():
        outcome, said = verdict(recording, thorough=False)
        outcomes[outcome] += 1
        if outcome == "failed":
            pytest.fail(f"{recording.name} ({recording.record['source']}): {said[0]}")
    assert outcomes["passed"] > 2 * outcomes["left out"]


@there
def test_some_of_them_over_sockets_with_the_official_sdk():
    some = [recording for recording in recordings() if not recording.left_out()][::20]
    assert run(replay(some)) == {}


def test_cuts_keep_every_byte():
    body = "".join(chr(number) for number in range(10, 300)).encode() + b"\r\n\r\n" + bytes(range(256))
    assert all(b"".join(pieces) == body for pieces in cuts(body))


@pytest.mark.parametrize(
    ("recorded", "shown", "missing"),
    [
        ({"a": 1}, {"x": {"a": 1}}, []),
        ({"a": 1}, {"a": True}, ["a = '1'"]),
        ({"a": [{"b": "x"}, {"b": "x"}]}, {"b": "x"}, ["a[].b = 'x'"]),
        ({"a": None, "b": ""}, {}, []),
        ({"input": {"city": "Rome"}}, {"arguments": '{"city":"Rome"}'}, []),
        ({"known": {"a": 1}, "other": 2}, {}, ["other = '2'"]),
    ],
)
def test_what_is_lost_is_found_out(recorded, shown, missing):
    assert lost(recorded, shown, {"known*": "listed"}) == missing
