"""The mock of Bedrock rejects invalid requests, and works with botocore, which AWS's SDK is built on."""

import asyncio
import json
from urllib.parse import quote

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from nulpoint.mock import start
from nulpoint.mock.bedrock import server as bedrock_server
from nulpoint.mock.bedrock.aws_auth import check_authorization
from nulpoint.mock.bedrock.rules import find_problem
from nulpoint.mock.interface import MockRequest
from support.cloud_mocks import AWS
from support.event_loop import run
from support.mock_requests.bedrock import (
    ACCEPTED,
    DOCUMENT,
    MODEL,
    PICTURE,
    POINT,
    SPEC,
    TOOLS,
    USER,
    request,
    result,
    said,
    use,
    user,
)

PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6"


REJECTED = [
    ({"model": "x"}, "extraneous key [model]"),
    ({"messages": []}, "at least one message"),
    ({"messages": [said({"text": "x"})]}, "must start with a user message"),
    ({"messages": [USER, USER]}, "must alternate"),
    ({"messages": [user()]}, "is empty"),
    ({"messages": [user({"text": " "})]}, "messages.0.content.0 is blank"),
    ({"messages": [user({"text": "x", "image": PICTURE["image"]})]}, "exactly one member"),
    ({"messages": [user({})]}, "exactly one member"),
    ({"messages": [user({"type": "text", "text": "x"})]}, "extraneous key [type]"),
    ({"messages": [USER, said(use()), user(result())]}, "toolConfig field must be defined"),
    ({"messages": [USER, said(use()), USER], **TOOLS}, "Expected toolResult blocks at messages.2.content"),
    ({"messages": [user(result())], **TOOLS}, "exceeds the number of toolUse blocks"),
    ({"messages": [USER, said(use()), user(result(status="error"))], **TOOLS}, "cannot be empty when status"),
    ({"messages": [user(DOCUMENT)]}, "a text block must be included"),
    ({"messages": [user({"text": "x"}, DOCUMENT, DOCUMENT)]}, "duplicate document names"),
    ({"messages": [user({"text": "x"}, {"document": {**DOCUMENT["document"], "name": "a.pdf"}})]}, "file name can only"),
    ({"messages": [user({"image": {**PICTURE["image"], "format": "bmp"}})]}, "enum value set"),
    ({"messages": [user({"image": {"format": "png", "source": {"bytes": "%"}}})]}, "is not base64"),
    ({"messages": [user(POINT, {"text": "x"})]}, "cachePoint cannot be inserted"),
    ({"messages": [user({"text": "x"}, *[POINT] * 5)]}, "maximum of 4 cachePoint"),
    ({"messages": [USER, said({"text": "x "})]}, "trailing whitespace"),
    ({"messages": [USER, said({"reasoningContent": {"reasoningText": {"text": "other", "signature": "x"}}}), USER]}, "Invalid `signature`"),
    ({"toolConfig": {"tools": []}}, "length greater than or equal to 1"),
    ({"toolConfig": {"tools": [{"toolSpec": {**SPEC, "name": "a b"}}]}}, "regular expression"),
    ({"toolConfig": {"tools": [{"toolSpec": {**SPEC, "inputSchema": {"json": {}}}}]}}, "must be one of the following: object"),
    ({"toolConfig": {**TOOLS["toolConfig"], "toolChoice": {"tool": {"name": "g"}}}}, "is not defined"),
    ({"inferenceConfig": {"temperature": 1.5}}, "less than or equal to 1"),
    ({"inferenceConfig": {"maxTokens": 0}}, "greater than or equal to 1"),
    ({"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
      "inferenceConfig": {"temperature": 0.5}}, "may only be set to 1"),
]  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name):
    assert find_problem(request(ACCEPTED[name]), MODEL) is None


@pytest.mark.parametrize(("change", "words"), REJECTED)
def test_rejected(change, words):
    assert words in find_problem(request(change), MODEL)


# -- botocore as the client --------------------------------------------------------------------------------------------


def with_client(work, **credentials):
    """Run `work(client, mock)` in a thread, because botocore blocks."""

    async def main():
        mock = await start("bedrock")
        keys = {"aws_access_key_id": AWS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": AWS["AWS_SECRET_ACCESS_KEY"],
                **credentials}  # fmt: skip
        try:
            config = Config(retries={"total_max_attempts": 1}, proxies={})
            session = botocore.session.Session()
            client = session.create_client(
                "bedrock-runtime", region_name="eu-west-1", endpoint_url=mock.url, config=config, **keys
            )
            await asyncio.to_thread(work, client, mock)
            client.close()
        finally:
            await mock.close()

    run(main())


@pytest.mark.parametrize("model", [MODEL, PROFILE])
def test_botocore_converses_with_the_mock(model):
    def work(client, mock):
        response = client.converse(modelId=model, messages=[USER], inferenceConfig={"maxTokens": 3})
        assert response["output"]["message"] == said({"text": "a mock answer"})
        assert (response["stopReason"], response["metrics"]) == ("max_tokens", {"latencyMs": 42})
        assert mock.last["path"] == f"/model/{quote(model, safe='')}/converse"
        fields = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        response = client.converse_stream(
            modelId=model, messages=[USER], additionalModelRequestFields=fields, toolConfig=TOOLS["toolConfig"]
        )
        events = list(response["stream"])
        kinds = [name for event in events for name in event]
        assert (kinds[0], kinds[-2:]) == ("messageStart", ["messageStop", "metadata"])
        assert {"start": {"toolUse": {"toolUseId": events[-6]["contentBlockStart"]["start"]["toolUse"]["toolUseId"], "name": "f"}},
                "contentBlockIndex": 1} in [event.get("contentBlockStart") for event in events]  # fmt: skip
        assert events[-1]["metadata"]["usage"]["totalTokens"] > 0

    with_client(work, aws_session_token="a/token+==")


def test_botocore_understands_the_errors_of_the_mock():
    def work(client, mock):
        with pytest.raises(client.exceptions.ValidationException, match="must alternate"):
            client.converse(modelId=MODEL, messages=[USER, USER])
        mock.set_fault("rate_limit", count=1)
        with pytest.raises(client.exceptions.ThrottlingException):
            client.converse(modelId=MODEL, messages=[USER])
        mock.set_fault("error_mid_stream", count=1)
        stream = client.converse_stream(modelId=MODEL, messages=[USER])["stream"]
        with pytest.raises(EventStreamError, match="internalServerException"):
            list(stream)
        stream.close()
        with pytest.raises(ClientError, match="model identifier is invalid"):
            client.converse(modelId="nonsense", messages=[USER])

    with_client(work)


def test_botocore_gets_embeddings_from_the_mock():
    def work(client, mock):
        body = json.dumps({"inputText": "a", "dimensions": 256})
        response = client.invoke_model(
            modelId="amazon.titan-embed-text-v2:0", body=body, contentType="application/json"
        )
        assert len(json.loads(response["body"].read())["embedding"]) == 256
        with pytest.raises(client.exceptions.ValidationException, match="extraneous key"):
            client.invoke_model(modelId="amazon.titan-embed-text-v2:0", body='{"texts": ["a"]}')

    with_client(work)


@pytest.mark.parametrize(
    ("credentials", "kind"),
    [
        ({"aws_secret_access_key": "another"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "bad-key"}, "UnrecognizedClientException"),
        ({"aws_session_token": "until-1000000000"}, "ExpiredTokenException"),
    ],
)
def test_bad_credentials_are_reported_to_botocore(credentials, kind):
    def work(client, mock):
        with pytest.raises(ClientError) as caught:
            client.converse(modelId=MODEL, messages=[USER])
        assert caught.value.response["Error"]["Code"] == kind

    with_client(work, **credentials)


@pytest.mark.parametrize(
    ("authorization", "kind"),
    [
        ("", "MissingAuthenticationTokenException"),
        ("AWS4-HMAC-SHA256 Credential=x", "MissingAuthenticationTokenException"),
        ("Bearer bad-key", "UnrecognizedClientException"),
        ("Bearer key", None),
    ],
)
def test_authorization(authorization, kind):
    request = MockRequest("POST", f"/model/{MODEL}/converse", {"authorization": authorization}, {}, 1, 10)
    assert (check_authorization(request) or (None,))[0] == kind


@pytest.mark.parametrize("path", ["/", "/model/x.y/else", "/v1/chat/completions", "/model//converse"])
def test_unknown_paths_are_rejected(path):
    response = bedrock_server.API.respond(MockRequest("POST", path, {"authorization": "Bearer k"}, {}, 1, 10))
    assert response.status in (400, 404)
