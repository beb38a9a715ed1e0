"""Whose mistake a refusal is: what a fallback rejects, missing models, long prompts and empty accounts, at the socket."""

import json

import pytest

from support.client_outcome import ask
from support.event_loop import run
from support.http_client import CHAT, STREAM
from support.provider_bytes import GOOD, LAST_CHUNK, SERVER_ERROR, STREAM_HEAD, answer, chunk, event, good_stream
from support.running_gateway import gateway
from support.scripted_provider import send, serve

CHAIN = "fallbacks:\n  gpt-4o: [openai/gpt-4o, groq/openai/gpt-oss-120b, deepseek/deepseek-flash]\n"
NAMES = ("openai", "groq", "deepseek")


def error(status, message="no", **members):
    return answer(json.dumps({"error": {"message": message, **members}}).encode(), status)


BAD = error(400, "property 'reasoning_content' is unsupported", type="invalid_request_error")
UNPROCESSABLE = answer(b'{"detail":[{"loc":["body","x"],"msg":"Extra inputs are not permitted"}]}', 422)


async def outcomes(directory, *answers, body=CHAT, times=1, config=""):
    """Return what the client got each time, and the number of requests at each provider of the chain.

    Each provider sends its own answer to every request.
    """
    (directory / "config.yaml").write_text(CHAIN + config)
    providers = {name: await serve([send(data)]) for name, data in zip(NAMES, answers, strict=False)}
    for name in NAMES[len(answers) :]:
        providers[name] = await serve([send(SERVER_ERROR)])
    settings = {"MAX_RETRIES": "4", "COALESCE": "false"}
    async with gateway(settings, providers=providers, directory=directory) as running:
        outcomes = [await ask(running.port, body) for _ in range(times)]
        requests = [len(providers[name].requests) for name in NAMES]
        failures = [len(running.app.runtime.provider_health[name].breaker._failures) for name in NAMES]
        return outcomes, requests, failures


@pytest.mark.parametrize("refusal", [BAD, UNPROCESSABLE], ids=["400", "422"])
def test_what_a_fallback_rejects_goes_to_the_next_target(tmp_path, refusal):
    async def main():
        (outcome,), requests, failures = await outcomes(tmp_path, SERVER_ERROR, refusal, GOOD)
        assert (outcome.status, outcome.headers["x-nulpoint-provider"], requests) == (200, "deepseek", [1, 1, 1])
        assert failures == [1, 0, 0]  # a rejection says nothing about the health of a provider

    run(main())


def test_a_stream_too_goes_on_after_a_fallback_that_rejects_it(tmp_path):
    rejected = STREAM_HEAD + chunk(event(b'{"error":{"message":"no","type":"invalid_request_error"}}')) + LAST_CHUNK

    async def main():
        (outcome,), requests, _ = await outcomes(tmp_path, SERVER_ERROR, rejected, good_stream(), body=STREAM)
        assert (outcome.verdict, outcome.text, requests) == ("answer", "word ", [1, 1, 1])

    run(main())


@pytest.mark.parametrize(
    ("primary", "status", "code"),
    [
        (SERVER_ERROR, 502, "provider_500"),
        (error(429, type="rate_limit_error"), 429, "rate_limit_exceeded"),
        (error(401), 401, "invalid_api_key"),
        (error(404, "The model `gpt-4o` does not exist"), 404, "model_not_found"),
    ],
)
def test_if_all_fail_the_first_failure_is_told_with_all_attempts(tmp_path, primary, status, code):
    async def main():
        (outcome,), _, _ = await outcomes(tmp_path, primary, BAD, UNPROCESSABLE)
        assert (outcome.status, outcome.error["code"]) == (status, code)
        tried = [(attempt["provider"], attempt["outcome"]) for attempt in outcome.error["attempts"]]
        assert tried[1:3] == [("groq", "rejected"), ("deepseek", "rejected")]
        assert tried[0][0] == "openai"

    run(main())


@pytest.mark.parametrize("refusal", [BAD, UNPROCESSABLE], ids=["400", "422"])
def test_what_the_primary_rejects_is_the_client_s_mistake(tmp_path, refusal):
    async def main():
        (outcome,), requests, failures = await outcomes(tmp_path, refusal, GOOD, GOOD)
        assert (outcome.status, requests, failures) == (400, [1, 0, 0], [0, 0, 0])

    run(main())


MISSING = {
    "OpenAI, by code": error(404, "The model `gpt-4o` does not exist or you do not have access to it.", code="model_not_found"),
    "OpenAI, at the wrong endpoint": error(404, "This model is only supported in v1/responses and not in v1/chat/completions.", param="model", code=None),
    "Groq, retired": error(400, "The model `x` has been decommissioned and is no longer supported.", code="model_decommissioned", type="invalid_request_error"),
    "DeepSeek, by its sentence": error(400, "Model Not Exist", type="invalid_request_error", code="invalid_request_error"),
    "Mistral, by number": answer(b'{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}', 400),
    "Mistral, gone": answer(b'{"detail":"Not Found"}', 404),
    "gone": error(410, "this model has been removed"),
    "Anthropic's body": answer(b'{"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}', 404),
    "Google's body": answer(b'[{"error":{"code":404,"message":"models/x is not found for API version v1beta","status":"NOT_FOUND"}}]', 404),
    "Azure": error(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound"),
    "Z.ai, by number": error(400, "Unknown Model, please check the model code.", code="1211"),
    "Hugging Face": error(400, "The requested model 'x' is not supported by any provider you have enabled."),
}  # fmt: skip


@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
def test_a_model_that_the_primary_does_not_have_is_asked_for_elsewhere(tmp_path, missing):
    async def main():
        (outcome,), requests, failures = await outcomes(tmp_path, missing, GOOD)
        assert (outcome.status, outcome.headers["x-nulpoint-provider"], requests) == (200, "groq", [1, 1, 0])
        (outcome,), _, failures = await outcomes(tmp_path, missing, BAD, missing)
        assert (outcome.status, outcome.error["code"]) == (404, "model_not_found")
        assert outcome.error["type"] == "invalid_request_error"
        assert outcome.error["attempts"][0]["outcome"] == "not_found"
        assert failures == [0, 0, 0]

    run(main())


def test_a_missing_model_rests_and_the_next_requests_go_to_the_fallback_at_once(tmp_path):
    async def main():
        told, requests, _ = await outcomes(tmp_path, MISSING["OpenAI, by code"], GOOD, times=3)
        assert [outcome.headers["x-nulpoint-provider"] for outcome in told] == ["groq"] * 3
        assert requests == [1, 3, 0]

    run(main())


def test_a_file_that_is_missing_is_the_client_s_mistake(tmp_path):
    async def main():
        missing = error(404, "No such File object: file-1", type="invalid_request_error", param="file_id")
        (outcome,), requests, _ = await outcomes(tmp_path, missing, GOOD)
        assert (outcome.status, requests) == (404, [1, 0, 0])

    run(main())


TOO_LONG = {
    "OpenAI": error(400, "Your input exceeds the context window of this model.", code="context_length_exceeded", param="messages"),
    "Anthropic": answer(b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}', 400),
    "Gemini": answer(b'{"error":{"code":400,"message":"The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}', 400),
    "Mistral": answer(b'{"object":"error","message":"Prompt contains 200000 tokens, too large for model with 131072 maximum context length","type":"invalid_request_prompt","param":null,"code":"3051"}', 400),
    "DeepSeek": error(400, "This model's maximum context length is 131072 tokens. However, you requested 200000 tokens.", type="invalid_request_error", code="invalid_request_error"),
    "vLLM": error(400, "This model's maximum context length is 4096 tokens. Please reduce the length of the input prompt.", type="BadRequestError", param=None, code=400),
    "xAI": answer(b'{"code":"Client specified an invalid argument","error":"This model\'s maximum prompt length is 131072 but the request contains 200000 tokens."}', 400),
    "Moonshot": error(400, "Invalid request: Your request exceeded model token limit: 131072 (requested: 140000)", type="invalid_request_error"),
    "Groq": error(400, "Please reduce the length of the messages or completion.", type="invalid_request_error", param="messages", code="context_length_exceeded"),
    "Cerebras": answer(b'{"message":"Please reduce the length of the messages or completion. Current length is 9 while limit is 8","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}', 400),
    "llama.cpp": error(400, "the request exceeds the available context size, try increasing it", type="exceed_context_size_error", code=400),
    "llama.cpp, older": error(500, "the request exceeds the available context size", type="server_error", code=500),
    "LM Studio": answer(b'{"error":"The number of tokens to keep from the initial prompt is greater than the context length"}', 400),
    "SGLang": answer(b'{"object":"error","message":"The input (70000 tokens) is longer than the model\'s context length (65536 tokens).","type":"BadRequestError","param":null,"code":400}', 400),
    "TGI": answer(b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000","error_type":"validation"}', 422),
    "Qwen": error(400, "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 204800]", type="invalid_request_error", code="invalid_parameter_error"),
    "Z.ai": error(400, "Prompt exceeds max length", code="1261"),
    "OpenRouter": error(400, "This endpoint's maximum context length is 1048576 tokens. However, you requested about 1293741 tokens", code=400),
    "a host behind OpenRouter": error(400, "Provider returned error", code=400, metadata={"raw": '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 tokens > 2 maximum"}}'}),
}  # fmt: skip


@pytest.mark.parametrize("too_long", TOO_LONG.values(), ids=TOO_LONG)
def test_a_prompt_that_is_too_long_has_one_code(tmp_path, too_long):
    async def main():
        (outcome,), requests, failures = await outcomes(tmp_path, too_long, too_long, too_long)
        assert (outcome.status, outcome.error["code"]) == (400, "context_length_exceeded")
        assert (outcome.error["param"], outcome.error["type"]) == ("messages", "invalid_request_error")
        assert (requests[0], failures) == (1, [0, 0, 0])

    run(main())


def test_a_prompt_that_is_too_long_goes_only_to_models_that_may_have_a_larger_context(tmp_path):
    contexts = "models: {openai/gpt-4o: {context: 1000}, groq/openai/gpt-oss-120b: {context: %d}}\n"

    async def main():
        for context, following in ((1000, [1, 0, 1]), (1001, [1, 1, 0])):
            (outcome,), requests, _ = await outcomes(tmp_path, TOO_LONG["vLLM"], GOOD, GOOD, config=contexts % context)
            assert (outcome.status, requests) == (200, following)

    run(main())


EMPTY = {
    "Anthropic": answer(b'{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}', 400),
    "Anthropic, by type": answer(b'{"type":"error","error":{"type":"billing_error","message":"pay"}}', 402),
    "OpenAI": error(429, "You exceeded your current quota", type="insufficient_quota", code="credit_balance_exhausted"),
    "OpenAI, limit of the project": error(429, "no", type="insufficient_quota", code="project_spend_limit_exceeded"),
    "Moonshot": error(403, "Your account x is not active, organization x exceeded current quota", type="exceeded_current_quota_error"),
    "Z.ai": error(429, "Insufficient balance or no resource package. Please recharge.", code="1113"),
    "xAI": answer(b'{"code":"Some resource has been exhausted","error":"Your team 1-2 has either used all available credits or reached its monthly spending limit."}', 429),
    "Fireworks": error(412, "Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices.", type="error", code="PRECONDITION_FAILED"),
    "Qwen": answer(b'{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing."}', 400),
    "MiniMax": answer(b'{"id":"x","choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}'),
}  # fmt: skip


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_an_account_without_credit_has_one_code_and_its_key_rests(tmp_path, empty):
    async def main():
        told, requests, failures = await outcomes(tmp_path, empty, GOOD, times=2)
        assert [outcome.headers["x-nulpoint-provider"] for outcome in told] == ["groq"] * 2
        assert (requests, failures) == ([1, 2, 0], [0, 0, 0])
        (outcome,), _, _ = await outcomes(tmp_path, empty, BAD, BAD)
        assert outcome.status in (402, 429)
        assert (outcome.error["code"], outcome.error["type"]) == ("insufficient_quota", "insufficient_quota")

    run(main())


def test_a_wrong_key_at_xai_is_a_400_and_told_as_a_401(tmp_path):
    wrong = answer(
        b'{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***. Get one."}', 400
    )

    async def main():
        told, requests, _ = await outcomes(tmp_path, wrong, GOOD, times=2)
        assert ([outcome.status for outcome in told], requests) == ([200, 200], [1, 2, 0])
        (outcome,), _, _ = await outcomes(tmp_path, wrong, BAD, BAD)
        assert (outcome.status, outcome.error["code"]) == (401, "invalid_api_key")

    run(main())


def test_what_groq_s_model_generated_is_kept_and_another_target_is_tried(tmp_path):
    failed = error(
        400, "Failed to call a function.", type="invalid_request_error", code="tool_use_failed",
        failed_generation="<function=f>{}",
    )  # fmt: skip

    async def main():
        (outcome,), requests, failures = await outcomes(tmp_path, failed, BAD, BAD)
        assert (outcome.status, outcome.error["code"]) == (400, "tool_use_failed")
        assert outcome.error["failed_generation"] == "<function=f>{}"
        assert (requests, failures) == ([1, 1, 1], [0, 0, 0])
        (outcome,), _, _ = await outcomes(tmp_path, failed, GOOD)
        assert outcome.status == 200

    run(main())
