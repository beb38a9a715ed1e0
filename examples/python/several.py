"""Asks several providers at once with the asynchronous client. A response header says which provider answered."""

import asyncio
import os

from openai import AsyncOpenAI

MODELS = ("gpt-5.4", "claude-sonnet-5", "gemini-3.8-flash", "mistral-large-latest")


async def ask(client: AsyncOpenAI, model: str) -> str:
    response = await client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": "Hello!"}],
    )
    text = response.parse().choices[0].message.content
    return f"{model}, answered by {response.headers['x-nulpoint-provider']}: {text}"


async def main() -> None:
    url = os.environ.get("NULPOINT_URL", "http://localhost:8080/v1")
    async with AsyncOpenAI(base_url=url, api_key="any-string") as client:
        for line in await asyncio.gather(*(ask(client, model) for model in MODELS)):
            print(line)


asyncio.run(main())
