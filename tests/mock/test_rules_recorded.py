"""The mocks take every recorded request that the real providers took.

The recordings are not part of the project: they are looked for beside it (or where NULPOINT_CORPUS says). Signatures
in them are the providers' own, which nobody else can judge.
"""

import gzip
import json

import pytest

from nulpoint.mock.anthropic import rules as anthropic_rules
from nulpoint.mock.gemini import rules as gemini_rules
from nulpoint.mock.mistral import rules as mistral_rules
from nulpoint.mock.openai import rules as openai_rules
from support.paths import CORPUS

FEWEST = {"anthropic": 500, "gemini": 400, "mistral": 70, "openai": 500}

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not here")


def anthropic(record, body):
    return anthropic_rules.problem(body, {"anthropic-beta": "any"}, lambda block: True)


def gemini(record, body):
    if record["kind"] == "batchEmbedContents":
        return gemini_rules.embedding_problem(gemini_rules.plain(body), batch=True)
    model = record["path"].partition("models/")[2].partition(":")[0]
    return gemini_rules.problem(gemini_rules.plain(body), model, lambda part: True)


def mistral(record, body):
    if record["kind"] == "embeddings":
        return mistral_rules.unknown(body, mistral_rules.EMBEDDINGS)
    return mistral_rules.unknown(body) or mistral_rules.problem(body)


def openai(record, body):
    return openai_rules.problem(body)


JUDGES = {
    "anthropic": (anthropic, {"messages"}),
    "gemini": (gemini, {"generateContent", "streamGenerateContent", "batchEmbedContents"}),
    "mistral": (mistral, {"chat", "embeddings"}),
    "openai": (openai, {"chat"}),
}


def taken(provider, kinds):
    with gzip.open(CORPUS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            if record["kind"] in kinds and record["status"] == 200 and isinstance(record["request_body"], dict):
                yield number, record


def whole(value):
    """With something for what the recordings leave out: long base64."""
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, str) and value.startswith("data:") and "ELIDED-" in value:
        return "data:image/png;base64,AAAA"
    return "AAAA" if isinstance(value, str) and value.startswith("ELIDED-") else value


@pytest.mark.parametrize("provider", JUDGES)
def test_what_was_taken_is_taken(provider):
    judge, kinds = JUDGES[provider]
    records = list(taken(provider, kinds))
    refused = {number: judge(record, whole(record["request_body"])) for number, record in records}
    assert {number: why for number, why in refused.items() if why} == {}
    assert len(records) >= FEWEST[provider]
