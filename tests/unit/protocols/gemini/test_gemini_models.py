"""Requests to Google's models follow what each model accepts at its host.

What the models accept is said here once more, from Google's pages and its SDK, so that a wrong row in the data is
noticed too.
"""

import json

import pytest

from nulpoint.errors import Failure
from support.chat_codec import CODECS
from support.request_judges import JUDGES
from support.request_table import HI, IMAGE, TEXT, TOOL, call, calls, result, user

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# The level that is sent for each of OpenAI's, in the order of EFFORTS.
LEVELS = {
    ("gemini-3-flash-preview", "gemini-3.5-flash", "gemini-3.6-flash", "gemini-3.5-flash-lite", "gemini-3.1-flash-lite"):
        "MINIMAL MINIMAL LOW MEDIUM HIGH HIGH HIGH",
    ("gemini-3.7-flash", "gemini-3.8-flash", "gemini-flash-latest", "gemini-pro-latest", "gemini-3.1-pro-preview",
     "gemini-4-argon", "gemini-4-carbon", "models/gemini-3.8-flash", "gemini-99-new"):
        "LOW LOW LOW MEDIUM HIGH HIGH HIGH",
    ("gemini-4-neon", "gemini-4-hydrogen"): "LOW LOW LOW MEDIUM HIGH XHIGH XHIGH",
    ("gemini-3-pro-preview",): "LOW LOW LOW HIGH HIGH HIGH HIGH",
    ("gemini-3.1-flash-image",): "MINIMAL MINIMAL MINIMAL HIGH HIGH HIGH HIGH",
    ("gemini-3-pro-image",): "HIGH HIGH HIGH HIGH HIGH HIGH HIGH",
}  # fmt: skip
BUDGETS = {
    "gemini-2.5-pro": (128, 1024, 1024, 8192, 24_576, 32_768, 32_768),
    "gemini-2.5-flash": (0, 1024, 1024, 8192, 24_576, 24_576, 24_576),
    "gemini-2.5-flash-lite": (0, 1024, 1024, 8192, 24_576, 24_576, 24_576),
}
WIRES = ("gemini", "vertex")


def sent(wire, model, **members):
    body, dropped, _ = CODECS[wire].encode(json.dumps({"model": model, "messages": HI, **members}).encode(), model)
    request = json.loads(body)
    JUDGES["gemini"](request)
    return request, dropped


def config_of(wire, model, **members):
    request, dropped = sent(wire, model, **members)
    return request.get("generationConfig", {}), dropped


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("model", "levels"), [(model, levels) for models, levels in LEVELS.items() for model in models]
)
def test_a_level_is_sent_that_the_model_accepts(wire, model, levels):
    for effort, level in zip(EFFORTS, levels.split(), strict=True):
        config, dropped = config_of(wire, model, reasoning_effort=effort)
        assert config["thinkingConfig"] == {"thinkingLevel": level, "includeThoughts": effort != "none"}
        assert dropped == ([] if level.lower() == effort else ["reasoning_effort"])


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("model", "budgets"), BUDGETS.items())
def test_older_models_get_a_number_of_tokens_and_no_level(wire, model, budgets):
    for effort, budget in zip(EFFORTS, budgets, strict=True):
        config, dropped = config_of(wire, model, reasoning_effort=effort)
        assert config["thinkingConfig"] == {"thinkingBudget": budget, "includeThoughts": effort != "none"}
        assert dropped == (["reasoning_effort"] if effort == "none" and budget else [])


def test_a_thinking_config_of_the_clients_own_is_the_only_one():
    own = {"thinkingBudget": 7}
    config, _ = config_of("gemini", "gemini-2.5-pro", reasoning_effort="low", thinkingConfig=own)
    assert config["thinkingConfig"] == own


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemma-3-27b-it"])
def test_models_that_do_not_reason(model):
    assert config_of("gemini", model, reasoning_effort="none") == ({}, [])
    assert config_of("gemini", model, reasoning_effort="low") == ({}, ["reasoning_effort"])


def test_an_effort_that_does_not_exist():
    with pytest.raises(Failure) as failed:
        sent("gemini", "gemini-3.8-flash", reasoning_effort="much")
    assert (failed.value.status, failed.value.param) == (400, "reasoning_effort")


SAMPLING = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}
PENALTIES = {"presence_penalty": 0.5, "frequency_penalty": 0.5}
LOGPROBS = {"logprobs": True, "top_logprobs": 2}


@pytest.mark.parametrize(
    ("wire", "model", "taken", "refused"),
    [
        ("gemini", "gemini-3.8-flash", {}, {**SAMPLING, **PENALTIES, **LOGPROBS}),
        ("vertex", "gemini-4-argon", {}, {**SAMPLING, **PENALTIES, **LOGPROBS}),
        ("gemini", "gemini-3.5-flash-lite", {}, SAMPLING),
        ("gemini", "gemini-3.1-pro-preview", SAMPLING, {**PENALTIES, **LOGPROBS}),
        ("vertex", "gemini-3.5-flash", SAMPLING, {**PENALTIES, **LOGPROBS}),
        ("gemini", "gemini-2.5-flash-lite", SAMPLING, {**PENALTIES, **LOGPROBS}),
        ("vertex", "gemini-2.5-pro", {**SAMPLING, **PENALTIES, **LOGPROBS}, {}),
    ],
)
def test_parameters_that_a_model_does_not_accept_are_left_out_and_named(wire, model, taken, refused):
    config, dropped = config_of(wire, model, **taken, **refused)
    names = {"top_p": "topP", "top_k": "topK", "presence_penalty": "presencePenalty", "logprobs": "responseLogprobs",
             "frequency_penalty": "frequencyPenalty", "top_logprobs": "logprobs"}  # fmt: skip
    assert config == {names.get(name, name): value for name, value in taken.items()}
    assert sorted(dropped) == sorted(refused)


def test_values_without_an_effect_are_left_out_silently():
    neutral = {"temperature": 1, "top_p": 1, "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False}
    assert config_of("gemini", "gemini-4-argon", **neutral) == ({}, [])
    assert config_of("gemini", "gemini-4-argon", topK=3) == ({}, ["topK"])


def test_several_responses():
    assert config_of("vertex", "gemini-2.5-pro", n=2)[0] == {"candidateCount": 2}
    with pytest.raises(Failure) as failed:
        sent("vertex", "gemini-3.8-flash", n=2)
    assert (failed.value.status, failed.value.param) == (400, "n")


@pytest.mark.parametrize(
    ("wire", "model", "continues"),
    [("vertex", "gemini-2.5-pro", True), ("vertex", "gemini-3.5-flash", True), ("gemini", "gemini-3.8-flash", False),
     ("vertex", "gemini-4-neon", False)],
)  # fmt: skip
def test_a_message_of_the_assistant_at_the_end(wire, model, continues):
    request, dropped = sent(wire, model, messages=[*HI, {"role": "assistant", "content": "The answer is"}])
    assert [turn["role"] for turn in request["contents"]] == ["user", "model", *([] if continues else ["user"])]
    assert dropped == ([] if continues else ["messages"])


def test_search_beside_functions():
    for wire, shown in (("gemini", {"includeServerSideToolInvocations": True}), ("vertex", None)):
        request, dropped = sent(wire, "gemini-3.8-flash", tools=[TOOL], web_search_options={})
        assert (list(map(list, request["tools"])), dropped) == ([["functionDeclarations"], ["googleSearch"]], [])
        assert request.get("toolConfig") == shown
        request, dropped = sent(wire, "gemini-2.5-flash", tools=[TOOL], web_search_options={})
        assert (list(map(list, request["tools"])), dropped) == ([["functionDeclarations"]], ["web_search_options"])


ONLY_AT = {
    "gemini": {
        "generationConfig": {"enableEnhancedCivicAnswers": True},
        "toolConfig": {"includeServerSideToolInvocations": True},
        "tools": [{"fileSearch": {"fileSearchStoreNames": ["s"]}}],
    },
    "vertex": {
        "generationConfig": {"audioTimestamp": True, "routingConfig": {"manualMode": {}}},
        "modelArmorConfig": {"promptTemplateName": "t"},
        "tools": [{"enterpriseWebSearch": {}}, {"googleSearch": {"excludeDomains": ["x"]}}],
        "safetySettings": [{"category": "c", "threshold": "t", "method": "SEVERITY"}],
    },
}


@pytest.mark.parametrize("wire", WIRES)
def test_members_of_the_other_host_are_left_out_and_named(wire):
    for host, members in ONLY_AT.items():
        for name, value in members.items():
            body = json.dumps({"messages": HI, name: value}).encode()
            sent_body, dropped, _ = CODECS[wire].encode(body, "gemini-3.8-flash")
            request = json.loads(sent_body)
            if host == wire:
                assert (request[name], dropped) == (value, [])
            else:
                assert dropped
                assert all(path.startswith(name) for path in dropped)
                assert request.get(name) in (None, [{"googleSearch": {}}], [{"category": "c", "threshold": "t"}])


def test_calls_of_googles_own_tools_are_not_sent_to_vertex_ai():
    parts = [{"toolCall": {"id": "1"}, "thoughtSignature": "c2ln"}, {"toolResponse": {"id": "1"}}, {"text": "hi"}]
    message = {"role": "assistant", "content": "hi", "provider_specific_fields": {"gemini": {"parts": parts}}}
    for wire, expected in (("gemini", parts), ("vertex", parts[2:])):
        body = json.dumps({"messages": [*HI, message, *HI]}).encode()
        request, dropped, _ = CODECS[wire].encode(body, "gemini-3.8-flash")
        assert json.loads(request)["contents"][1]["parts"] == expected
        assert bool(dropped) == (wire == "vertex")


REFERENCES = ['{"$defs":{"H":{}},"v":{"$ref":"#/$defs/H"}}', '{"a":[{"$ref":"#/x"}]}', '[{"$ref":"#/x"}]',
              '{"a":{"\\u0024ref":"#/x"}}', '{"$ref":1}']  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("text", REFERENCES)
def test_a_result_with_a_reference_is_sent_as_text(wire, text):
    request, _ = sent(wire, "gemini-3.8-flash", messages=[*HI, calls(call()), result(content=text)], tools=[TOOL])
    assert request["contents"][2]["parts"][0]["functionResponse"]["response"] == {"output": text}


@pytest.mark.parametrize("text", ['{"a":"$ref"}', '{"a":"\\u00e9"}', '{"$refs":1}'])
def test_other_results_are_sent_as_objects(text):
    request, _ = sent("gemini", "gemini-3.8-flash", messages=[*HI, calls(call()), result(content=text)], tools=[TOOL])
    assert request["contents"][2]["parts"][0]["functionResponse"]["response"] == json.loads(text)


def test_media_in_results():
    messages = [*HI, calls(call()), result(content=[TEXT, IMAGE])]
    new, _ = sent("gemini", "gemini-3.8-flash", messages=messages, tools=[TOOL])
    old, _ = sent("gemini", "gemini-2.5-flash", messages=messages, tools=[TOOL])
    assert "parts" in new["contents"][2]["parts"][0]["functionResponse"]
    assert "inlineData" in old["contents"][3]["parts"][0]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/jpg;base64,QUJD"}}, "image/jpeg"),
        ({"type": "image_url", "image_url": {"url": "data:image/PNG;base64,QUJD"}}, "image/png"),
        ({"type": "image_url", "image_url": {"url": "data:application/x-pdf;base64,QUJD"}}, "application/pdf"),
        ({"type": "file", "file": {"file_data": "data:image/jpg;base64,QUJD"}}, "image/jpeg"),
        ({"type": "file", "file": {"file_data": "QUJD", "filename": "a.pdf"}}, "application/pdf"),
        ({"type": "file", "file": {"file_data": "data:video/quicktime;base64,QUJD"}}, "video/mov"),
        ({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}}, "audio/mp3"),
        ({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "WAV"}}, "audio/wav"),
    ],
)
def test_media_have_googles_types_whatever_their_member(part, kind):
    request, _ = sent("gemini", "gemini-3.8-flash", messages=user(TEXT, part))
    assert request["contents"][0]["parts"][1]["inlineData"] == {"mimeType": kind, "data": "QUJD"}
