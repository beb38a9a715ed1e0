"""The dialects of the built-in providers that have OpenAI's chat format.

What concerns models is in `models/data/hosts.json`. Each dialect is from the sources that are named beside it, read in
November 2026.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from nulpoint.providers.dialect import EXTRA_FIELDS, Dialect

# OpenAI and Azure ignore what they do not know in messages, so that these need not be searched, except for
# `cache_control`, which they reject.
OPENAI = Dialect(extras=EXTRA_FIELDS, cache_marks=False)
# Of no other host it is known that it has the role `developer`, and chat templates often reject it; all have `system`.
# Nor is it known of another host that it has custom tools or the choice `allowed_tools`.
_HOST = Dialect(roles={"developer": "system"}, extras=(), custom_tools=False, allowed_tools=False)


def _host(**fields: object) -> Dialect:
    return msgspec.structs.replace(_HOST, **fields)


_FUNCTION = ("name", "description", "parameters", "strict")
_CALL = ("id", "type", "function", "name", "arguments")
_TEXT_OR_IMAGE = ("text", "image_url")
_NO_TIER = ("priority", "scale", "fast", "ultrafast")

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        # docs.x.ai, and LiteLLM, which takes `name` out of messages.
        "xai": _host(reasoning="reasoning_content", rejects={"message": ("name",)}),
        # api-docs.deepseek.com/guides/thinking_mode. The blank for lost reasoning is from LiteLLM.
        "deepseek": _host(
            reasoning="reasoning_content",
            lost_reasoning=" ",
            thinking_switch="thinking",
        ),
        # console.groq.com/docs/openai and the `groq` package: unknown members of messages are an error.
        "groq": _host(
            reasoning="reasoning",
            accepts={
                "message": ("reasoning", "function_call"), "call": _CALL, "part": _TEXT_OR_IMAGE, "tool": _FUNCTION,
            },
            values={"service_tier": {"default": "on_demand", **dict.fromkeys(_NO_TIER)}},
        ),
        # The `together` package.
        "together": _host(thinking_switch="reasoning", lists=("stop",)),
        "perplexity": _HOST,
        # inference-docs.cerebras.ai and the `cerebras-cloud-sdk` package: unknown members of messages are an error.
        "cerebras": _host(
            reasoning="reasoning",
            accepts={
                "message": ("name", "reasoning"), "call": (*_CALL, "index"), "part": _TEXT_OR_IMAGE, "tool": _FUNCTION,
            },
        ),
        # n8n-io/n8n#29142 and LiteLLM, for the reasoning that must come back; the AI SDK, for `strict`.
        "moonshot": _host(
            reasoning="reasoning_content",
            lost_reasoning=" ",
            thinking_switch="thinking",
            rejects={"tool": ("strict",)},
        ),
        # platform.minimax.io/docs: messages are given back with the tags or details of the reasoning in them.
        "minimax": _host(
            extras=("reasoning_details",), thinking_switch="thinking", rejects={"tool": ("strict",)},
        ),
        # help.aliyun.com/model-studio, and the AI SDK.
        "qwen": _host(reasoning="reasoning_content", thinking_switch="enable_thinking"),
        "nebius": _HOST,
        "novita": _HOST,
        "bytedance": _host(reasoning="reasoning_content", thinking_switch="thinking"),
        # docs.z.ai/guides/capabilities/thinking-mode. That `name` and `strict` are rejected is from AgentScope,
        # and that a message of the user is needed from continuedev/continue#13261.
        "zai": _host(
            reasoning="reasoning_content",
            thinking_switch="thinking",
            rejects={"message": ("name",), "tool": ("strict",)},
            needs_user=True,
        ),
        "canopywave": _HOST,
        "inference": _HOST,
        "nanogpt": _HOST,
        # The `openrouter` package: it has a type for messages of developers, and wants reasoning back unchanged.
        "openrouter": Dialect(
            extras=("annotations", "reasoning_details"), thinking_switch="reasoning", custom_tools=False,
            allowed_tools=False,
        ),
        # The `fireworks-ai` package. Unknown members are an error. By default it shortens what is too long
        # for the model.
        "fireworks": _host(
            reasoning="reasoning_content",
            accepts={
                "message": ("reasoning_content",), "call": _CALL, "part": (*_TEXT_OR_IMAGE, "video_url"),
                "tool": ("name", "description", "parameters"),
            },
            defaults={"context_length_exceeded_behavior": "error"},
        ),
        # github.com/ollama/ollama/blob/main/openai/openai.go
        "ollama": _host(reasoning="reasoning"),
        # The `vllm` package: unknown members are ignored, and messages may have either name of the reasoning.
        "vllm": _HOST,
        # lmstudio.ai/docs/api-changelog
        "lmstudio": _HOST,
    }
)  # fmt: skip
