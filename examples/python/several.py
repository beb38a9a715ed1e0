"""Questions to several providers at once, with the asynchronous client; the header says who answered each."""

import asyncio
import os

from openai import AsyncOpenAI

MODELS = ("gpt-5.4", "claude-sonnet-5", "gemini-3.8-flash", "mistral-large-latest")


async def ask(client: AsyncOpenAI, model: str) -> str:
    answer = await client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": "Hello!"}],
    )
    text = answer.parse().choices[0].message.content
    return f"{model}, answered by {answer.headers['x-nulpoint-provider']}: {text}"


async def main() -> None:
    url = os.environ.get("NULPOINT_URL", "http://localhost:8080/v1")
    async with AsyncOpenAI(base_url=url, api_key="any-string") as client:
        for line in await asyncio.gather(*(ask(client, model) for model in MODELS)):
            print(line)


asyncio.run(main())
