"""The table of sentences: every row has a source and an example, and none is asked where a code says enough."""

import json
import re
from datetime import date

import pytest

from nulpoint.errors import Cooldown, Kind
from nulpoint.protocols.error_sentences import SENTENCES, find_sentence
from nulpoint.protocols.provider_errors import embedded_failure, provider_failure

KEY, CREDIT, MODEL, LENGTH = "invalid_api_key", "insufficient_quota", "model_not_found", "context_length_exceeded"
EXAMPLES = [
    (KEY, "xai", "Incorrect API key provided: xa***ey. You can obtain an API key from https://console.x.ai."),
    (CREDIT, "anthropic", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."),
    (CREDIT, "anthropic", "You have reached your specified API usage limits. You will regain access on 2026-12-01."),
    (CREDIT, "xai", "Your team 16f2-40f4 has either used all available credits or reached its monthly spending limit."),
    (
        CREDIT,
        "fireworks",
        "Account me is suspended, possibly due to reaching the monthly spending limit or unpaid bills.",
    ),
    (CREDIT, "moonshot", "Your account org-1 <ak-1> is suspended due to insufficient balance, please recharge"),
    (CREDIT, "zai", "Insufficient balance or no resource package. Please recharge."),
    (CREDIT, "zai", "余额不足或无可用资源包,请充值。"),
    (CREDIT, "gemini", "Your prepayment credits are depleted. Please go to AI Studio."),
    (CREDIT, "openrouter", "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys"),
    (CREDIT, "openrouter", "This request requires more credits, or fewer max_tokens."),
    (MODEL, "anthropic", "model: claude-9"),
    (MODEL, "gemini", "models/gemini-1.0-pro is not found for API version v1beta, or is not supported."),
    (MODEL, "gemini", "This model models/gemini-2.5-flash is no longer available to new users."),
    (MODEL, "groq", "The model `llama3-70b-8192` has been decommissioned and is no longer supported."),
    (MODEL, "groq", "The model 'x' does not exist"),
    (MODEL, "deepseek", "Model Not Exist"),
    (MODEL, "huggingface", "The requested model 'X/y' is not supported by any provider you have enabled."),
    (MODEL, "mistral", "Invalid model: mistral-tiny"),
    (MODEL, "bedrock", "This model version has reached the end of its life."),
    (MODEL, "bedrock", "The provided model identifier is invalid."),
    (MODEL, "bedrock", "Invocation of model ID deepseek.r1-v1:0 with on-demand throughput isn\u2019t supported."),
    (MODEL, "openai", "This model is only supported in v1/responses and not in v1/chat/completions."),
    (MODEL, "openai", "This is not a chat model and thus not supported in the v1/chat/completions endpoint."),
    (LENGTH, "anthropic", "prompt is too long: 210000 tokens > 200000 maximum"),
    (LENGTH, "anthropic", "input length and `max_tokens` exceed context limit: 170636 + 34048 > 200000"),
    (LENGTH, "gemini", "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."),
    (LENGTH, "gemini", "The input token count exceeds the maximum number of tokens allowed 1048576."),
    (
        LENGTH,
        "vertexai",
        "Unable to submit request because the input token count is 1251952 but model only supports up to 1.",
    ),
    (LENGTH, "openai", "Your input exceeds the context window of this model."),
    (LENGTH, "vllm", "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."),
    (LENGTH, "vllm", "The decoder prompt (length 44) is longer than the maximum model length of 16."),
    (LENGTH, "xai", "This model's maximum prompt length is 131072 but the request contains 200000 tokens."),
    (LENGTH, "groq", "Please reduce the length of the messages or completion."),
    (LENGTH, "moonshot", "Invalid request: Your request exceeded model token limit: 131072 (requested: 140000)"),
    (LENGTH, "llamacpp", "the request exceeds the available context size, try increasing it"),
    (LENGTH, "lmstudio", "The number of tokens to keep from the initial prompt is greater than the context length."),
    (LENGTH, "minimax", "invalid params, context window exceeds limit (2013)"),
    (LENGTH, "sglang", "The input (70000 tokens) is longer than the model's context length (65536 tokens)."),
    (LENGTH, "tgi", "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"),
    (LENGTH, "qwen", "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 204800]"),
    (LENGTH, "ollama", "input length exceeds the context length"),
    (LENGTH, "github", "prompt token count of 130000 exceeds the limit of 128000"),
    (LENGTH, "cloudflare", "The estimated number of tokens (9) exceeded this model context window limit (8)."),
    (LENGTH, "openrouter", "Input length 131393 exceeds the maximum allowed input length of 131040 tokens."),
    (LENGTH, "bedrock", "Input is too long for requested model."),
]


@pytest.mark.parametrize(("meaning", "provider", "sentence"), EXAMPLES)
def test_each_sentence_is_found(meaning, provider, sentence):
    assert (find_sentence(sentence).meaning, find_sentence(sentence).provider) == (meaning, provider)


def test_every_row_has_an_example_a_source_and_a_date():
    assert {find_sentence(sentence) for _, _, sentence in EXAMPLES} == set(SENTENCES)
    for row in SENTENCES:
        assert re.fullmatch(r"https://\S+", row.source)
        assert date.fromisoformat(row.as_of) >= date(2026, 11, 1)


@pytest.mark.parametrize(
    "text",
    [
        "Invalid value: 'Your credit balance is too low'",
        "messages.0: Incorrect API key provided",
        "Unknown name \"model: x\"",
        "You exceeded your current quota, please check your plan and billing details.",  # Gemini: also a limit per minute
        "Too many tokens, please wait before trying again.",  # Bedrock's throttling
        "Rate limit reached for model x on tokens per minute (TPM): Limit 6000, Requested 7000.",
        "string too long. Expected a string with maximum length 64",
        "",
    ],
)  # fmt: skip
def test_other_texts_mean_nothing(text):
    assert find_sentence(text) is None


@pytest.mark.parametrize(("meaning", "provider", "sentence"), EXAMPLES)
def test_a_sentence_beside_a_code_that_says_more_is_not_asked(meaning, provider, sentence):
    body = {"error": {"message": sentence, "code": "content_policy_violation"}}
    failure = provider_failure(provider, 400, json.dumps(body).encode(), None)
    assert (failure.kind, failure.code) == (Kind.REJECTED, "content_policy_violation")


@pytest.mark.parametrize(
    "code", [None, 400, "400", "invalid_request_error", "INVALID_ARGUMENT", "invalid-argument", "Bad thing happened"]
)
def test_a_code_that_says_only_that_the_request_is_bad_leaves_it_to_the_sentence(code):
    body = {"error": {"message": "prompt is too long: 2 tokens > 1 maximum", "code": code}}
    failure = provider_failure("p", 400, json.dumps(body).encode(), None)
    assert (failure.kind, failure.code, failure.cooldown) == (Kind.TOO_LONG, "context_length_exceeded", None)


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (401, "Model Not Exist", None, Kind.AUTH),
        (403, "The model `x` does not exist", "model_not_found", Kind.AUTH),  # the key may not use it
        (429, "prompt is too long", None, Kind.RATE_LIMIT),
        (503, "Your credit balance is too low", None, Kind.UPSTREAM),
        (401, "Incorrect API key provided", None, Kind.AUTH),
    ],
)
def test_the_status_must_fit(status, message, code, kind):
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    assert provider_failure("p", status, body, None).kind is kind


@pytest.mark.parametrize(
    ("error", "cooldown"),
    [
        ({"code": "insufficient_quota"}, None),
        ({"code": "credit_balance_exhausted"}, Cooldown.KEY),
        ({"message": "Your credit balance is too low"}, Cooldown.KEY),
        ({"message": "This request requires more credits"}, None),
        ({"code": "model_not_found"}, Cooldown.KEY_AND_MODEL),
        ({"message": "This is not a chat model"}, None),
        ({"message": "gone"}, None),
    ],
)
def test_what_rests(error, cooldown):
    status = 404 if "model" in str(error) or error == {"message": "gone"} else 402
    assert provider_failure("p", status, json.dumps({"error": error}).encode(), None).cooldown is cooldown


@pytest.mark.parametrize("error", [{"code": "invalid_request_error"}, {"code": 402}, {"code": "no_money"}, {}])
def test_a_402_has_one_code_whatever_the_provider_s(error):
    failure = provider_failure("p", 402, json.dumps({"error": {"message": "m", **error}}).encode(), None)
    assert (failure.status, failure.kind, failure.code) == (402, Kind.QUOTA, "insufficient_quota")


# -- forms of bodies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"result": None, "success": False, "errors": [{"code": 7003, "message": "m"}], "messages": []}, "m", "7003"),
        ({"error_code": "BAD_REQUEST", "message": "m"}, "m", "BAD_REQUEST"),
        ({"fault": {"faultstring": "m", "detail": {"errorcode": "policies.x"}}}, "m", "policies.x"),
        ({"error": "m", "error_type": "validation"}, "m", "provider_400"),
        ({"code": "Some requested entity was bad", "error": "m"}, "m", "provider_400"),
        ({"detail": {"message": "m", "code": "oops"}}, "m", "oops"),
        ({"error": [{"message": "m", "code": "oops"}]}, "m", "oops"),
        ([{"error": {"message": "m", "code": 400}}], "m", "provider_400"),
        ({"error": {"code": "1210", "message": "m"}}, "m", "1210"),
        ({"base_resp": {"status_code": 2013, "status_msg": "m"}}, "m", "provider_400"),
        ({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "busy"}}}, "Provider returned error: busy", "provider_400"),
        ({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"message":"m","code":"oops"}}'}}}, "Provider returned error: m", "oops"),
        ({"error": {"message": "m", "metadata": {"raw": {"no": "text"}}}}, "m", "provider_400"),
    ],
)  # fmt: skip
def test_every_form_of_body(body, message, code):
    failure = provider_failure("p", 400, json.dumps(body).encode(), None)
    assert (failure.message, failure.code) == (message, code)


@pytest.mark.parametrize(
    ("number", "status", "kind"),
    [(1002, 429, Kind.RATE_LIMIT), (1004, 401, Kind.AUTH), (1008, 402, Kind.QUOTA), (1000, 502, Kind.UPSTREAM)],
)
def test_minimax_s_numbers(number, status, kind):
    body = json.dumps({"choices": None, "base_resp": {"status_code": number, "status_msg": "m"}}).encode()
    failure = embedded_failure("minimax", body)
    assert (failure.status, failure.kind, failure.message) == (status, kind, "m")
