"""Sends one message and prints the response, using the `openai` package."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("NULPOINT_URL", "http://localhost:8080/v1"), api_key="any-string")

response = client.chat.completions.create(
    model="gpt-5.4",
    messages=[{"role": "user", "content": "Hello!"}],
)
print(response.choices[0].message.content)
print(f"{response.usage.prompt_tokens} tokens in, {response.usage.completion_tokens} out, answered by {response.model}")
