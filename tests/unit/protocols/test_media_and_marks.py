"""Images, PDFs and cache marks reach Anthropic and Bedrock in whichever form and place the client wrote them."""

import json

import pytest

from nulpoint.errors import Failure
from support.bedrock_judge import judge_bedrock
from support.chat_codec import CODECS
from support.request_judges import judge_anthropic
from support.request_table import HI, TEXT, TOOL, call, calls, result, user

CLAUDE_AT_BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
DATA = "QUJDRA=="
MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
POINT = {"cachePoint": {"type": "default"}}


def sent(wire="anthropic", model="claude-sonnet-4-5", **members):
    body, dropped, _ = CODECS[wire].encode(json.dumps({"model": "x", "messages": HI, **members}).encode(), model)
    request = json.loads(body)
    if wire != "vertex-anthropic":
        {"anthropic": judge_anthropic, "bedrock": judge_bedrock}[wire](request)
    return request, dropped


def image(kind):
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{DATA}"}}


def file(kind, **more):
    return {"type": "file", "file": {"file_data": f"data:{kind};base64,{DATA}", **more}}


# -- media types -------------------------------------------------------------------------------------------------------

IMAGE_SPELLINGS = [("image/jpg", "jpeg"), ("image/PJPEG", "jpeg"), ("image/PNG", "png"), ("image/x-png", "png"),
                   ("image/png;charset=utf-8", "png"), ("Image/WebP", "webp")]  # fmt: skip


@pytest.mark.parametrize(("kind", "plain"), IMAGE_SPELLINGS)
@pytest.mark.parametrize("part", [image, file])
def test_images_in_any_spelling_and_member(kind, plain, part):
    expected = {"type": "base64", "media_type": f"image/{plain}", "data": DATA}
    for wire in ("anthropic", "vertex-anthropic"):
        request, dropped = sent(wire, messages=user(TEXT, part(kind)))
        assert request["messages"][0]["content"][1] == {"type": "image", "source": expected}
        assert dropped == []
        in_result = [*HI, calls(call()), result(content=[part(kind)])]
        request, _ = sent(wire, messages=in_result, tools=[TOOL])
        assert request["messages"][2]["content"][0]["content"] == [{"type": "image", "source": expected}]
    request, dropped = sent("bedrock", CLAUDE_AT_BEDROCK, messages=user(TEXT, part(kind)))
    assert request["messages"][0]["content"][1] == {"image": {"format": plain, "source": {"bytes": DATA}}}
    assert dropped == []


# From the first bytes of a file in base64 to its media type.
FIRST_BYTES = {
    "iVBORw0KGgoAAAAN": "image/png", "/9j/4AAQSkZJRg==": "image/jpeg", "R0lGODlhAQABAAAA": "image/gif",
    "JVBERi0xLjQK": "application/pdf",
}  # fmt: skip


def media_of(wire, request):
    """Return the media type and the data of the only part that is not text."""
    first = (request.get("messages") or request["contents"])[0]
    (part,) = [part for part in first.get("content") or first["parts"] if "text" not in part]
    if wire == "anthropic":
        return part["source"]["media_type"], part["source"]["data"]
    if wire == "gemini":
        return part["inlineData"]["mimeType"], part["inlineData"]["data"]
    url = part["image_url"]["url"] if part["type"] == "image_url" else part["document_url"]
    return tuple(url.removeprefix("data:").split(";base64,"))


@pytest.mark.parametrize("wire", ["anthropic", "gemini", "mistral"])
@pytest.mark.parametrize("prefix", ["data:", "data:application/octet-stream", "DATA:binary/octet-stream", "Data:"])
@pytest.mark.parametrize(("data", "kind"), FIRST_BYTES.items())
def test_data_that_names_no_type_is_what_its_first_bytes_say(wire, prefix, data, kind):
    model = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash", "mistral": "mistral-medium-latest"}[wire]
    part = {"type": "image_url", "image_url": {"url": f"{prefix};base64,{data}"}}
    body = json.dumps({"model": "x", "messages": user(TEXT, part)}).encode()
    request, dropped, _ = CODECS[wire].encode(body, model)
    assert media_of(wire, json.loads(request)) == (kind, data)
    assert dropped == []


@pytest.mark.parametrize("wire", ["anthropic", "gemini", "mistral", "bedrock"])
def test_data_of_which_nothing_tells_the_type_is_rejected(wire):
    part = {"type": "image_url", "image_url": {"url": f"data:;base64,{DATA}"}}
    body = json.dumps({"model": "x", "messages": user(TEXT, part)}).encode()
    with pytest.raises(Failure, match="must name the media type"):
        CODECS[wire].encode(body, "claude-sonnet-4-5")


@pytest.mark.parametrize("part", [image("image/png"), file("image/png")])
def test_a_scheme_in_any_case(part):
    plain, _ = sent(messages=user(TEXT, part))
    shouted = json.loads(json.dumps(part).replace("data:image", "DATA:image"))
    assert sent(messages=user(TEXT, shouted))[0] == plain
    web = {"type": "image_url", "image_url": {"url": "HTTPS://Example.com/A.png"}}
    request, _ = sent(messages=user(TEXT, web))
    assert request["messages"][0]["content"][1]["source"] == {"type": "url", "url": "https://Example.com/A.png"}


PDFS = {
    "file": file("application/pdf"),
    "another spelling": file("application/x-PDF"),
    "as an image": image("application/pdf"),
    "without a data URL": {"type": "file", "file": {"file_data": DATA, "filename": "report.PDF"}},
}


@pytest.mark.parametrize("part", PDFS.values(), ids=PDFS)
def test_a_pdf_by_any_member(part):
    request, dropped = sent(messages=user(part))
    (block,) = request["messages"][0]["content"]
    assert (block["type"], block["source"]) == (
        "document",
        {"type": "base64", "media_type": "application/pdf", "data": DATA},
    )
    assert dropped == []
    request, dropped = sent("bedrock", CLAUDE_AT_BEDROCK, messages=user(part))
    document, text = request["messages"][0]["content"]
    assert (document["document"]["format"], text) == ("pdf", {"text": "The document is attached."})
    assert dropped == []


def test_media_from_the_web_is_taken_by_its_name():
    urls = {
        "https://a.example/x.pdf?y=z": "document",
        "https://a.example/x.PNG": "image",
        "https://a.example/x": "image",
    }
    for url, kind in urls.items():
        request, _ = sent(messages=user({"type": "image_url", "image_url": {"url": url}}))
        assert request["messages"][0]["content"] == [{"type": kind, "source": {"type": "url", "url": url}}]
        with pytest.raises(Failure) as caught:  # Vertex fetches nothing
            sent("vertex-anthropic", messages=user({"type": "image_url", "image_url": {"url": url}}))
        assert caught.value.param == "messages[0].content.image_url"


@pytest.mark.parametrize("part", [image("image/bmp"), file("application/zip"), image("audio/wav")])
def test_what_no_model_accepts_is_a_400(part):
    with pytest.raises(Failure) as caught:
        sent(messages=user(part))
    assert (caught.value.status, caught.value.param.startswith("messages[0].content.")) == (400, True)


# -- cache marks -------------------------------------------------------------------------------------------------------

MARKED = {
    "user": [{"role": "user", "content": "hi", **MARK}],
    "user, breakpoint": [{"role": "user", "content": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}}],
    "user, parts": [{"role": "user", "content": [TEXT, TEXT], **MARK}],
    "part": user({**TEXT, **MARK}),
    "assistant": [*HI, {"role": "assistant", "content": "a", **MARK}, *HI],
    "calling assistant": [*HI, calls(call(), **MARK), result()],
    "result": [*HI, calls(call()), result(**MARK)],
    "part of a result": [*HI, calls(call()), result(content=[{**TEXT, **MARK}])],
    "system": [{"role": "system", "content": "s", **MARK}, *HI],
    "later system": [*HI, {"role": "assistant", "content": "a"}, {"role": "system", "content": "s", **MARK}, *HI],
    "answer with thinking": [*HI, {"role": "assistant", "content": "a", **MARK, "provider_specific_fields": {
        "anthropic": {"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "h", "signature": "c2ln"}]},
        "bedrock": {"content": [{"text": "a"}, {"reasoningContent": {"redactedContent": "c2ln"}}]}}}, *HI],
}  # fmt: skip


@pytest.mark.parametrize("messages", MARKED.values(), ids=MARKED)
def test_a_cache_mark_on_any_form_of_message_is_sent(messages):
    for model in ("claude-sonnet-4-5", "claude-opus-4-8"):
        request, dropped = sent(model=model, messages=messages, tools=[TOOL])
        assert (json.dumps(request).count('"cache_control": {"type": "ephemeral"}'), dropped) == (1, [])
        assert not any(
            "cache_control" in block and "thinking" in block["type"]
            for turn in request["messages"]
            for block in turn["content"]
        )
    request, dropped = sent("bedrock", CLAUDE_AT_BEDROCK, messages=messages, tools=[TOOL])
    assert (json.dumps(request).count('"cachePoint"'), dropped) == (1, [])


def many_marks():
    messages = [{"role": "system", "content": "s", **HOUR}]
    for number in range(4):
        messages += [{"role": "user", "content": f"u{number}", **MARK}, {"role": "assistant", "content": f"a{number}"}]
    return [*messages, {"role": "user", "content": "last", **MARK}]


def test_of_too_many_cache_marks_the_first_and_the_last_remain():
    client = many_marks()
    before = json.dumps(client)
    request, dropped = sent(messages=client, tools=[TOOL])
    assert json.dumps(client) == before
    assert request["system"][0]["cache_control"] == HOUR["cache_control"]
    marked = [block["text"] for turn in request["messages"] for block in turn["content"] if "cache_control" in block]
    assert (marked, dropped) == (["u2", "u3", "last"], ["cache_control"])
    request, dropped = sent(messages=client, tools=[{**TOOL, **HOUR}])
    assert ("cache_control" in request["tools"][0], "cache_control" in request["system"][0]) == (True, False)
    request, _ = sent(messages=client, cache_control={"type": "ephemeral"})
    assert json.dumps(request).count('"cache_control"') == 4


def test_of_too_many_cache_marks_at_bedrock_the_first_and_the_last_remain():
    request, dropped = sent("bedrock", CLAUDE_AT_BEDROCK, messages=many_marks())
    assert request["system"] == [{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    marked = [turn["content"][0]["text"] for turn in request["messages"] if POINT in turn["content"]]
    assert (marked, dropped) == (["u2", "u3", "last"], ["cache_control"])


def test_cache_marks_inside_results_count_too():
    parts = [{**TEXT, "text": str(number), **MARK} for number in range(6)]
    request, dropped = sent(messages=[*HI, calls(call()), result(content=parts)], tools=[TOOL])
    marked = [part["text"] for part in request["messages"][2]["content"][0]["content"] if "cache_control" in part]
    assert (marked, dropped) == (["0", "3", "4", "5"], ["cache_control"])


def test_cache_marks_by_the_maker_of_the_model():
    members = {"messages": [{"role": "system", "content": "s", **HOUR}, *HI], "tools": [{**TOOL, **MARK}]}
    request, dropped = sent("bedrock", "amazon.nova-pro-v1:0", **members)
    assert (request["system"], dropped) == ([{"text": "s"}, POINT], ["cache_control", "cache_control.ttl"])
    assert "cachePoint" not in json.dumps(request["toolConfig"])
    request, dropped = sent("bedrock", "meta.llama3-1-70b-instruct-v1:0", **members)
    assert ("cachePoint" in json.dumps(request), dropped) == (False, ["cache_control"])
    request, dropped = sent("bedrock", CLAUDE_AT_BEDROCK, **members)
    assert (json.dumps(request).count("cachePoint"), dropped) == (2, [])


# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call_id", ["c" * 80, "functions.f:0 é", "a" * 64, "x"])
def test_ids_of_calls_fit_and_match(call_id):
    for wire, model in (("anthropic", "claude-sonnet-4-5"), ("bedrock", CLAUDE_AT_BEDROCK)):
        request, dropped = sent(wire, model, messages=[*HI, calls(call(call_id)), result(call_id)], tools=[TOOL])
        (use,), (answer,) = (turn["content"] for turn in request["messages"][1:])
        made, given = (
            (use["id"], answer["tool_use_id"])
            if wire == "anthropic"
            else (use["toolUse"]["toolUseId"], answer["toolResult"]["toolUseId"])
        )
        assert made == given
        assert wire == "anthropic" or len(made) <= 64
        assert dropped == []
