"""A running gateway whose config.yaml can be changed by tests."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from support.http_client import Caller
from support.running_gateway import Running, gateway


class Live(Running):
    """A running gateway and its config.yaml."""

    folder: Path

    def write(self, **settings: Any) -> None:
        """Replace the whole file atomically, as `mv` does."""
        self.write_text(yaml.safe_dump(settings))

    def write_text(self, text: str) -> None:
        replacement = self.folder / "replacement"
        replacement.write_text(text)
        replacement.replace(self.folder / "config.yaml")

    async def reload(self, *fields: str) -> tuple[int, dict[str, Any]]:
        return await self.ask("POST", "/admin/reload", *fields)

    async def change(self, **settings: Any) -> dict[str, Any]:
        """Write the file and reload, which must succeed."""
        self.write(**settings)
        status, page = await self.reload()
        assert status == 200, page
        return page

    async def get(self, path: str, *fields: str) -> tuple[int, dict[str, Any]]:
        return await self.ask("GET", path, *fields)

    async def ask(self, method: str, path: str, *fields: str) -> tuple[int, dict[str, Any]]:
        client = await Caller.connect(self.app.admin_port or self.port)
        host = [] if any(field.lower().startswith("host:") for field in fields) else ["Host: localhost"]
        lines = [f"{method} {path} HTTP/1.1", *host, "Content-Length: 0", *fields, "", ""]
        client.send("\r\n".join(lines).encode("latin-1"))
        status, _, body = await client.answer()
        await client.close()
        return status, json.loads(body) if body else {}

    async def chat(self, model: str = "gpt-4o", text: str = "hi", *fields: str) -> tuple[int, dict[str, str], bytes]:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
        client = await Caller.connect(self.port)
        head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Content-Type: application/json"]
        client.send("\r\n".join([*head, f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body)
        response = await client.answer()
        await client.close()
        return response


@contextlib.asynccontextmanager
async def live(
    folder: Path, settings: Any = MappingProxyType({}), *, file: Any = MappingProxyType({}), **more: Any
) -> AsyncIterator[Live]:
    """Run a gateway with `settings` as its environment and `file` as the initial content of config.yaml."""
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(file)) if file else "{}")
    async with gateway(settings, directory=folder, **more) as running:
        running.__class__ = Live
        assert isinstance(running, Live)
        running.folder = folder
        yield running
