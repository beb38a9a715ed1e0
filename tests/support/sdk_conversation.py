"""A conversation between the official SDK, a gateway and one mock provider."""

import contextlib
import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from support.event_loop import run
from support.running_gateway import gateway

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQK"
STRANGE = 'q"\\\u2028ü'  # characters that handwritten escaping gets wrong


class Row(NamedTuple):
    """A provider and one of its models. Generations of models that accept different requests have rows of their own."""

    provider: str
    model: str

    @property
    def speaks(self) -> Any:
        """The provider whose format is used."""
        return SPEAKS.get(self.provider, self.provider)

    @property
    def mock(self) -> Any:
        return "vertexai" if self.provider == "vertexai-claude" else self.provider


SPEAKS = {"azure": "openai", "vertexai": "gemini", "vertexai-claude": "anthropic"}
ROWS = (
    Row("openai", "gpt-4o"),
    Row("anthropic", "claude-haiku-4-5"),
    Row("anthropic", "claude-opus-4-8"),
    Row("gemini", "gemini-2.5-flash"),
    Row("gemini", "gemini-3-flash-preview"),
    Row("mistral", "mistral-large-latest"),
)
CLOUDS = (
    Row("azure", "azure-gpt-4o"),
    Row("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    Row("bedrock", "amazon.nova-pro-v1:0"),
    Row("vertexai", "vertexai-gemini-2.5-flash"),
    Row("vertexai-claude", "vertexai/claude-haiku-4-5"),
)
ONE_A_PROVIDER = tuple(row for row in ROWS if row.model not in ("claude-opus-4-8", "gemini-3-flash-preview"))


def tool(name: Any, **properties: Any) -> dict[str, Any]:
    """Return a function tool with these parameters."""
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": f"the {name}", "parameters": schema}}


TOOLS = [
    tool("weather", city={"type": "string", "default": STRANGE}, days={"type": "array", "items": {"type": "integer"}}),
    tool("time"),
]
ARGUMENTS = {"weather": {"city": STRANGE, "days": [1]}, "time": {}}


class Talk:
    """A conversation. If `streamed`, responses are streams that the SDK assembles. `headers` are from the last response."""

    def __init__(self, row: Any, streamed: Any, running: Any, client: Any) -> None:
        self.row = row
        self.streamed = streamed
        self.mock = running.mocks[row.mock]
        self.client = client
        self.headers: Mapping[str, str] = {}
        self.chunks: list[Any] = []

    async def ask(self, messages: Any, **request: Any) -> Any:
        """Send a request and return message and finish reason of the first choice. Sets `usage`."""
        completion = await self.complete(messages, **request)
        choice = completion.choices[0]
        self.usage = completion.usage
        return choice.message, choice.finish_reason

    async def complete(self, messages: Any, **request: Any) -> Any:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if self.streamed:
            request = {"stream_options": {"include_usage": True}, **request, "stream": True}
        create = self.client.chat.completions.with_raw_response.create
        raw = await create(model=self.row.model, messages=messages, **request)
        self.headers = raw.headers
        if not self.streamed:
            return raw.parse()
        state = ChatCompletionStreamState()
        self.chunks = []
        async for chunk in raw.parse():
            self.chunks.append(chunk)
            state.handle_chunk(chunk)
        return state.current_completion_snapshot

    @property
    def dropped(self) -> Any:
        """The members that the gateway reports as dropped."""
        return sorted(filter(None, self.headers.get("x-nulpoint-dropped", "").split(",")))

    def sent(self) -> Any:
        """Return the last request that the provider received."""
        return json.loads(b64decode(self.mock.last["body"]))


def sdk(url: Any, **options: Any) -> Any:
    """Return a client of the official SDK. It verifies no TLS, because loading the root certificates is slow."""
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0, http_client=plain, **options)


def talk(row: Any, streamed: Any, use: Any, settings: Any = None, headers: Any = None) -> None:
    """Run `use(talk)` with a conversation with the mock of that row's provider."""

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            running = await stack.enter_async_context(gateway(settings or {}, names=(row.mock,)))
            client = await stack.enter_async_context(sdk(running.url, default_headers=headers))
            await use(Talk(row, streamed, running, client))

    run(main())


def answered(messages: Any, message: Any, *results: Any) -> list[Any]:
    """Return the messages with the response as the SDK has it, and the results of its calls."""
    calls = message.tool_calls or []
    results_of_calls = [
        {"role": "tool", "tool_call_id": call.id, "content": result}
        for call, result in zip(calls, results, strict=True)
    ]
    return [*messages, message, *results_of_calls]
