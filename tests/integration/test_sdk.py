"""The official `openai` SDK, sync and async, end to end: what our users run."""

import asyncio

import openai
import pytest
from pydantic import BaseModel

from support.event_loop import run
from support.running_gateway import gateway

HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("weather", "time")
]


class City(BaseModel):
    name: str
    people: int


def with_client(use, names=("openai", "anthropic", "gemini", "mistral"), **settings):
    """Run `use(client)` with the async SDK against a gateway."""

    async def main():
        async with gateway(settings, names=names) as running:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0) as client:
                await use(client)

    run(main())


@pytest.mark.parametrize("model", ["gpt-4o", "claude-haiku-4-5", "gemini-3.8-flash", "mistral-large"])
def test_chat_and_stream(model):
    async def use(client):
        whole = await client.chat.completions.create(model=model, messages=HELLO)
        stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == whole.choices[0].message.content
        assert whole.usage.total_tokens > 0

    with_client(use)


def test_a_tool_loop_of_three_turns_with_parallel_calls():
    async def use(client):
        messages = [{"role": "user", "content": "in parallel please"}]
        first = (await client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)).choices[0]
        assert first.finish_reason == "tool_calls"
        assert [call.function.name for call in first.message.tool_calls] == ["weather", "time"]
        messages.append(first.message)
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in first.message.tool_calls]
        last = (await client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)).choices[0]
        assert last.finish_reason == "stop"

    with_client(use)


def test_streamed_tool_calls_add_up():
    async def use(client):
        async with client.chat.completions.stream(model="gpt-4o", messages=HELLO, tools=TOOLS) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.tool_calls[0].function.arguments == '{"city":"text"}'

    with_client(use)


def test_vision_structured_outputs_choices_and_unknown_fields():
    async def use(client):
        parts = [
            {"type": "text", "text": "what"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]
        seen = await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": parts}], n=3)
        assert [choice.index for choice in seen.choices] == [0, 1, 2]
        parsed = await client.chat.completions.parse(
            model="gpt-4o", messages=HELLO, response_format=City, extra_body={"later": 1}
        )
        assert parsed.choices[0].message.parsed == City(name="text", people=1)

    with_client(use)


def test_embeddings_of_every_shape():
    async def use(client):
        for given, count in (("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2]], 2)):
            answer = await client.embeddings.create(model="text-embedding-3-small", input=given, dimensions=8)
            assert [len(one.embedding) for one in answer.data] == [8] * count
        packed = await client.embeddings.create(
            model="text-embedding-3-small", input="a", encoding_format="base64", dimensions=8
        )
        assert isinstance(packed.data[0].embedding, str)
        plain = await client.embeddings.create(
            model="text-embedding-3-small", input="a", encoding_format="float", dimensions=8
        )
        default = await client.embeddings.create(model="text-embedding-3-small", input="a", dimensions=8)
        assert plain.data[0].embedding == pytest.approx(default.data[0].embedding)
        assert len((await client.embeddings.create(model="gemini-embedding-001", input="a")).data) == 1
        with pytest.raises(openai.BadRequestError, match="text-embedding-3-small"):
            await client.embeddings.create(model="claude-3-opus", input="a")

    with_client(use)


def test_legacy_completions_real_and_through_chat():
    async def use(client):
        real = await client.completions.create(model="gpt-oss-20b", prompt="hi")
        through = await client.completions.create(model="claude-haiku-4-5", prompt="hi")
        assert real.choices[0].text == through.choices[0].text
        assert through.object == "text_completion"
        stream = await client.completions.create(model="claude-haiku-4-5", prompt="hi", stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == through.choices[0].text
        with pytest.raises(openai.BadRequestError, match="suffix"):
            await client.completions.create(model="claude-haiku-4-5", prompt="hi", suffix="x")

    with_client(use)


def test_errors_are_the_sdk_s_own():
    async def main():
        async with gateway({"MAX_RETRIES": "1"}, names=("openai",)) as running:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0) as client:
                with pytest.raises(openai.NotFoundError) as missing:
                    await client.chat.completions.create(model="no-such-model", messages=HELLO)
                assert missing.value.code == "model_not_found"
                with pytest.raises(openai.BadRequestError) as wrong:
                    await client.chat.completions.create(model="gpt-4o", messages=[])
                assert wrong.value.param == "messages"
                for status, kind in (
                    (401, openai.AuthenticationError),
                    (429, openai.RateLimitError),
                    (500, openai.InternalServerError),
                ):
                    running.mock.set_fault("status", 1, arg=status)
                    with pytest.raises(kind):
                        await client.chat.completions.create(model="gpt-4o", messages=HELLO)

    run(main())


def test_models():
    async def use(client):
        assert "gpt-5.4" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("gpt-4o")).owned_by == "openai"

    with_client(use)


def test_the_sync_sdk():
    def use(url):
        with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            whole = client.chat.completions.create(model="gpt-4o", messages=HELLO)
            stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.choices[0].message.content

    async def main():
        async with gateway() as running:
            await asyncio.to_thread(use, running.url)

    run(main())


def azure(port, **how):
    """Return a client of the class for Azure OpenAI, with the gateway as its endpoint."""
    return openai.AsyncAzureOpenAI(
        azure_endpoint=f"http://127.0.0.1:{port}", api_key="any", api_version="2024-10-21", max_retries=0, **how
    )


@pytest.mark.parametrize("deployment", [None, "gpt-4o"], ids=["by request", "by client"])
def test_the_class_for_azure(deployment):
    async def main():
        async with gateway() as running, azure(running.port, azure_deployment=deployment) as client:
            whole = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
            stream = await client.chat.completions.create(
                model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "".join(pieces) == whole.choices[0].message.content
            assert chunks[-1].usage == whole.usage
            assert (await client.completions.create(model="gpt-oss-20b", prompt="a")).choices[0].text
            assert not (await client.moderations.create(input="fine")).results[0].flagged
            assert (await client.models.retrieve("gpt-5.4")).owned_by == "openai"
            assert "gpt-5.4" in [model.id async for model in await client.models.list()]

    run(main())


def test_the_class_for_azure_embeds_and_names_other_providers():
    async def main():
        async with gateway(names=("openai", "anthropic")) as running, azure(running.port) as client:
            vectors = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=8)
            assert [len(each.embedding) for each in vectors.data] == [8, 8]
            message = await client.chat.completions.create(model="anthropic/claude-sonnet-5", messages=HELLO)
            assert message.model == "claude-sonnet-5"
            with pytest.raises(openai.BadRequestError, match="anthropic has no embeddings"):
                await client.embeddings.create(model="claude-sonnet-5", input="a")
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="no-such-model", messages=HELLO)

    run(main())


def test_the_class_for_azure_sends_the_gateway_key():
    async def main():
        async with gateway({"GATEWAY_API_KEYS": "any"}) as running, azure(running.port) as client:
            assert (await client.chat.completions.create(model="gpt-4o", messages=HELLO)).choices
            with pytest.raises(openai.AuthenticationError):
                await client.with_options(api_key="other").chat.completions.create(model="gpt-4o", messages=HELLO)

    run(main())
