"""Tests that images and files reach Mistral in whichever spelling and member the client wrote them."""

import json

import pytest

from support.chat_codec import CODECS
from support.request_judges import JUDGES
from support.request_table import TEXT, user

MODEL = "mistral-large-latest"


def image(url, **more):
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(data, **more):
    return {"type": "file", "file": {"file_data": data, **more}}


def data(kind):
    return f"data:{kind};base64,QUJD"


def shown_image(url, **more):
    return {"type": "image_url", "image_url": {"url": url, **more}}


def document(url, **more):
    return {"type": "document_url", "document_url": url, **more}


WEB = "https://example.com/a"


@pytest.mark.parametrize(
    ("part", "expected", "dropped"),
    [
        (image(data("image/jpg")), shown_image(data("image/jpeg")), []),
        (image(data("image/PNG"), detail="low"), shown_image(data("image/png"), detail="low"), []),
        (image(data("image/png"), detail="original"), shown_image(data("image/png")), ["detail"]),
        (image(WEB), shown_image(WEB), []),
        (image(data("application/x-pdf")), document(data("application/pdf")), []),
        (file(data("image/jpg"), filename="a.jpg"), shown_image(data("image/jpeg")), ["filename"]),
        (file(data("application/PDF"), filename="a.pdf"), document(data("application/pdf"), document_name="a.pdf"), []),
        (file("QUJD", filename="a.pdf"), document(data("application/pdf"), document_name="a.pdf"), []),
        (file(WEB), document(WEB), []),
    ],
)
def test_the_part_follows_the_media_type(part, expected, dropped):
    body = json.dumps({"messages": user(TEXT, part)}).encode()
    sent, reported, _ = CODECS["mistral"].encode(body, MODEL)
    JUDGES["mistral"](json.loads(sent))
    assert json.loads(sent)["messages"][0]["content"][1] == expected
    assert [path.rpartition(".")[2] for path in reported] == dropped
