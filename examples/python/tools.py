"""Lets the model call a function of yours and use its result in the response."""

import json
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("NULPOINT_URL", "http://localhost:8080/v1"), api_key="any-string")

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def weather(city: str) -> str:
    return f"21 degrees and sunny in {city}"


messages = [{"role": "user", "content": "What is the weather in Lisbon?"}]
message = client.chat.completions.create(model="gpt-5.4", messages=messages, tools=TOOLS).choices[0].message
messages.append(message)
for call in message.tool_calls or []:
    result = weather(**json.loads(call.function.arguments))
    print(f"{call.function.name}({call.function.arguments}) = {result}")
    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
print(client.chat.completions.create(model="gpt-5.4", messages=messages, tools=TOOLS).choices[0].message.content)
