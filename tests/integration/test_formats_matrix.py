"""Every provider, every kind of request, whole and streamed: through the official SDK to mocks as strict as the real.

What is asserted is what a caller would see: the texts, calls and numbers themselves. That signatures, ids and pairs came
back to the provider as they must is the mocks' to say: they refuse what is not so.
"""

import json

import openai
import pytest
from pydantic import BaseModel, ConfigDict

from support.event_loop import run
from support.running_gateway import gateway
from support.sdk_conversation import (
    ARGUMENTS,
    CLOUDS,
    ONE_A_PROVIDER,
    PDF,
    PNG,
    ROWS,
    STRANGE,
    TOOLS,
    Row,
    answered,
    sdk,
    talk,
)
from support.tool_loop import calls_of, tool_loop

WORDS = "a mock answer made of plain words that mean nothing"


EVERYBODY = (*ROWS, *CLOUDS)


def matrix(rows=EVERYBODY):
    """A test for each row, whole and streamed."""
    names = [row.model for row in rows]
    by_row = pytest.mark.parametrize("row", rows, ids=names)
    by_way = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
    return lambda test: by_row(by_way(test))


def of(*providers):
    return tuple(row for row in EVERYBODY if row.speaks in providers)


def thinkers():
    """The rows whose models think and show it, with one of Mistral's models that does."""
    return (*of("anthropic", "gemini"), Row("mistral", "mistral-medium-latest"))


# -- text --------------------------------------------------------------------------------------------------------------


@matrix()
def test_text(row, streamed):
    async def use(talk):
        messages = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}]
        message, finish = await talk.ask([*messages, {"role": "user", "content": "hello"}])
        assert (message.role, message.content, finish) == ("assistant", WORDS, "stop")
        assert message.tool_calls is None
        assert talk.usage.prompt_tokens > 0
        assert talk.usage.completion_tokens > 0
        assert talk.usage.total_tokens == talk.usage.prompt_tokens + talk.usage.completion_tokens
        assert talk.headers["x-nulpoint-provider"] == row.provider
        assert talk.dropped == []
        assert "Be brief." in str(talk.sent())
        assert "Be kind." in str(talk.sent())

    talk(row, streamed, use)


@pytest.mark.parametrize("row", EVERYBODY, ids=[row.model for row in EVERYBODY])
def test_the_chunks_of_a_stream(row):
    async def use(talk):
        await talk.complete("hello")
        *chunks, usage = _without_preamble(row, talk.chunks)
        assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in [*chunks, usage]}) == 1
        assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices[0].delta.role] == ["assistant"]
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
        assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 10  # a word each, as they came
        assert usage.choices == []
        await talk.complete("hello", stream_options=None)
        assert [chunk.usage for chunk in talk.chunks if chunk.usage] == []
        assert all(chunk.choices for chunk in _without_preamble(row, talk.chunks))

    talk(row, True, use)


def _without_preamble(row, chunks):
    """Azure's first chunk has no choice, but what the filters say of the prompt."""
    if row.provider != "azure":
        return chunks
    assert chunks[0].choices == []
    assert chunks[0].prompt_filter_results[0]["content_filter_results"]["hate"]["severity"] == "safe"
    assert chunks[2].choices[0].content_filter_results["violence"] == {"filtered": False, "severity": "safe"}
    return chunks[1:]


@matrix()
def test_how_an_answer_ends(row, streamed):
    async def use(talk):
        message, finish = await talk.ask("hello", max_completion_tokens=3)
        assert (message.content, finish) == ("a mock answer", "length")
        message, finish = await talk.ask("hello", stop=[" answer"])
        assert (message.content, finish) == ("a mock", "stop")
        message, finish = await talk.ask("please refuse")
        if row.speaks == "mistral":  # has no word for it
            assert (message.content, finish) == ("I will not answer that.", "stop")
        elif row.provider == "bedrock":  # says it as text
            assert (message.content, finish) == ("I will not answer that.", "content_filter")
        else:
            assert (message.content or "", finish) == ("", "stop" if row.speaks == "openai" else "content_filter")
            assert message.refusal

    talk(row, streamed, use)


# -- tools -------------------------------------------------------------------------------------------------------------


@matrix()
def test_a_tool_loop_of_three_turns(row, streamed):
    talk(row, streamed, tool_loop)


@matrix(thinkers())
def test_a_tool_loop_of_three_turns_with_reasoning(row, streamed):
    talk(row, streamed, lambda talk: tool_loop(talk, reasoning_effort="high"))  # a level that all of them have


@matrix()
def test_parallel_calls_whose_results_come_in_another_order(row, streamed):
    async def use(talk):
        messages = [{"role": "user", "content": "in parallel"}]
        message, finish = await talk.ask(messages, tools=TOOLS)
        assert finish == "tool_calls"
        assert message.content == "I ask for all of it at once."
        assert calls_of(message) == list(ARGUMENTS.items())
        assert len({call.id for call in message.tool_calls}) == 2
        weather, time = answered([], message, "21 degrees", "nine")[1:]
        message, finish = await talk.ask([*messages, message, time, weather], tools=TOOLS)
        assert finish == "stop"
        assert "21 degrees" in message.content
        assert "nine" in message.content
        message, _ = await talk.ask(messages, tools=TOOLS, parallel_tool_calls=False)
        cannot = row.speaks in ("bedrock", "gemini")
        assert len(message.tool_calls) == (2 if cannot else 1)
        assert talk.dropped == (["parallel_tool_calls"] if cannot else [])

    talk(row, streamed, use)


@matrix()
def test_the_choice_of_a_tool(row, streamed):
    async def use(talk):
        named = {"type": "function", "function": {"name": "time"}}
        # Claude and Bedrock have no way to allow some of the tools; forced by its name, one can be called.
        mode = "required" if row.speaks in ("anthropic", "bedrock") else "auto"
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named]}}
        for choice, name in (("auto", "weather"), ("required", "weather"), (named, "time")):
            message, _ = await talk.ask("hello", tools=TOOLS, tool_choice=choice)
            assert [name for name, _ in calls_of(message)] == [name]
        message, finish = await talk.ask("hello", tools=TOOLS, tool_choice="none")
        assert (message.content, message.tool_calls, finish) == (WORDS, None, "stop")
        if row.speaks != "openai":  # there it passes as it is, for OpenAI to judge
            message, _ = await talk.ask("hello", tools=TOOLS, tool_choice=allowed)
            assert [name for name, _ in calls_of(message)] == ["time"]

    talk(row, streamed, use)


# -- what is shown -----------------------------------------------------------------------------------------------------


@matrix()
def test_an_image_and_a_document(row, streamed):
    async def use(talk):
        parts = [
            {"type": "text", "text": "what is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        ]
        if row.provider in ("bedrock", "vertexai-claude"):  # they fetch nothing from the web
            with pytest.raises(openai.BadRequestError, match="must be a data URL"):
                await talk.ask([{"role": "user", "content": parts}])
            del parts[2]
            message, _ = await talk.ask([{"role": "user", "content": parts}])
            assert "image/png of 70 bytes, application/pdf of 9 bytes" in message.content
            return
        message, _ = await talk.ask([{"role": "user", "content": parts}])
        assert "image/png of 70 bytes, https://example.com/cat.png, application/pdf of 9 bytes" in message.content

    talk(row, streamed, use)


@matrix()
def test_sound(row, streamed):
    async def use(talk):
        parts = [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]
        asked = talk.ask([{"role": "user", "content": [{"type": "text", "text": "listen"}, *parts]}])
        if row.speaks == "anthropic":
            with pytest.raises(openai.BadRequestError, match="audio"):
                await asked
            assert talk.mock.requests == 0
        else:
            message, _ = await asked
            assert "audio/wav of 4 bytes" in message.content

    talk(row, streamed, use)


# -- JSON --------------------------------------------------------------------------------------------------------------


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    count: int


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid")
    leaves: list[Leaf]
    tall: bool
    note: str | None


@pytest.mark.parametrize("row", EVERYBODY, ids=[row.model for row in EVERYBODY])
def test_an_answer_by_schema(row):
    async def use(talk):
        asked = {"model": row.model, "messages": [{"role": "user", "content": "hi"}], "response_format": Tree}
        parsed = (await talk.client.chat.completions.parse(**asked)).choices[0].message.parsed
        assert parsed == Tree(leaves=[Leaf(name="text", count=1)], tall=True, note="text")
        async with talk.client.chat.completions.stream(**asked) as stream:
            assert (await stream.get_final_completion()).choices[0].message.parsed == parsed

    talk(row, False, use)


@matrix(of("openai", "gemini", "mistral"))
def test_any_json(row, streamed):
    async def use(talk):
        message, _ = await talk.ask("some json please", response_format={"type": "json_object"})
        assert json.loads(message.content) == {"answer": "text"}

    talk(row, streamed, use)


# -- reasoning ---------------------------------------------------------------------------------------------------------


@matrix(thinkers())
def test_reasoning_comes_and_goes_back_as_it_came(row, streamed):
    async def use(talk):
        messages = [{"role": "user", "content": "in parallel"}]
        message, _ = await talk.ask(messages, tools=TOOLS, reasoning_effort="medium")
        thought = message.reasoning_content
        assert thought == 'The question is "in parallel", and 0 results are here.'
        assert message.content == "I ask for all of it at once."
        if row.speaks != "mistral":
            details = talk.usage.completion_tokens_details
            assert 0 < details.reasoning_tokens < talk.usage.completion_tokens
        assert talk.usage.total_tokens == talk.usage.prompt_tokens + talk.usage.completion_tokens
        await talk.ask(answered(messages, message, "21", "nine"), tools=TOOLS, reasoning_effort="medium")
        assert SENT_BACK[row.speaks](talk.sent()) == thought

    talk(row, streamed, use)


SENT_BACK = {
    "anthropic": lambda sent: sent["messages"][1]["content"][0]["thinking"],
    "gemini": lambda sent: "".join(part["text"] for part in sent["contents"][1]["parts"] if part.get("thought")),
    "mistral": lambda sent: sent["messages"][1]["content"][0]["thinking"][0]["text"],
}


@matrix(tuple(row for row in ROWS if row.model == "gemini-3-flash-preview"))
def test_a_signature_comes_back_with_its_call_alone(row, streamed):
    async def use(talk):
        messages = [{"role": "user", "content": "hello"}]
        message, _ = await talk.ask(messages, tools=TOOLS)
        call = message.tool_calls[0]
        signature = call.extra_content["google"]["thought_signature"]
        kept = {"role": "assistant", "content": None, "tool_calls": [call]}
        await talk.ask([*messages, kept, {"role": "tool", "tool_call_id": call.id, "content": "21"}], tools=TOOLS)
        assert talk.sent()["contents"][1]["parts"][0]["thoughtSignature"] == signature

    talk(row, streamed, use)


@matrix(thinkers())
def test_a_conversation_goes_on_with_a_caller_who_keeps_only_what_openai_has(row, streamed):
    async def use(talk):
        asked = {"tools": TOOLS, "reasoning_effort": "low"}
        messages = [{"role": "user", "content": "hello"}]
        message, _ = await talk.ask(messages, **asked)
        call = message.tool_calls[0]
        plain = {
            "role": "assistant",
            "content": message.content,
            "tool_calls": [
                {"id": call.id, "type": "function", "function": call.function.model_dump(include={"name", "arguments"})}
            ],
        }
        result = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
        message, finish = await talk.ask([*messages, plain, result], **asked)
        assert finish == "stop"
        assert "21 degrees" in message.content

    talk(row, streamed, use)


# -- what a provider does by itself, counts, several answers -----------------------------------------------------------


@matrix(of("anthropic"))
def test_anthropic_s_own_search(row, streamed):
    async def use(talk):
        messages = [{"role": "user", "content": "hello"}]
        search = {"type": "web_search_20250305", "name": "web_search"}
        message, finish = await talk.ask(messages, tools=[search])
        assert (message.tool_calls, finish) == (None, "stop")
        assert message.content == "A mock is a thing that stands in for another."
        cited = [
            one["url_citation"] if isinstance(one, dict) else one.url_citation.model_dump()
            for one in message.annotations
        ]
        assert [one["url"] for one in cited] == ["https://example.com/mock"]
        kinds = [block["type"] for block in message.provider_specific_fields["anthropic"]["content"]]
        assert kinds == ["server_tool_use", "web_search_tool_result", "text"]
        await talk.ask([*messages, message, {"role": "user", "content": "and?"}], tools=[search])
        assert [block["type"] for block in talk.sent()["messages"][1]["content"]] == kinds

    talk(row, streamed, use)


@matrix(of("gemini"))
def test_gemini_s_own_search(row, streamed):
    async def use(talk):
        message, finish = await talk.ask("hello", tools=[{"googleSearch": {}}])
        assert (message.tool_calls, finish) == (None, "stop")
        grounding = message.provider_specific_fields["gemini"]["groundingMetadata"]
        assert grounding["webSearchQueries"] == ["hello"]

    talk(row, streamed, use)


@matrix()
def test_what_is_cached_is_counted(row, streamed):
    async def use(talk):
        part = {"type": "text", "text": "hello " * 900}
        asked = {
            "anthropic": {},
            "bedrock": {},
            "gemini": {"extra_body": {"cachedContent": "cachedContents/x"}},
            "mistral": {"prompt_cache_key": "x"},
            "openai": {},
        }[row.speaks]
        if row.speaks in ("anthropic", "bedrock"):
            part["cache_control"] = {"type": "ephemeral"}
        first = [{"role": "user", "content": [part]}]
        message, _ = await talk.ask(first, **asked)
        if row.speaks == "anthropic":
            assert talk.usage.prompt_tokens_details.cache_write_tokens > 0
        await talk.ask([*first, message, {"role": "user", "content": "and?"}], **asked)
        assert 0 < talk.usage.prompt_tokens_details.cached_tokens < talk.usage.prompt_tokens

    talk(row, streamed, use)


@matrix()
def test_several_answers(row, streamed):
    async def use(talk):
        asked = talk.complete("hello", n=2)
        if row.speaks in ("anthropic", "bedrock") or row.provider == "gemini":
            with pytest.raises(openai.BadRequestError, match="one response"):
                await asked
            assert talk.mock.requests == 0
        else:
            choices = (await asked).choices
            assert [choice.index for choice in choices] == [0, 1]
            assert [(choice.message.content, choice.finish_reason) for choice in choices] == [(WORDS, "stop")] * 2

    talk(row, streamed, use)


@matrix(of("openai", "mistral"))
def test_probabilities(row, streamed):
    async def use(talk):
        choice = (await talk.complete("hello", logprobs=True, top_logprobs=1)).choices[0]
        assert "".join(token.token for token in choice.logprobs.content) == WORDS
        assert choice.logprobs.content[0].top_logprobs[0].logprob == -0.1

    talk(row, streamed, use)


@matrix()
def test_a_provider_s_own_members_pass(row, streamed):
    own = {
        "openai": {"later": 1},
        "anthropic": {"metadata": {"user_id": "u"}, "inference_geo": "eu"},
        "bedrock": {"requestMetadata": {"team": "a"}, "performanceConfig": {"latency": "optimized"}},
        "gemini": {"safetySettings": [{"category": "X", "threshold": "Y"}]},
        "mistral": {"safe_prompt": True},
    }[row.speaks]

    async def use(talk):
        await talk.ask("hello", extra_body=own)
        assert own.items() <= talk.sent().items()

    talk(row, streamed, use)


# -- what cannot be said ------------------------------------------------------------------------------------------------

LOST = {
    "anthropic": {"seed": 1, "logit_bias": {"5": 1}, "frequency_penalty": 0.5},
    "gemini": {"logit_bias": {"5": 1}, "user": "u"},
    "mistral": {"logit_bias": {"5": 1}, "verbosity": "low"},
}
TRANSLATED = [row for row in (*ONE_A_PROVIDER, *CLOUDS) if row.speaks in LOST]


@matrix(TRANSLATED)
def test_what_is_lost_is_named(row, streamed):
    async def use(talk):
        message, _ = await talk.ask("hello", **LOST[row.speaks])
        assert message.content == WORDS
        assert talk.dropped == sorted(LOST[row.speaks])

    talk(row, streamed, use)


@matrix(TRANSLATED)
@pytest.mark.parametrize("by", ["setting", "header"])
def test_what_would_be_lost_is_refused_before_any_call(row, streamed, by):
    async def use(talk):
        with pytest.raises(openai.BadRequestError) as refused:
            await talk.ask("hello", **LOST[row.speaks])
        assert refused.value.code == "unsupported_parameter"
        assert refused.value.param in LOST[row.speaks]
        assert row.provider in refused.value.message
        assert all(name in refused.value.message for name in LOST[row.speaks])
        assert talk.mock.requests == 0
        await talk.ask("hello")
        assert talk.mock.requests == 1

    settings = {"STRICT_PARAMS": "true"} if by == "setting" else {}
    talk(row, streamed, use, settings, {"x-nulpoint-strict": "true"} if by == "header" else None)


def test_a_conversation_that_moves_from_provider_to_provider():
    """Each takes the history the others have left: ids, signatures and extra fields of all kinds."""
    models = ["gemini-3-flash-preview", "mistral-large-latest", "claude-haiku-4-5", "gpt-4o", "gemini-2.5-flash"]

    async def main():
        names = ("openai", "anthropic", "gemini", "mistral")
        async with gateway(names=names) as running:
            async with sdk(running.url) as client:
                messages = []
                for model in models * 2:
                    messages = await turn(client, model, messages)
                assert len(messages) == 4 * 2 * len(models)

    async def turn(client, model, messages):
        messages = [*messages, {"role": "user", "content": f"what says {STRANGE}?"}]
        message = (await client.chat.completions.create(model=model, messages=messages, tools=TOOLS)).choices[0].message
        messages = answered(messages, message, f"told by {model}")
        message = (await client.chat.completions.create(model=model, messages=messages, tools=TOOLS)).choices[0].message
        assert message.content == f"I was told: told by {model}."
        return [*messages, message]

    run(main())
