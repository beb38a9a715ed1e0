"""What goes wrong at a provider, as the official SDK tells its caller: class, code, message, the wait."""

import openai
import pytest

from support.sdk_conversation import ONE_A_PROVIDER, talk

WORDS = "a mock answer made of plain words that mean nothing"
SHOWN = {
    400: (openai.BadRequestError, 400),
    401: (openai.AuthenticationError, 401),
    403: (openai.AuthenticationError, 401),
    404: (openai.NotFoundError, 404),
    409: (openai.ConflictError, 409),
    422: (openai.BadRequestError, 400),
    429: (openai.RateLimitError, 429),
    500: (openai.InternalServerError, 502),
    503: (openai.InternalServerError, 502),
    529: (openai.InternalServerError, 502),
}

each = pytest.mark.parametrize("row", ONE_A_PROVIDER, ids=[row.provider for row in ONE_A_PROVIDER])
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
# One attempt: what is tried again, and elsewhere, has tests of its own.
ONCE = {"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1000"}


@each
@both_ways
def test_every_status(row, streamed):
    async def use(talk):
        for status, (kind, shown) in SHOWN.items():
            talk.mock.set_fault("status", arg=status)
            with pytest.raises(kind) as failed:
                await talk.ask("hello")
            error = failed.value
            assert (status, error.status_code) == (status, shown)
            assert error.body["message"] == f"The mock was told to answer {status}."
            assert error.body["type"]
            assert error.response.headers["x-nulpoint-provider"] == row.provider
        talk.mock.clear()
        assert (await talk.ask("hello"))[0].content == WORDS

    talk(row, streamed, use, ONCE)


@each
@both_ways
def test_a_rate_limit_says_how_long_to_wait(row, streamed):
    async def use(talk):
        talk.mock.set_fault("rate_limit", arg=7)
        with pytest.raises(openai.RateLimitError) as limited:
            await talk.ask("hello")
        assert limited.value.response.headers["retry-after"] == "7"
        assert "limit" in limited.value.message.lower() or "quota" in limited.value.message

    talk(row, streamed, use, ONCE)


@each
def test_a_key_the_provider_refuses(row):
    async def use(talk):
        with pytest.raises(openai.AuthenticationError) as refused:
            await talk.ask("hello")
        assert "key" in refused.value.message.lower()
        assert "bad-key" not in str(refused.value.body)

    name = {"gemini": "GOOGLE"}.get(row.provider, row.provider.upper())
    talk(row, False, use, {**ONCE, f"{name}_API_KEY": "bad-key"})


@each
@both_ways
def test_a_model_the_provider_does_not_know(row, streamed):
    async def use(talk):
        # Mistral says 400 where the others say 404.
        with pytest.raises((openai.NotFoundError, openai.BadRequestError), match="no-such-model"):
            await talk.ask("hello")

    talk(row._replace(model=f"{row.provider}/no-such-model"), streamed, use, ONCE)


BOGUS = {
    "anthropic": "bogus: Extra inputs are not permitted",
    "gemini": 'Unknown name "bogus": Cannot find field.',
    "mistral": "Extra inputs are not permitted",
}


@pytest.mark.parametrize("row", [row for row in ONE_A_PROVIDER if row.provider in BOGUS], ids=list(BOGUS))
@both_ways
def test_what_the_provider_refuses_is_told_in_its_own_words(row, streamed):
    async def use(talk):
        with pytest.raises(openai.BadRequestError) as refused:
            await talk.ask("hello", extra_body={"bogus": 1})
        assert BOGUS[row.provider] in refused.value.body["message"]
        assert talk.mock.requests == 1

    talk(row, streamed, use, ONCE)


@each
@pytest.mark.parametrize("fault", ["error_mid_stream", "cut_mid_stream", "reset_mid_stream", "end_mid_stream"])
def test_a_stream_that_breaks_is_never_a_whole_answer(row, fault):
    async def use(talk):
        talk.mock.set_fault(fault, arg=6)
        chunks = []
        stream = await talk.client.chat.completions.create(
            model=row.model,
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        with pytest.raises(openai.APIError) as broken:
            async for chunk in stream:
                chunks.append(chunk)
        assert broken.value.message
        said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert said
        assert WORDS.startswith(said)
        assert said != WORDS
        assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)
        assert not any(chunk.usage for chunk in chunks)

    talk(row, True, use, ONCE)


@each
def test_a_stream_that_begins_with_an_error(row):
    async def use(talk):
        talk.mock.set_fault("error_first", arg=503)
        with pytest.raises(openai.APIError) as failed:
            await talk.ask("hello")
        assert talk.chunks == []
        if row.provider != "gemini":  # its error is no event, and is taken for a stream that was cut
            assert "Overloaded" in failed.value.message

    talk(row, True, use, ONCE)


@each
@pytest.mark.parametrize("fault", ["malformed_json", "html_error", "error_in_200", "close_before_head"])
def test_answers_that_are_none(row, fault):
    async def use(talk):
        talk.mock.set_fault(fault)
        with pytest.raises(openai.InternalServerError) as failed:
            await talk.ask("hello")
        assert failed.value.status_code in (502, 503)
        assert "<" not in failed.value.body["message"]

    talk(row, False, use, ONCE)
