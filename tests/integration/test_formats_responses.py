"""What comes back beside text and calls, in OpenAI's own places: probabilities, citations, a provider's own words for
what broke. Through the official SDK, to mocks that tell them in their providers' ways.
"""

import openai
import pytest

from support.sdk_conversation import ROWS, Row, talk

GEMINI = tuple(row for row in ROWS if row.provider == "gemini")
WORDS = "a mock answer made of plain words that mean nothing"
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@both_ways
def test_gemini_s_probabilities(streamed):
    """The Gemini API itself has none: only Vertex AI does."""

    async def use(talk):
        choice = (await talk.complete("hello", logprobs=True, top_logprobs=1)).choices[0]
        assert "".join(token.token for token in choice.logprobs.content) == WORDS
        assert choice.logprobs.content[0].logprob == -0.1
        assert choice.logprobs.content[0].top_logprobs[0].token == "a"

    talk(Row("vertexai", "vertexai-gemini-2.5-flash"), streamed, use)


@pytest.mark.parametrize("row", GEMINI, ids=[row.model for row in GEMINI])
@both_ways
def test_gemini_s_sources(row, streamed):
    async def use(talk):
        message, _ = await talk.ask("hello", tools=[{"googleSearch": {}}])
        (one,) = message.annotations
        cited = one["url_citation"] if isinstance(one, dict) else one.url_citation.model_dump()
        assert (cited["url"], cited["title"]) == ("https://example.com/mock", "The mock encyclopedia")
        assert message.content[cited["start_index"] : cited["end_index"]] == message.content

    talk(row, streamed, use)


@pytest.mark.parametrize("row", ROWS, ids=[row.model for row in ROWS])
def test_a_broken_stream_says_what_the_provider_said(row):
    async def use(talk):
        talk.mock.set_fault("error_mid_stream", arg=6)
        with pytest.raises(openai.APIError, match=r"The server had an error while processing your request\."):
            await talk.ask("hello")
        talk.mock.set_fault("error_first", arg=503)
        with pytest.raises(openai.InternalServerError, match="Overloaded"):
            await talk.ask("hello")

    talk(row, True, use, {"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1000"})
