"""All embeddings codecs share this behaviour, which is tested for each format."""

import pytest

from nulpoint.errors import Failure
from nulpoint.protocols.registry import EMBEDDINGS

ANSWERS = {
    "bedrock": b'{"embedding":%b}',
    "gemini": b'{"embeddings":[{"values":%b}]}',
    "vertex": b'{"predictions":[{"embeddings":{"values":%b}}]}',
}
AS_BASE64 = b'{"input":"x","encoding_format":"base64"}'


@pytest.mark.parametrize("wire", ANSWERS)
def test_vectors_come_in_the_encoding_that_was_asked_for(wire):
    answer = ANSWERS[wire] % b"[1,2.5]"
    assert b'"embedding":[1,2.5]' in EMBEDDINGS[wire].decode(answer, b'{"input":"x"}', "m")
    assert b'"embedding":"AACAPwAAIEA="' in EMBEDDINGS[wire].decode(answer, AS_BASE64, "m")


@pytest.mark.parametrize("wire", ANSWERS)
@pytest.mark.parametrize("vector", [b'["x"]', b"[null]", b"[[1]]", b"7", b"null"])
def test_what_is_no_vector_is_told_as_an_answer_of_no_use(wire, vector):
    with pytest.raises(Failure) as failed:
        EMBEDDINGS[wire].decode(ANSWERS[wire] % vector, AS_BASE64, "m")
    assert (failed.value.status, failed.value.code) == (502, "provider_malformed")
