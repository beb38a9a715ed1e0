"""Usage and model of moderations and reranking, as each host reports them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.usage import Usage
from nulpoint.protocols.result_list import read_result_list

OPENAI = b'{"id":"m","model":"omni","results":[{"flagged":false}]}'
COHERE = b'{"id":"c","results":[],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}'
COHERE_TOKENS = (
    b'{"results":[],"meta":{"tokens":{"input_tokens":5,"output_tokens":0},"billed_units":{"input_tokens":9}}}'
)
COHERE_BILLED = b'{"results":[],"meta":{"tokens":null,"billed_units":{"input_tokens":9}}}'
JINA = b'{"model":"j","object":"list","usage":{"total_tokens":7},"results":[{"index":0}]}'
VOYAGE = b'{"object":"list","data":[{"index":0}],"model":"v","usage":{"total_tokens":8}}'
TOGETHER = (
    b'{"object":"rerank","model":"t","results":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)


@pytest.mark.parametrize(
    ("body", "model", "usage"),
    [
        (OPENAI, "omni", None),
        (COHERE, None, None),
        (COHERE_TOKENS, None, Usage(prompt=5)),
        (COHERE_BILLED, None, Usage(prompt=9)),
        (JINA, "j", Usage(prompt=7)),
        (VOYAGE, "v", Usage(prompt=8)),
        (TOGETHER, "t", Usage(prompt=3, completion=2)),
        (b'{"results":[],"usage":{"completion_tokens":2,"total_tokens":5}}', None, Usage(prompt=3, completion=2)),
        (b'{"results":[],"usage":{}}', None, None),
        (b'{"results":[],"usage":{"total_tokens":-1}}', None, None),
        (b'{"results":[],"usage":{"total_tokens":1e99}}', None, None),
        (b'{"results":[],"usage":"free","error":null}', None, None),
        (b'{"results":[],"meta":[]}', None, None),
    ],
)
def test_what_each_host_reports(body, model, usage):
    metadata = read_result_list(body)
    assert (metadata.model, metadata.usage) == (model, usage)
    assert metadata.ended
    assert not metadata.suspect


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"null", b"{}", b'{"results":{}}', b'{"results":null}', b'{"error":{"message":"x"}}',
        b'{"results":[],"error":"x"}', b'{"message":"not found"}', b'{"object":"error","message":"x"}', b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_list_of_results_is_suspect(body):
    metadata = read_result_list(body)
    assert metadata.suspect
    assert not metadata.ended


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["usage", "meta", "results", "tokens", "total_tokens", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_response_is_read(value):
    metadata = read_result_list(json.dumps(value).encode())
    assert metadata.suspect is not metadata.ended
    assert metadata.usage is None or metadata.usage.prompt >= 0
