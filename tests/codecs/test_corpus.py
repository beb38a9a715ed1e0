"""Recorded traffic of the real APIs through the codecs."""

import pytest
from codecs_corpus import CODECS, CORPUS, cuts, judge, recordings

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the recordings are not here")


@pytest.mark.parametrize("provider", CODECS)
def test_every_recorded_answer_is_shown_whole(provider):
    judged = 0
    for name, record in recordings(provider):
        try:
            judge(record)
        except AssertionError as error:
            pytest.fail(f"{name}: {error}")
        judged += 1
    assert judged > 50


@pytest.mark.parametrize("provider", CODECS)
def test_a_recorded_stream_that_is_cut_is_never_whole(provider):
    for _, record in recordings(provider):
        if not record["is_stream"]:
            continue
        events = record["response_body"].encode().split(b"\n\n")
        for count in range(0, len(events) - 2, max(1, len(events) // 5)):
            stream = CODECS[provider].stream(0, True)
            out = stream.feed(b"\n\n".join(events[:count])) + stream.close()
            assert not stream.finished()
            assert b"[DONE]" not in out


def test_cuts_keep_every_byte():
    body = bytes(range(256))
    assert all(b"".join(pieces) == body for pieces in cuts(body))
