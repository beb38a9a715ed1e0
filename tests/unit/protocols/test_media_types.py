"""Tests the spellings of media types, alone and in the requests of each provider protocol."""

import pytest

from nulpoint.protocols.media_types import normal_media_type


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("image/jpeg", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("IMAGE/PJPEG", "image/jpeg"),
        ("image/PNG", "image/png"),
        (" image/png ; charset=binary", "image/png"),
        ("application/x-pdf", "application/pdf"),
        ("text/plain;charset=utf-8", "text/plain"),
        ("audio/x-wav", "audio/wav"),
        ("application/zip", "application/zip"),
        ("", ""),
    ],
)
def test_media_types_are_normalized(text, normal):
    assert normal_media_type(text) == normal
    assert normal_media_type(normal) == normal
