"""The mocks accept every recorded request that the real providers accepted.

The recordings are not part of the project. They are expected in a folder next to it, or in the folder that
NULPOINT_CORPUS names. Their signatures are not checked, because only the real providers can do that.
"""

import gzip
import json

import pytest

from nulpoint.mock.anthropic import rules as anthropic_rules
from nulpoint.mock.gemini import rules as gemini_rules
from nulpoint.mock.mistral import rules as mistral_rules
from nulpoint.mock.openai import rules as openai_rules
from support.paths import CORPUS

MIN_RECORDS = {"anthropic": 500, "gemini": 400, "mistral": 70, "openai": 500}

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not available")


def anthropic(record, body):
    return anthropic_rules.find_problem(body, {"anthropic-beta": "any"}, lambda block: True)


def gemini(record, body):
    if record["kind"] == "batchEmbedContents":
        return gemini_rules.find_embedding_problem(gemini_rules.normalize(body), batch=True)
    model = record["path"].partition("models/")[2].partition(":")[0]
    return gemini_rules.find_problem(gemini_rules.normalize(body), model, lambda part: True)


def mistral(record, body):
    if record["kind"] == "embeddings":
        return mistral_rules.validation_errors(body, mistral_rules.EMBEDDINGS)
    return mistral_rules.validation_errors(body) or mistral_rules.find_problem(body)


def openai(record, body):
    return openai_rules.find_problem(body)


CHECKS = {
    "anthropic": (anthropic, {"messages"}),
    "gemini": (gemini, {"generateContent", "streamGenerateContent", "batchEmbedContents"}),
    "mistral": (mistral, {"chat", "embeddings"}),
    "openai": (openai, {"chat"}),
}


def accepted_records(provider, kinds):
    with gzip.open(CORPUS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            if record["kind"] in kinds and record["status"] == 200 and isinstance(record["request_body"], dict):
                yield number, record


def fill_placeholders(value):
    """Replace the placeholders that the recordings have for long base64 data."""
    if isinstance(value, list):
        return [fill_placeholders(item) for item in value]
    if isinstance(value, dict):
        return {name: fill_placeholders(member) for name, member in value.items()}
    if isinstance(value, str) and value.startswith("data:") and "ELIDED-" in value:
        return "data:image/png;base64,AAAA"
    return "AAAA" if isinstance(value, str) and value.startswith("ELIDED-") else value


@pytest.mark.parametrize("provider", CHECKS)
def test_accepted_requests_are_accepted(provider):
    check, kinds = CHECKS[provider]
    records = list(accepted_records(provider, kinds))
    problems = {number: check(record, fill_placeholders(record["request_body"])) for number, record in records}
    assert {number: problem for number, problem in problems.items() if problem} == {}
    assert len(records) >= MIN_RECORDS[provider]
