"""Paths: what callers write as a model's name can never make another path of it."""

import posixpath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.providers.wire_formats import WIRE_FORMATS, Paths

DATED = {"chat": "/openai/deployments/{model}/chat/completions?api-version=2024-10-21"}


@pytest.mark.parametrize(
    ("wire", "own", "call", "whole", "stream"),
    [
        ("openai", {}, "chat", "/chat/completions", "/chat/completions"),
        ("openai", {}, "completions", "/completions", "/completions"),
        ("openai", {"chat": "/x"}, "chat", "/x", "/x"),
        ("openai", {"chat": "/x"}, "embeddings", "/embeddings", "/embeddings"),
        ("anthropic", {}, "chat", "/messages", "/messages"),
        ("gemini", {}, "chat", "/models/m:generateContent", "/models/m:streamGenerateContent?alt=sse"),
        ("gemini", {}, "embeddings", "/models/m:batchEmbedContents", "/models/m:batchEmbedContents"),
        ("vertex-anthropic", {}, "chat", "/models/m:rawPredict", "/models/m:streamRawPredict"),
        ("vertex", {"stream": "/s/{model}"}, "chat", "/models/m:generateContent", "/s/m"),
    ],
)
def test_a_row_s_own_paths_count_before_the_format_s(wire, own, call, whole, stream):
    paths = Paths(wire, own, call)
    assert (paths.of("m", False), paths.of("m", True)) == (whole, stream)
    assert paths.fixed == (whole == stream and "{model}" not in paths.whole)


def test_what_google_s_sdk_writes_before_a_name_is_no_part_of_it():
    assert Paths("gemini", {}, "chat").of("models/gemini-2.5-pro", False) == "/models/gemini-2.5-pro:generateContent"


@given(
    st.text(min_size=0, max_size=40) | st.sampled_from([".", "..", "../..", "a/../b", "%2e%2e", "x?y=z", "a\r\nb: c"])
)
def test_no_name_makes_another_path(model):
    for wire, own in (("gemini", {}), ("vertex-anthropic", {}), ("openai", DATED)):
        paths = Paths(wire, own, "chat")
        try:
            path = paths.of(model, False)
        except (Failure, UnicodeEncodeError):  # the latter: half a surrogate pair, which JSON cannot bring here
            continue
        template, made = urlsplit(paths.whole), urlsplit(path)
        assert path.isascii()
        assert path.isprintable()
        assert " " not in path
        assert made.query == template.query
        assert made.path.count("/") == template.path.count("/")
        assert posixpath.normpath(made.path) == made.path
        before, after = template.path.split("{model}")
        name = made.path[len(before) : len(made.path) - len(after)]
        assert unquote(name) == model.removeprefix(WIRE_FORMATS[wire].model_prefix)
