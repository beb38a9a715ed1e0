"""Prints a response as it streams, from a model of another provider: only the model name differs."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("NULPOINT_URL", "http://localhost:8080/v1"), api_key="any-string")

stream = client.chat.completions.create(
    model="claude-sonnet-5",
    messages=[{"role": "user", "content": "Tell me something."}],
    stream=True,
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
print()
