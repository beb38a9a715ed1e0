"""The mock of Gemini rejects invalid requests, and accepts the same requests without the mistake."""

import pytest

from nulpoint.mock.gemini.rules import find_embedding_problem, find_problem
from support.mock_requests.gemini import (
    ACCEPTED,
    CALL,
    FLASH,
    LITE,
    NEWEST,
    OLD,
    PRO,
    RESPONSE,
    SIGNED,
    TEXT,
    THREE,
    THREE_PRO,
    TOOLS,
    config,
    declared,
    model,
    request,
    thinking,
    user,
)

REJECTED = [
    (FLASH, {"contents": []}, "contents is not specified"),
    (FLASH, {"contents": None}, "contents is not specified"),
    (FLASH, {"messages": []}, 'Unknown name "messages": Cannot find field.'),
    (FLASH, config(seed=1, logitBias={}), "Unknown name \"logitBias\" at 'generation_config': Cannot find field."),
    (FLASH, {"contents": [user({"text": "x", "type": "text"})]}, "Unknown name \"type\" at 'contents[0].parts[0]'"),
    (FLASH, {"contents": [{"role": "assistant", "parts": [TEXT]}]}, "Please use a valid role: user, model."),
    (FLASH, {"contents": [user()]}, "contents.parts must not be empty"),
    (FLASH, {"contents": [user({})]}, "required oneof field 'data' must have one initialized field"),
    (FLASH, {"contents": [user({**TEXT, **CALL})]}, "oneof field 'data' is already set"),
    (FLASH, {"contents": [model(CALL), user(RESPONSE)], **TOOLS}, "function call turn comes immediately after a user turn"),
    (FLASH, {"contents": [user(TEXT), user(RESPONSE)], **TOOLS}, "function response turn comes immediately after a function call turn"),
    (FLASH, {"contents": [user(TEXT), model(CALL, CALL), user(RESPONSE)], **TOOLS}, "number of function response parts is equal"),
    (FLASH, {"contents": [user(TEXT), model(CALL), user(TEXT)], **TOOLS}, "number of function response parts is equal"),
    (
        FLASH,
        {"contents": [user(TEXT), model(CALL), user({"functionResponse": {"name": "g", "response": {}}})], **TOOLS},
        "function response `g` answers a call",
    ),
    (
        FLASH,
        {"contents": [user(TEXT), model(CALL), user({"functionResponse": {"name": "f", "response": [1]}})], **TOOLS},
        "'contents[2].parts[0].function_response': Proto field is not repeating, cannot start list.",
    ),
    (
        FLASH,
        {"contents": [user(TEXT), model(CALL), user({"functionResponse": {"name": "f", "response": "x"}})], **TOOLS},
        "Invalid value at 'contents[2].parts[0].function_response.response'",
    ),
    (
        THREE,
        {
            "contents": [
                user(TEXT),
                model({**SIGNED, "functionCall": {**CALL["functionCall"], "id": "1"}}),
                user({"functionResponse": {**RESPONSE["functionResponse"], "id": "2"}}),
            ],
            **TOOLS,
        },
        "ids of function responses",
    ),
    (THREE, {"contents": [user(TEXT), model(CALL), user(RESPONSE)], **TOOLS}, "is missing a thought_signature in functionCall parts"),
    (THREE, {"contents": [user(TEXT), model(CALL, SIGNED), user(RESPONSE, RESPONSE)], **TOOLS}, "`default_api:f` , position 2."),
    (
        THREE,
        {"contents": [user(TEXT), model(SIGNED), user(RESPONSE), model(CALL), user(RESPONSE)], **TOOLS},
        "`default_api:f` , position 4.",
    ),
    (
        THREE,
        {"contents": [user(TEXT), model({**CALL, "thoughtSignature": "b3RoZXI="}), user(RESPONSE)], **TOOLS},
        "Corrupted thought signature.",
    ),
    (FLASH, {"contents": [user(TEXT), model({"text": "x", "thoughtSignature": "eA=="}), user(TEXT)]}, "Corrupted thought"),
    (NEWEST, {"contents": [user(TEXT), model(TEXT)]}, "Requests ending with a model turn are not supported."),
    (
        FLASH,
        declared(type="object", properties={"a": {"type": "string", "const": "x"}}),
        "Unknown name \"const\" at 'tools[0].function_declarations[0].parameters.properties[0].value': Cannot find field.",
    ),
    (
        FLASH,
        declared(type=["object", "null"]),
        "Unknown name \"type\" at 'tools[0].function_declarations[0].parameters': Proto field is not repeating",
    ),
    (FLASH, {"tools": [{"functionDeclarations": [{"name": "1f"}]}]}, "Invalid function name"),
    (FLASH, {"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]}, "Duplicate function declaration found: f"),
    (
        FLASH,
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {}, "parametersJsonSchema": {}}]}]},
        "cannot both be set",
    ),
    (FLASH, {**TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "REQUIRED"}}}, "function_calling_config.mode"),
    (FLASH, {**TOOLS, "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["f"]}}}, "mode is not ANY"),
    (
        FLASH,
        {**TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}},
        "`g`, which is not declared",
    ),
    (THREE, thinking(thinkingBudget=1, thinkingLevel="LOW"), "You can only set only one of thinking budget and thinking level."),
    (FLASH, thinking(thinkingLevel="LOW"), "Thinking level is not supported"),
    (OLD, thinking(includeThoughts=True), "Thinking is not supported"),
    (PRO, thinking(thinkingBudget=0), "Budget 0 is invalid. This model only works in thinking mode."),
    (LITE, thinking(thinkingBudget=100), "choose a value between 512 and 24576"),
    (FLASH, thinking(thinkingBudget=30_000), "choose a value between 1 and 24576"),
    (THREE_PRO, thinking(thinkingLevel="MINIMAL"), "Thinking level MINIMAL is not supported for this model"),
    ("gemini-3.8-flash", thinking(thinkingLevel="MINIMAL"), "Thinking level MINIMAL is not supported for this model"),
    (THREE, thinking(thinkingLevel="ENORMOUS"), "thinking_level"),
    (FLASH, config(responseSchema={"type": "object"}), "only allowed with response_mime_type application/json"),
    (FLASH, config(responseMimeType="application/json", responseSchema={"oneOf": []}), 'Unknown name "oneOf"'),
    (FLASH, {**config(responseMimeType="application/json"), **TOOLS}, "Function calling with a response mime type"),
    (FLASH, config(temperature=2.5), "temperature: must be in the range [0, 2]"),
    (FLASH, config(maxOutputTokens=70_000), "supported range is from 1 (inclusive) to 65537 (exclusive)"),
    (FLASH, config(stopSequences=["a"] * 6), "at most 5 stop sequences"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(name, change):
    assert find_problem(request(change), name) is None


@pytest.mark.parametrize(("name", "change", "words"), REJECTED, ids=[row[2][:60] for row in REJECTED])
def test_rejected(name, change, words):
    rejection = find_problem(request(change), name)
    assert words in (rejection.message if rejection else "accepted")


def test_every_unknown_member_is_named():
    rejection = find_problem(request({"seed": 1, **config(user="x")}), FLASH)
    assert rejection.message.count("Cannot find field.") == 2
    assert rejection.paths == ("", "generation_config")


def test_embeddings():
    assert find_embedding_problem({"requests": [{"content": {"parts": [TEXT]}, "taskType": "X"}]}, batch=True) is None
    assert "must not be empty" in find_embedding_problem({"content": None}, batch=False).message
    assert "Unknown name" in find_embedding_problem({"requests": [{"content": {}, "input": 1}]}, batch=True).message
