"""Requests that Gemini accepts, named by the rule that they just satisfy."""

from typing import Any

from nulpoint.mock.gemini.rules import SKIP_SIGNATURE, normalize, sign

FLASH, PRO, LITE, OLD = "gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-2.0-flash"
THREE, THREE_PRO, NEWEST = "gemini-3-flash-preview", "gemini-3-pro-preview", "gemini-3.7-flash"
CALL = {"functionCall": {"name": "f", "args": {"b": 1, "a": 2}}}
SIGNED = {**CALL, "thoughtSignature": sign(CALL)}
RESPONSE = {"functionResponse": {"name": "f", "response": {"output": 7}}}
TOOLS = {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": ["object", "null"]}}]}]}
TEXT = {"text": "hi"}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def config(**members: Any) -> dict[str, Any]:
    return {"generationConfig": members}


def declared(**schema: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]}


def thinking(**members: Any) -> Any:
    return config(thinkingConfig=members)


ACCEPTED = {
    "text": (FLASH, {}),
    "no role": (FLASH, {"contents": [{"parts": [TEXT]}]}),
    "snake_case, and an item instead of a list": (
        FLASH,
        {"contents": {"parts": TEXT}, "system_instruction": {"parts": TEXT}, "generation_config": {"top_p": 0.5}},
    ),
    "tool loop": (FLASH, {"contents": [user(TEXT), model(CALL), user(RESPONSE)], **TOOLS}),
    "responses in adjacent messages": (
        FLASH,
        {"contents": [user(TEXT), model(CALL, CALL), user(RESPONSE), user(RESPONSE), user(TEXT)], **TOOLS},
    ),
    "signed on 3": (THREE, {"contents": [user(TEXT), model(SIGNED, CALL), user(RESPONSE, RESPONSE)], **TOOLS}),
    "members in another order": (
        THREE,
        {
            "contents": [
                user(TEXT),
                model({**SIGNED, "functionCall": {"name": "f", "args": {"a": 2, "b": 1}}}),
                user(RESPONSE),
            ],
            **TOOLS,
        },
    ),
    "lost signature": (
        THREE,
        {"contents": [user(TEXT), model({**CALL, "thoughtSignature": SKIP_SIGNATURE}), user(RESPONSE)], **TOOLS},
    ),
    "unsigned before the last question": (
        THREE,
        {"contents": [user(TEXT), model(CALL), user(RESPONSE), model(TEXT), user(TEXT)], **TOOLS},
    ),
    "schema": (FLASH, declared(type="object", properties={"a": {"type": "array", "items": {"type": "string"}}})),
    "no arguments": (FLASH, declared(type="object", properties={})),
    "thinking budget": (FLASH, thinking(thinkingBudget=0, includeThoughts=False)),
    "thinking level": (THREE, thinking(thinkingLevel="low")),
    "thinking budget on 3": (THREE, thinking(thinkingBudget=500)),
    "JSON": (FLASH, config(responseMimeType="application/json", responseJsonSchema={"type": "object", "$defs": {}})),
    "JSON and tools on 3": (THREE, {**config(responseMimeType="application/json"), **TOOLS}),
    "prefill on 2.5": (FLASH, {"contents": [user(TEXT), model(TEXT)]}),
    "tools of Google": (FLASH, {"tools": [{"googleSearch": {}}, {"codeExecution": {}}]}),
}


def request(change: Any) -> Any:
    body = {"contents": [user(TEXT)], **change}
    return normalize({name: value for name, value in body.items() if value is not None})
