"""Tests that Bedrock's errors get status, kind and code by their type, wherever AWS writes it."""

import json

import pytest

from nulpoint.errors import Cooldown, Kind
from nulpoint.protocols.bedrock import errors as bedrock_errors
from nulpoint.protocols.bedrock.errors import read_error
from nulpoint.protocols.provider_errors import provider_failure
from support.bedrock_judge import service

URI = ":http://internal.amazon.com/coral/com.amazon.bedrock/"
VALIDATION, THROTTLING = "ValidationException", "ThrottlingException"


def failure_of(status, body, **headers):
    encoded = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return provider_failure("bedrock", *read_error(status, encoded, json.dumps(body).encode()), None)


@pytest.mark.parametrize(
    ("name", "status", "client_status", "kind", "code"),
    [
        (THROTTLING, 429, 429, Kind.RATE_LIMIT, "rate_limit_exceeded"),
        (THROTTLING, 400, 429, Kind.RATE_LIMIT, "rate_limit_exceeded"),
        ("ServiceQuotaExceededException", 400, 429, Kind.RATE_LIMIT, "service_quota_exceeded"),
        ("ModelNotReadyException", 429, 502, Kind.UPSTREAM, "ModelNotReadyException"),
        ("ModelTimeoutException", 408, 504, Kind.TIMEOUT, "provider_timeout"),
        ("ModelErrorException", 424, 502, Kind.UPSTREAM, "ModelErrorException"),
        ("ModelStreamErrorException", 424, 502, Kind.UPSTREAM, "ModelStreamErrorException"),
        ("InternalServerException", 500, 502, Kind.UPSTREAM, "InternalServerException"),
        ("ServiceUnavailableException", 503, 502, Kind.UPSTREAM, "server_is_overloaded"),
        ("ResourceNotFoundException", 404, 404, Kind.NOT_FOUND, "model_not_found"),
        ("AccessDeniedException", 403, 401, Kind.AUTH, "AccessDeniedException"),
        ("UnrecognizedClientException", 403, 401, Kind.AUTH, "invalid_api_key"),
        (VALIDATION, 400, 400, Kind.REJECTED, VALIDATION),
        ("SomethingNewException", 400, 400, Kind.REJECTED, "SomethingNewException"),
        ("SomethingNewException", 500, 502, Kind.UPSTREAM, "SomethingNewException"),
    ],
)
def test_type_determines_the_failure(name, status, client_status, kind, code):
    for body, headers in (
        ({"message": "m"}, {"x_amzn_errortype": name}),
        ({"message": "m"}, {"x_amzn_errortype": name + URI}),
        ({"Message": "m"}, {"x_amzn_errortype": name}),
        ({"__type": name, "message": "m"}, {}),
        ({"__type": f"com.amazonaws.bedrock#{name}", "message": "m"}, {}),
        ({"code": name, "message": "m"}, {}),
    ):
        failure = failure_of(status, body, **headers)
        assert (failure.status, failure.kind, failure.code, failure.message) == (client_status, kind, code, "m")


def test_every_error_of_the_service_model_is_known():
    shapes = {name for name, shape in service()._shape_resolver._shape_map.items() if shape.get("exception")}
    assert shapes - {"ConflictException"} <= set(bedrock_errors._MEANINGS)  # which belongs to batches


@pytest.mark.parametrize(
    "text",
    [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 213142 tokens > 200000 maximum",
        "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length.",
        "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9000",
        "This model's maximum context length is 8192 tokens. Please reduce the length of the prompt",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "Malformed input request: expected maxLength: 50000, actual: 60000, please reformat your input and try again.",
    ],
)
def test_prompt_that_is_too_long_has_openai_code(text):
    failure = failure_of(400, {"message": text}, x_amzn_errortype=VALIDATION)
    assert (failure.status, failure.kind, failure.code) == (400, Kind.TOO_LONG, "context_length_exceeded")
    assert failure_of(429, {"message": text}, x_amzn_errortype=THROTTLING).code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    "text",
    [
        "The text field in the ContentBlock object is blank.",
        "The maximum tokens you requested exceeds the model limit of 4096.",
    ],
)
def test_other_validation_errors_keep_their_code(text):
    assert failure_of(400, {"message": text}, x_amzn_errortype=VALIDATION).code == VALIDATION


@pytest.mark.parametrize(
    "text",
    [
        "The provided model identifier is invalid.",
        "This model version has reached the end of its life. Please refer to the AWS documentation for more details.",
        "Invocation of model ID deepseek.r1-v1:0 with on-demand throughput isn\u2019t supported. Retry your request.",
    ],
)
@pytest.mark.parametrize(("name", "status"), [(VALIDATION, 400), ("ResourceNotFoundException", 404)])
def test_models_that_are_not_there_have_one_code(name, status, text):
    failure = failure_of(status, {"message": text}, x_amzn_errortype=name)
    assert (failure.status, failure.kind, failure.code) == (404, Kind.NOT_FOUND, "model_not_found")
    assert failure.cooldown is Cooldown.KEY_AND_MODEL


def test_gateway_identity_and_signed_request_are_not_shown():
    text = "User: arn:aws:sts::123456789012:assumed-role/gateway/i-0 is not authorized to perform: bedrock:InvokeModel"
    failure = failure_of(403, {"Message": text}, x_amzn_errortype="AccessDeniedException")
    assert failure.message == "the gateway's identity is not authorized to perform: bedrock:InvokeModel"
    text = "The signature does not match.\n\nThe Canonical String for this request should have been\n'POST\nx-amz-...'"
    failure = failure_of(403, {"message": text}, x_amzn_errortype="InvalidSignatureException")
    assert failure.message == "The signature does not match."


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"[1]", b'{"message": {"a": 1}}', b"\xff", b'{"error": 5}'])
def test_unexpected_bodies(body):
    assert read_error(502, {}, body) == (502, body)
    status, error = read_error(400, {b"x-amzn-errortype": b"ThrottlingException"}, body)
    assert (status, json.loads(error)["error"]["message"]) == (429, "ThrottlingException")
    assert read_error(500, {b"x-amzn-errortype": b"\xff:x"}, body)[0] == 500
