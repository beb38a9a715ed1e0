"""Growth cases for hostile requests: for the codecs, and for the readers of bodies that are passed on."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from measure import Case, Work

from nulpoint.cache.embeddings import join, read_batch, read_vectors
from nulpoint.cache.fingerprint import fingerprint
from nulpoint.errors import Failure
from nulpoint.formats.canonical_json import NoCanonicalTextError, separate
from nulpoint.formats.json_edit import members, model_span, rewrite
from nulpoint.formats.json_nodes import exceeds_node_count
from nulpoint.models.facts import NO_FACTS
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.openai.conversation_key import conversation_key
from nulpoint.protocols.openai.envelope import DELIVERY, read_envelope, with_model
from nulpoint.protocols.openai.text_completion.request import read_completion_request
from nulpoint.protocols.registry import EMBEDDINGS, PROVIDER_PROTOCOLS
from nulpoint.protocols.translation import translate
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import Provider
from nulpoint.proxy.upstream_request import prepare
from nulpoint.ratelimit.token_estimate import estimated_tokens
from nulpoint.routing.chains import FallbackChains, Target, WeightedTarget
from nulpoint.routing.router import Router
from support.chat_codec import CODECS, codec_for_model
from support.provider_endpoints import endpoint_of

JSON = dict[str, Any]
HI = {"role": "user", "content": "hi"}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
# One model for each path through a codec.
TARGETS = {
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "bedrock": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "gemini": ("gemini", "gemini-2.5-flash"),
    "mistral": ("mistral", "mistral-large-latest"),
}
NEWEST = {"anthropic": "claude-opus-4-6", "bedrock": "amazon.nova-pro-v1:0", "gemini": "gemini-3-pro-preview"}


# -- messages ----------------------------------------------------------------------------------------------------------


def call(number: int, name: str = "f") -> JSON:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def result(number: int, content: Any = "ok") -> JSON:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": content}


def roles(*pattern: str) -> Callable[[int], JSON]:
    """Build messages whose roles repeat the pattern, between two user messages."""

    def build(size: int) -> JSON:
        inner = [{"role": pattern[at % len(pattern)], "content": f"text {at}"} for at in range(size)]
        return {"messages": [HI, *inner, HI]}

    return build


def parts(part: Any, role: str = "user") -> Callable[[int], JSON]:
    return lambda size: {
        "messages": [HI, {"role": role, "content": [part] * size + [{"type": "text", "text": "x"}]}, HI]
    }


def calls_at_once(order: Callable[[Iterator[int]], Any] = list, content: Any = "ok", between: bool = False) -> Any:
    """Build one turn with many calls and their results in a certain order."""

    def build(size: int) -> JSON:
        results = []
        for number in order(iter(range(size))):
            results += [result(number, content), HI] if between else [result(number, content)]
        turn = {"role": "assistant", "content": None, "tool_calls": [call(number) for number in range(size)]}
        return {"messages": [HI, turn, *results, HI]}

    return build


def calls_in_turn(same_id: bool) -> Callable[[int], JSON]:
    def build(size: int) -> JSON:
        talk = [HI]
        for number in range(size):
            given = 0 if same_id else number
            talk += [{"role": "assistant", "tool_calls": [call(given)]}, result(given)]
        return {"messages": talk}

    return build


def legacy_calls(size: int) -> JSON:
    talk = [HI]
    for _ in range(size):
        talk += [
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "ok"},
        ]
    return {"messages": talk}


def kept(wire: str, block: JSON) -> Callable[[int], JSON]:
    """Build a request that returns a response of the gateway with its provider's extra members."""
    member = "parts" if wire == "gemini" else "content"

    def build(size: int) -> JSON:
        text = "x" * size if "text" in block else ""
        own = {"role": "assistant", "content": text, "provider_specific_fields": {wire: {member: [block] * size}}}
        return {"messages": [HI, own, HI]}

    return build


MESSAGES: dict[str, tuple[Callable[[int], JSON], int]] = {
    "many messages of the user": (roles("user"), 6000),
    "many messages of the system": (roles("system"), 6000),
    "many messages of the assistant": (roles("assistant"), 6000),
    "alternating roles": (roles("assistant", "user"), 6000),
    "system messages between turns": (roles("assistant", "system", "user", "system"), 6000),
    "many parts of text": (parts({"type": "text", "text": "word"}), 6000),
    "many empty parts": (parts({"type": "text", "text": ""}), 6000),
    "many refusals": (parts({"type": "refusal", "refusal": "no"}, "assistant"), 6000),
    "many pictures": (parts({"type": "image_url", "image_url": {"url": PIXEL}}), 4000),
    "many marked parts": (parts({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}), 6000),
    "parallel calls": (calls_at_once(), 4000),
    "parallel calls, results reversed": (calls_at_once(lambda numbers: reversed(list(numbers))), 4000),
    "parallel calls, words between the results": (calls_at_once(between=True), 4000),
    "parallel calls, pictures in the results": (
        calls_at_once(content=[{"type": "image_url", "image_url": {"url": PIXEL}}, {"type": "text", "text": "x"}]),
        2000,
    ),
    "calls one after the other": (calls_in_turn(same_id=False), 4000),
    "calls that share an id": (calls_in_turn(same_id=True), 4000),
    "legacy calls": (legacy_calls, 4000),
    "one long text": (lambda size: {"messages": [{"role": "user", "content": "a" * size}]}, 1_000_000),
    "one text of spaces": (lambda size: {"messages": [{"role": "user", "content": " " * size + "x"}]}, 1_000_000),
    "one text of escapes": (lambda size: {"messages": [{"role": "user", "content": '\\"\n' * size}]}, 1_000_000),
    "arguments of many members": (
        lambda size: {
            "messages": [
                HI,
                {"role": "assistant", "tool_calls": [{**call(0), "function": {"name": "f", "arguments": json.dumps({f"a{at}": at for at in range(size)})}}]},
                result(0),
            ]
        },
        20_000,
    ),
    "arguments that are no JSON": (
        lambda size: {
            "messages": [
                HI,
                {"role": "assistant", "tool_calls": [{**call(0), "function": {"name": "f", "arguments": "{" * size}}]},
                result(0),
            ]
        },
        1_000_000,
    ),
    "a result of many members": (
        lambda size: {
            "messages": [HI, {"role": "assistant", "tool_calls": [call(0)]}, result(0, json.dumps({f"a{at}": at for at in range(size)}))]
        },
        20_000,
    ),
    "a long data URL": (
        lambda size: {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL + "A" * size}}]}]},
        1_000_000,
    ),
    "unknown members of a message": (
        lambda size: {"messages": [{**HI, **{f"member{at}": at + 1 for at in range(size)}}]}, 20_000
    ),
    "unknown members at the top": (lambda size: {"messages": [HI], **{f"member{at}": at for at in range(size)}}, 20_000),
    "an unknown member with a long name": (lambda size: {"messages": [{**HI, "é" * size: 1}]}, 1_000_000),
    "nested lists at the top": (lambda size: {"messages": [HI], "more": [[[["x"]]]] * size}, 20_000),
    "many stops": (lambda size: {"messages": [HI], "stop": [f"stop {at}" for at in range(size)]}, 20_000),
    "much metadata": (lambda size: {"messages": [HI], "metadata": {f"name{at}": "x" for at in range(size)}}, 20_000),
    "much logit_bias": (lambda size: {"messages": [HI], "logit_bias": {f"{at}": 1 for at in range(size)}}, 20_000),
}  # fmt: skip
REFUSED_MESSAGES: dict[str, tuple[Callable[[int], JSON], int]] = {
    "a data URL of parameters": (
        lambda size: {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:a/b" + ";x" * size}}]}]},
        1_000_000,
    ),
    "a data URL of one parameter": (
        lambda size: {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:a/b;" + "x" * size}}]}]},
        1_000_000,
    ),
    "calls without results": (
        lambda size: {"messages": [HI, {"role": "assistant", "tool_calls": [call(at) for at in range(size)]}]}, 10_000
    ),
}  # fmt: skip
# Messages that only one format reads.
FORMAT_MESSAGES: dict[str, dict[str, tuple[Callable[[int], JSON], int]]] = {
    "anthropic": {
        "blocks handed back": (kept("anthropic", {"type": "text", "text": "x"}), 6000),
        "thinking handed back": (kept("anthropic", {"type": "thinking", "thinking": "x", "signature": "s"}), 6000),
        "blocks of its own": (parts({"type": "search_result", "content": []}), 6000),
        "results of its own": (parts({"type": "tool_result", "tool_use_id": "x"}), 6000),
    },
    "bedrock": {
        "blocks handed back": (kept("bedrock", {"text": "x"}), 6000),
        "cache marks before anything else": (parts({"cachePoint": {"type": "default"}}), 100_000),
        "documents of one name": (
            parts({"document": {"name": "a", "format": "txt", "source": {"bytes": "eA=="}}}), 6000
        ),
    },
    "gemini": {
        "parts handed back": (kept("gemini", {"text": "x"}), 6000),
        "parts of its own": (parts({"executableCode": {"code": "x"}}), 6000),
        "results of its own": (parts({"functionResponse": {"name": "f", "response": {}}}), 6000),
    },
    "mistral": {
        "parts handed back": (kept("mistral", {"type": "text", "text": "x"}), 6000),
        "parts of its own": (parts({"type": "reference", "reference_ids": []}), 6000),
    },
}  # fmt: skip


# -- tools and schemas -------------------------------------------------------------------------------------------------


def tool(parameters: Any = None, name: str = "f", **more: Any) -> JSON:
    function = {"name": name, "parameters": parameters or {"type": "object", "properties": {}}, **more}
    return {"type": "function", "function": function}


def tools(build: Callable[[int], list[JSON]], **more: Any) -> Callable[[int], JSON]:
    return lambda size: {"messages": [HI], "tools": build(size), **more}


TOOLS: dict[str, tuple[Callable[[int], JSON], int]] = {
    "many tools": (tools(lambda size: [tool(name=f"f{at}") for at in range(size)]), 4000),
    "many strict tools": (tools(lambda size: [tool(name=f"f{at}", strict=True) for at in range(size)]), 4000),
    "many tools of one name": (tools(lambda size: [tool()] * size), 4000),
    "many custom tools": (
        tools(lambda size: [{"type": "custom", "custom": {"name": f"c{at}"}} for at in range(size)]), 4000
    ),
    "many functions": (
        lambda size: {"messages": [HI], "functions": [{"name": f"f{at}"} for at in range(size)]}, 4000
    ),
    "many allowed tools": (
        lambda size: {
            "messages": [HI],
            "tools": [tool(name=f"f{at}") for at in range(size)],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": f"f{at}"}} for at in range(size)]},
            },
        },
        4000,
    ),
    "unknown members of a tool": (
        tools(lambda size: [{**tool(), **{f"member{at}": 1 for at in range(size)}}]), 20_000
    ),
}  # fmt: skip


def nested(wrap: Callable[[Any], Any], inner: Any) -> Callable[[int], Any]:
    """Build nested schemas of depth `size`."""

    def build(size: int) -> Any:
        schema = inner
        for _ in range(size):
            schema = wrap(schema)
        return schema

    return build


STRING = {"type": "string"}


def properties(size: int) -> JSON:
    return {f"p{at}": STRING for at in range(size)}


def referring(keyword: str, **definition: Callable[[int], Any]) -> Callable[[int], JSON]:
    """Build many references to one large definition."""

    def build(size: int) -> JSON:
        made = {name: make(size) for name, make in definition.items()}
        return {keyword: [{"$ref": "#/$defs/A"}] * size, "$defs": {"A": made}}

    return build


# Each is used for the parameters of a tool, of a strict tool, and as the schema of the response.
SCHEMAS: dict[str, tuple[Callable[[int], Any], int]] = {
    "many properties": (lambda size: {"type": "object", "properties": properties(size)}, 10_000),
    "many required": (
        lambda size: {"type": "object", "properties": properties(size), "required": [*properties(size)]}, 10_000
    ),
    "many definitions": (
        lambda size: {"type": "object", "properties": {}, "$defs": properties(size)}, 10_000
    ),
    "a chain of references": (
        lambda size: {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/d0"}},
            "$defs": {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(size)} | {f"d{size}": STRING},
        },
        10_000,
    ),
    "alternatives that differ": (
        lambda size: {"anyOf": [{"properties": {"a": {"const": at}}} for at in range(size)]}, 4000
    ),
    "alternatives that differ in what is deep": (
        lambda size: {"anyOf": [{"properties": {"a": {"type": "object", "properties": {"b": {"const": at}}}}} for at in range(size)]}, 4000
    ),
    "alternatives that are alike": (lambda size: {"anyOf": [{"properties": {"a": STRING}}] * size}, 10_000),
    "alternatives with members of their own": (
        lambda size: {"oneOf": [{"properties": {f"p{at}": STRING}, "required": [f"p{at}"]} for at in range(size)]}, 10_000
    ),
    "references to many properties": (referring("anyOf", properties=properties), 1000),
    "references to many required": (referring("allOf", required=lambda size: [*properties(size)]), 1000),
    "references to many properties, of all": (referring("allOf", properties=properties), 1000),
    "types side by side": (
        lambda size: {"type": "object", "properties": {"a": {"type": ["string", "null"] * size}}}, 4000
    ),
    "many types of many properties": (
        lambda size: {"type": "object", "properties": {"a": {"type": ["object", "null", "array"] * size, "properties": properties(size)}}}, 1000
    ),
    "types in types": (
        nested(lambda one: {"type": "object", "properties": {"a": {"type": ["object", "array", "string"], "properties": {"a": one}}}}, STRING), 24
    ),
    "alternatives in alternatives": (
        nested(lambda one: {"type": "object", "properties": {"a": {"anyOf": [one, STRING]}}}, STRING), 20
    ),
    "prefixes in prefixes": (
        nested(lambda one: {"type": "object", "properties": {"a": {"type": "array", "prefixItems": [one]}}}, STRING), 20
    ),
    "a long enumeration": (
        lambda size: {"type": "object", "properties": {"a": {"enum": [f"v{at}" for at in range(size)]}}}, 20_000
    ),
    "an enumeration of lists": (
        lambda size: {"type": "object", "properties": {"a": {"enum": [[at] for at in range(size)]}}}, 20_000
    ),
    "unknown keywords": (
        lambda size: {"type": "object", "properties": {}, **{f"x-{at}": at for at in range(size)}}, 20_000
    ),
    "unknown keywords everywhere": (
        lambda size: {"type": "object", "properties": {f"p{at}": {"type": "string", "minLength": 1} for at in range(size)}}, 10_000
    ),
    "a long description": (
        lambda size: {"type": "object", "properties": {}, "minProperties": 1, "description": "a" * size}, 1_000_000
    ),
}  # fmt: skip
PLACES: dict[str, Callable[[Any], JSON]] = {
    "parameters": lambda schema: {"messages": [HI], "tools": [tool(schema)]},
    "strict parameters": lambda schema: {"messages": [HI], "tools": [tool(schema, strict=True)]},
    "answer": lambda schema: {
        "messages": [HI],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    },
}
# Formats that pass the schema on unchanged are left out.
TRIED = {
    "anthropic": tuple(PLACES),
    "bedrock": ("strict parameters", "answer"),
    "gemini": ("answer",),
}


# -- cases -------------------------------------------------------------------------------------------------------------


def encoding(wire: str, model: str, build: Callable[[int], JSON]) -> Callable[[int], Work]:
    codec = codec_for_model(wire, model)

    def make(size: int) -> Work:
        body = json.dumps({"model": model, **build(size)}).encode()
        return lambda: codec.encode(body, model)

    return make


def _encodings() -> Iterator[Case]:
    for target, (wire, model) in TARGETS.items():
        shapes = {**MESSAGES, **FORMAT_MESSAGES[target], **TOOLS}
        for name, (build, largest) in shapes.items():
            yield Case(f"{target}: {name}", encoding(wire, model, build), largest)
        for name, (build, largest) in REFUSED_MESSAGES.items():
            yield Case(f"{target}: {name}", encoding(wire, model, build), largest, refused=True)
    for wire, model in NEWEST.items():
        for name in ("system messages between turns", "parallel calls, pictures in the results", "many marked parts"):
            build, largest = MESSAGES[name]
            yield Case(f"{model}: {name}", encoding(wire, model, build), largest)


def _schemas() -> Iterator[Case]:
    for target, places in TRIED.items():
        wire, model = TARGETS[target]
        for place in places:
            for name, (build, largest) in SCHEMAS.items():
                yield Case(f"{target}: {name}, {place}", encoding(wire, model, _placed(place, build)), largest)


def _placed(place: str, build: Callable[[int], Any]) -> Callable[[int], JSON]:
    return lambda size: PLACES[place](build(size))


def body_of(build: Callable[[int], bytes], read: Callable[[bytes], object]) -> Callable[[int], Work]:
    def make(size: int) -> Work:
        body = build(size)
        return lambda: read(body)

    return make


def _chat(more: bytes) -> bytes:
    return b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]' + more + b"}"


# Bodies for a host that uses the OpenAI format.
BODIES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "many members": (lambda size: _chat(b"".join(b',"a%d":1' % at for at in range(size))), 30_000),
    "one member again and again": (lambda size: _chat(b',"a":1' * size), 30_000),
    "many members and an escape": (lambda size: _chat(b',"\\u006d":1' + b',"a":1' * size), 30_000),
    "models inside": (lambda size: _chat(b',"a":[' + b'{"model":1},' * size + b"1]"), 30_000),
    "brackets": (lambda size: _chat(b',"\\u006d":1,"a":[' + b"[]," * size + b"1]"), 60_000),
    "nested brackets": (lambda size: _chat(b',"\\u006d":1,"a":' + b"[[[[[[" * size + b"]]]]]]" * size), 150),
    "quotes": (lambda size: _chat(b',"\\u006d":1,"a":"' + b'\\"' * size + b'"'), 400_000),
    "backslashes": (lambda size: _chat(b',"\\u006d":1,"a":"' + b"\\\\" * size + b'"'), 400_000),
    "spaces": (lambda size: _chat(b',"\\u006d":1' + b" " * size), 400_000),
    "spaces between members": (lambda size: _chat(b',"\\u006d":1' + b' , "a" : 1' * size), 30_000),
    "commas in a text": (lambda size: _chat(b',"\\u006d":1,"a":"' + b"," * size + b'"'), 400_000),
    "one long key": (lambda size: _chat(b',"\\u006d' + b"a" * size + b'":1'), 400_000),
    # The worst order for a quicksort with the median of three: the greatest first, then all in order.
    "keys in a bad order": (
        lambda size: _chat(b',"a":{"z":1' + b"".join(b',"%08d":1' % at for at in range(size)) + b"}"), 20_000
    ),
    "numbers of many digits": (lambda size: _chat(b',"a":[' + b"1" * 900 + b"," + b"0.1," * size + b"1]"), 30_000),
    "a number of many decimals": (lambda size: _chat(b',"a":0.' + b"1" * size), 400_000),
    "a number with a long exponent": (lambda size: _chat(b',"a":0e' + b"0" * size), 400_000),
    "numbers with exponents": (lambda size: _chat(b',"a":[' + b"12e30," * size + b"1]"), 30_000),
    "escaped colons": (lambda size: _chat(b',"a":["' + b"\\u003a" * size + b'"]'), 60_000),
    "escaped colons and a key twice": (lambda size: _chat(b',"a":{"b":1,"b":2},"c":"' + b"\\u003a" * size + b'"'), 60_000),
    "keys with escaped colons": (lambda size: _chat(b"".join(b',"\\u003a%d":1' % at for at in range(size))), 20_000),
    "data URLs": (lambda size: _chat(b',"a":["' + b";base64,QUJD" * size + b'"]'), 60_000),
    "one data URL": (lambda size: _chat(b',"a":";base64,' + b"QUJD" * size + b'"'), 400_000),
    "half data URLs": (lambda size: _chat(b',"a":"' + b";base64" * size + b'"'), 200_000),
}  # fmt: skip


_OPENAI_CHAT = endpoint_of(CATALOG["openai"], "chat")


def _passed_on(body: bytes) -> None:
    prepare(body, read_envelope(body), _OPENAI_CHAT, Target.at(_OPENAI_CHAT.provider, "another-model"))


def _completion_as_chat(body: bytes) -> None:
    translate(
        read_completion_request(body, DEFAULT_LIMITS), PROVIDER_PROTOCOLS["openai"], "m", NO_FACTS, DEFAULT_LIMITS
    )


def _canonical_form(body: bytes) -> None:
    with suppress(NoCanonicalTextError):
        separate(body, DELIVERY)


def _conversation_key(body: bytes) -> None:
    conversation_key(body, read_envelope(body))


READERS: dict[str, Callable[[bytes], object]] = {
    "envelope": read_envelope,
    "members": members,
    "model_span": model_span,
    "conversation_key": _conversation_key,
    "rewrite": lambda body: rewrite(body, {"max_tokens": "max_completion_tokens", "a": "b"}, frozenset({"a7"})),
    "passed on": _passed_on,
    "fingerprint": lambda body: fingerprint(body, b"chat", b"", b""),
    "canonical form": _canonical_form,
    "another model": lambda body: with_model(body, "another-model"),
    "count of nodes": lambda body: exceeds_node_count(body, len(body) // 2),
    "token estimate": lambda body: estimated_tokens(body, True),
}
COMPLETIONS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "a long prompt": (lambda size: json.dumps({"model": "m", "prompt": "a" * size}).encode(), 1_000_000),
    "many members": (
        lambda size: json.dumps({"model": "m", "prompt": "a", **{f"a{at}": 1 for at in range(size)}}).encode(), 100_000
    ),
}  # fmt: skip


def _passing() -> Iterator[Case]:
    for reader, read in READERS.items():
        for name, (build, largest) in BODIES.items():
            yield Case(f"{reader}: {name}", body_of(build, read), largest)
    for name, (build, largest) in COMPLETIONS.items():
        yield Case(f"completions: {name}", body_of(build, _completion_as_chat), largest // 4)


EMBEDDING_MODELS = {
    "bedrock": "cohere.embed-english-v3",
    "gemini": "gemini-embedding-001",
    "mistral": "mistral-embed",
    "vertex": "text-embedding-005",
}
INPUTS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "many inputs": (lambda size: json.dumps({"model": "m", "input": [f"text {at}" for at in range(size)]}).encode(), 20_000),
    "equal inputs": (lambda size: json.dumps({"model": "m", "input": ["text"] * size}).encode(), 20_000),
    "a long input": (lambda size: json.dumps({"model": "m", "input": "a" * size}).encode(), 1_000_000),
}  # fmt: skip
BATCHES = {
    **INPUTS,
    "token ids": (lambda size: json.dumps({"model": "m", "input": [*range(size)]}).encode(), 200_000),
    "lists of token ids": (lambda size: json.dumps({"model": "m", "input": [[at] for at in range(size)]}).encode(), 20_000),
}  # fmt: skip


def _batched(size: int) -> Work:
    """Process a whole embeddings batch: parse it, split it and join the responses."""
    body = json.dumps({"model": "m", "input": [f"text {at}" for at in range(size)]}).encode()
    data = [{"object": "embedding", "index": at, "embedding": [0.5] * 8} for at in range(size)]
    usage = {"prompt_tokens": 10_000, "total_tokens": 10_000}
    answer = json.dumps({"object": "list", "data": data, "model": "m", "usage": usage}).encode()

    def work() -> None:
        batch = read_batch(body, b"", b"")
        assert batch is not None
        asked = batch.missing({})
        batch.request(asked[1:])
        vectors = read_vectors(answer, batch, asked, "p", 0.0)
        join(batch, vectors, answer)

    return work


def _embeddings() -> Iterator[Case]:
    for wire, codec in EMBEDDINGS.items():
        model = EMBEDDING_MODELS[wire]
        for name, (build, largest) in INPUTS.items():
            few = wire in ("bedrock", "gemini") and name != "a long input"  # they take 96 and 100 texts
            read = lambda body, codec=codec, model=model: codec.encode(body, model)  # noqa: E731
            yield Case(f"{wire} embeddings: {name}", body_of(build, read), 96 if few else largest)
    for name, (build, largest) in BATCHES.items():
        yield Case(f"embedding batch: {name}", body_of(build, lambda body: read_batch(body, b"", b"")), largest)
    yield Case("embedding batch: a whole turn", _batched, 2048)


# -- names of models ---------------------------------------------------------------------------------------------------

_PIECES = (
    "claude-",
    "claude-a-",
    "claude-1",
    "us.",
    ".us.us",
    "gpt-",
    "gpt-4o-",
    "gemini-",
    "a/",
    "/",
    "o1",
    "models/",
    "x",
)
_NUMBERS = itertools.count()
_CHAINS = FallbackChains(
    {"*a*b*c*": ((WeightedTarget("openai/gpt-4o"),),), "[a-z]*-*-*x": ((WeightedTarget("openai/o3"),),)}, automatic=True
)


def _named(piece: str, wire: str) -> Callable[[int], Work]:
    """Prepare a request for a model whose name repeats a piece."""

    def make(size: int) -> Work:
        name = piece * (size // len(piece) + 1) + f"{next(_NUMBERS)}"  # results are cached by name
        body = json.dumps({"model": name, "messages": [HI]}).encode()
        spec = next(spec for spec in CATALOG.values() if spec.wire == wire)
        provider = Provider(spec=spec, base_url="https://example.com")
        endpoint = endpoint_of(spec, "chat")
        router = Router({spec.name: provider}, {}, spec.name, CATALOG, _CHAINS, default_is_set=True)

        def work() -> None:
            envelope = read_envelope(body)
            with suppress(Failure):  # of a name that means a provider which is not there
                router.plan(envelope.model, "chat")
            with suppress(Failure):
                prepare(body, envelope, endpoint, Target.at(endpoint.provider, name))

        return work

    return make


def _names() -> Iterator[Case]:
    for wire in ("openai", "anthropic", "bedrock", "gemini", "mistral"):
        for piece in _PIECES:
            yield Case(f"{wire}: a model named {piece * 3}..", _named(piece, wire), 40_000)


assert set(TARGETS) <= set(CODECS)
CASES = [*_encodings(), *_schemas(), *_passing(), *_embeddings(), *_names()]
