"""Credentials are hidden by construction: one type that shows nothing, and few places that may look inside."""

import ast
import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from pathlib import Path

import msgspec
import pytest

from nulpoint.config import load
from nulpoint.providers.spec import Secret
from support.paths import ROOT

SOURCE = ROOT / "src" / "nulpoint"
# Who sends it: to the provider, to Redis, to the proxy. Everybody else passes it on unopened.
MAY_REVEAL = {"app/wiring.py", "app/backends.py", "config/loader.py", "proxy/endpoint.py",
              "credentials/aws.py", "credentials/entra.py", "credentials/google.py"}  # fmt: skip
VALUE = "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"


def test_only_those_who_send_a_credential_look_inside():
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    }
    assert found == MAY_REVEAL


def everything():
    environ = {
        "OPENAI_API_KEY": VALUE, "OPENAI_API_KEYS": f"{VALUE}2,{VALUE}3", "REDIS_URL": f"redis://:{VALUE}@h",
        "HTTPS_PROXY": f"http://u:{VALUE}@h", "GATEWAY_API_KEYS": VALUE, "ADMIN_API_KEY": f"{VALUE}4",
    }  # fmt: skip
    return load(environ, Path("/nonexistent"))


@pytest.mark.parametrize(
    "show",
    [
        repr, str, ascii, pprint.pformat, "{}".format, "{!r:.500}".format, lambda one: f"{one}",
        lambda one: logging.LogRecord("n", 10, "p", 1, "%s", (one,), None).getMessage(),
        lambda one: "".join(traceback.format_exception(ValueError(one))),
        lambda one: json.dumps(one, default=str),
    ],
)  # fmt: skip
def test_no_way_to_print_shows_it(show):
    config = everything()
    for thing in (config, config.providers["openai"], config.redis_url, [config.https_proxy], Secret(VALUE)):
        assert VALUE not in show(thing)


@pytest.mark.parametrize(
    "encode",
    [
        msgspec.json.encode, msgspec.msgpack.encode, msgspec.yaml.encode, msgspec.to_builtins, pickle.dumps, copy.deepcopy, json.dumps,
        dataclasses.asdict, dict, vars,
    ],
)  # fmt: skip
def test_no_way_to_encode_works(encode):
    with pytest.raises((TypeError, NotImplementedError)):
        encode(Secret(VALUE))
    try:
        encoded = encode(everything().providers["openai"])
    except (TypeError, NotImplementedError):
        return
    assert VALUE not in str(encoded)


def test_the_keys_of_callers_and_operators_are_digests():
    assert VALUE.encode() not in b"".join(everything().gateway_api_keys) + everything().admin_api_key
