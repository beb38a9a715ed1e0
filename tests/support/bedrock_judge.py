"""Checks of requests to Bedrock and its responses against botocore's service model, and rules beyond the model.

Members, types, enumerations, patterns and bounds come from the model; a union has one member; bytes are base64.
"""

import base64
import functools
import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator


@functools.cache
def service() -> Any:
    return botocore.session.Session().get_service_model("bedrock-runtime")


def fits(value: Any, shape: Any, where: Any = "$") -> None:
    """Raise AssertionError with the first thing that the service would reject."""
    if getattr(shape, "is_document_type", False):
        return
    _TYPES.get(shape.type_name, _of_number)(value, shape, where)


def _of_structure(value: Any, shape: Any, where: Any) -> None:
    assert isinstance(value, dict), f"{where}: no object"
    unknown = set(value) - set(shape.members)
    assert not unknown, f"{where}: unknown {unknown}"
    missing = set(shape.required_members) - set(value)
    assert not missing - {"modelId"}, f"{where}: missing {missing}"
    assert not getattr(shape, "is_tagged_union", False) or len(value) == 1, f"{where}: a union of {sorted(value)}"
    for name, inner in value.items():
        fits(inner, shape.members[name], f"{where}.{name}")


def _of_list(value: Any, shape: Any, where: Any) -> None:
    assert isinstance(value, list), f"{where}: no list"
    _bounds(len(value), shape, where)
    for at, inner in enumerate(value):
        fits(inner, shape.member, f"{where}[{at}]")


def _of_map(value: Any, shape: Any, where: Any) -> None:
    assert isinstance(value, dict), f"{where}: no map"
    for inner in value.values():
        fits(inner, shape.value, where)


def _of_string(value: Any, shape: Any, where: Any) -> None:
    assert isinstance(value, str), f"{where}: no text"
    assert not shape.enum or value in shape.enum, f"{where}: {value!r} is none of {shape.enum}"
    pattern = shape.metadata.get("pattern")
    assert not pattern or re.fullmatch(pattern, value), f"{where}: {value!r} does not match"
    _bounds(len(value), shape, where)


def _of_blob(value: Any, shape: Any, where: Any) -> None:
    _bounds(len(base64.b64decode(value, validate=True)), shape, where)


def _of_boolean(value: Any, _: Any, where: Any) -> None:
    assert isinstance(value, bool), f"{where}: no boolean"


def _of_number(value: Any, shape: Any, where: Any) -> None:
    wanted = int if shape.type_name in ("integer", "long") else (int, float)
    assert isinstance(value, wanted), f"{where}: no number"
    assert not isinstance(value, bool), f"{where}: no number"
    _bounds(value, shape, where)


def _bounds(size: Any, shape: Any, where: Any) -> None:
    assert shape.metadata.get("min", size) <= size <= shape.metadata.get("max", size), (
        f"{where}: {size} is out of bounds"
    )


_TYPES = {"structure": _of_structure, "list": _of_list, "map": _of_map, "string": _of_string, "blob": _of_blob,
          "boolean": _of_boolean}  # fmt: skip


# -- requests ----------------------------------------------------------------------------------------------------------


def judge_bedrock(body: Any) -> None:
    fits(body, service().shape_for("ConverseRequest"))
    judge_turns(body["messages"])
    kinds = {name for turn in body["messages"] for block in turn["content"] for name in block}
    assert "toolConfig" in body or not {"toolUse", "toolResult"} & kinds, "toolConfig must be defined"
    for tool in body.get("toolConfig", {}).get("tools", []):
        if "toolSpec" in tool:
            schema = tool["toolSpec"]["inputSchema"]["json"]
            assert schema["type"] == "object"
            assert not {"anyOf", "oneOf", "allOf"} & set(schema)
    thinking = body.get("additionalModelRequestFields", {}).get("thinking", {})
    if thinking.get("type") == "enabled":
        assert thinking["budget_tokens"] >= 1024
        assert "toolChoice" not in body.get("toolConfig", {})
        assert not {"temperature", "topP"} & set(body.get("inferenceConfig", {}))
    # botocore's serializer produces the same body.
    native = with_bytes(body, service().shape_for("ConverseRequest"))
    operation = service().operation_model("Converse")
    params = {**native, "modelId": "m"}
    assert not ParamValidator().validate(params, operation.input_shape).has_errors()
    written = create_serializer("rest-json").serialize_to_request(params, operation)
    assert json.loads(written["body"]) == body


def judge_turns(turns: Any) -> None:
    assert turns[0]["role"] == "user"
    names = []
    for before, turn in zip([None, *turns], turns, strict=False):
        content = turn["content"]
        assert content, "content must not be empty"
        assert before is None or before["role"] != turn["role"], "roles must alternate"
        assert all(block["text"].strip() for block in content if "text" in block), "text is blank"
        assert "cachePoint" not in content[0], "nothing to cache before a cache point"
        called = [
            block["toolUse"]["toolUseId"] for block in (before or turn)["content"] if before and "toolUse" in block
        ]
        answered = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
        assert sorted(called) == sorted(answered), "every call needs one result in the turn after it"
        kinds = ["toolResult" in block for block in content if "cachePoint" not in block]
        assert kinds == sorted(kinds, reverse=True), "results come first"
        assert not any("document" in block for block in content) or any("text" in block for block in content)
        for block in content:
            result = block.get("toolResult", {})
            assert result.get("status") != "error" or result["content"]
        names += [block["document"]["name"] for block in content if "document" in block]
    assert len(set(names)) == len(names), "document names must differ"
    assert all(re.fullmatch(r"[\w\s\-()\[\]]+", name) and "  " not in name for name in names)


def with_bytes(value: Any, shape: Any) -> Any:
    """Return the value with bytes in place of base64, as the SDK takes it."""
    if getattr(shape, "is_document_type", False):
        return value
    if shape.type_name == "structure":
        return {name: with_bytes(inner, shape.members[name]) for name, inner in value.items()}
    if shape.type_name == "list":
        return [with_bytes(inner, shape.member) for inner in value]
    return base64.b64decode(value) if shape.type_name == "blob" else value


# -- responses ---------------------------------------------------------------------------------------------------------


def parsed(operation: Any, status: Any, headers: Any, body: Any) -> Any:
    """Return what botocore parses from a whole response."""
    response = {"body": body, "headers": headers, "status_code": status}
    return create_parser("rest-json").parse(response, service().operation_model(operation).output_shape)


def parsed_stream(body: Any) -> Any:
    """Return the events that botocore parses from a stream. It raises if one of them is an exception."""
    from botocore.eventstream import EventStream

    class Raw:
        def stream(self) -> Iterator[Any]:
            yield body

        def close(self) -> None:
            pass

    operation = service().operation_model("ConverseStream")
    parser = create_parser("rest-json")._event_stream_parser
    return list(EventStream(Raw(), operation.output_shape.members["stream"], parser, "ConverseStream"))


def frame(name: Any, payload: Any, kind: Any = "event") -> Any:
    """Return one message of a stream, built from the specification. `kind` may be `exception` or `error`."""
    names = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}
    headers = {":message-type": kind, names[kind]: name, ":content-type": "application/json"}
    block = b"".join(
        bytes([len(key)]) + key.encode() + b"\7" + struct.pack(">H", len(value)) + value.encode()
        for key, value in headers.items()
    )
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(block) + len(body), len(block))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + body
    return message + struct.pack(">I", zlib.crc32(message))


def framed(*events: Any) -> Any:
    """Return a stream of events, each given as (name, payload) or (name, payload, kind)."""
    return b"".join(frame(*event) for event in events)
