"""Tests that recording does not change a stream, however it is split into pieces."""

import itertools

import pytest

from nulpoint.cache.recorder import StreamRecorder
from nulpoint.protocols.openai.stream import PassThrough, UsageStripper, without_usage

EVENTS = (
    b'data: {"choices":[{"delta":{"content":"usage"}}],"usage":null}\n\n: a comment\n\n',
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n',
    b"data: [DONE]\n\n",
)
WIRE = b"".join(EVENTS)


def fed(watcher, cuts):
    points = [0, *cuts, len(WIRE)]
    return b"".join([watcher.feed(WIRE[a:b]) for a, b in itertools.pairwise(points)]) + watcher.close()


@pytest.mark.parametrize("hide", [False, True])
def test_the_client_gets_the_same_as_without_a_recorder(hide):
    expected = fed(UsageStripper() if hide else PassThrough(), [])
    for cut in range(1, len(WIRE)):
        recorder = StreamRecorder(PassThrough(), without_usage if hide else None, 10_000)
        assert fed(recorder, [cut]) == expected
        assert recorder.record() == WIRE
        assert recorder.finished()
        assert recorder.metadata().usage.prompt == 1
    assert (EVENTS[2] in expected) is not hide


def test_a_stream_that_is_too_long_is_not_recorded():
    for most, kept in ((len(WIRE), True), (len(WIRE) - 1, False)):
        recorder = StreamRecorder(PassThrough(), None, most)
        assert fed(recorder, [50]) == WIRE
        assert (recorder.record() is not None) is kept


def test_a_failure_of_the_stream_passes_through():
    recorder = StreamRecorder(PassThrough(), without_usage, 10_000)
    recorder.feed(b'data: {"error":{"message":"no"}}\n\n')
    assert recorder.failure is not None
    assert not recorder.finished()
