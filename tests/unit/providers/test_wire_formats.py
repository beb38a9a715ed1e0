"""Tests of upstream paths: a client's model name can never turn one path into another."""

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
def test_a_providers_own_paths_take_precedence(wire, own, call, whole, stream):
    paths = Paths(wire, own, call)
    assert (paths.of("m", False), paths.of("m", True)) == (whole, stream)
    assert paths.fixed == (whole == stream and "{model}" not in paths.whole)


def test_the_models_prefix_of_googles_sdk_is_removed():
    assert Paths("gemini", {}, "chat").of("models/gemini-2.5-pro", False) == "/models/gemini-2.5-pro:generateContent"


@given(
    st.text(min_size=0, max_size=40) | st.sampled_from([".", "..", "../..", "a/../b", "%2e%2e", "x?y=z", "a\r\nb: c"])
)
def test_no_model_name_changes_the_path(model):
    for wire, own in (("gemini", {}), ("vertex-anthropic", {}), ("openai", DATED)):
        paths = Paths(wire, own, "chat")
        try:
            path = paths.of(model, False)
        except (
            Failure,
            UnicodeEncodeError,
        ):  # half a surrogate pair cannot be encoded, but JSON bodies cannot contain one
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
