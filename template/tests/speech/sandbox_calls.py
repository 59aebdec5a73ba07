"""Short ways to ask a sandbox for something, for the tests of the sandbox."""

import asyncio
import json
from typing import Any

import httpx

from speech.catalogue import CATALOGUE
from speech.testing.plugin import SandboxThread

TALIA = CATALOGUE["voices"]["template_default"]["voice_id"]
FLASH = "eleven_flash_v2_5"
CLIENT = httpx.Client(timeout=10, limits=httpx.Limits(max_keepalive_connections=0))


def speak(
    sandbox: SandboxThread,
    text: Any = "hello",
    voice: str = TALIA,
    endpoint: str = "",
    query: dict[str, str] | None = None,
    key: str | None = "any",
    fault: str | None = None,
    **fields: Any,
) -> httpx.Response:
    """Flash, where no other model is named; ``text=...`` (the ellipsis) leaves the text away."""
    body = {"model_id": FLASH, **fields} | ({} if text is ... else {"text": text})
    url = f"{sandbox.url}/v1/text-to-speech/{voice}{endpoint}"
    return CLIENT.post(url, content=json.dumps(body), params=query, headers=_headers(key, fault))


def hear(
    sandbox: SandboxThread, file: bytes | None, fault: str | None = None, key: str | None = "any", **fields: Any
) -> httpx.Response:
    """Speech to text as a form, with the model Scribe v2 where no other is named; a field that is None is left away."""
    form = {name: value for name, value in {"model_id": "scribe_v2", **fields}.items() if value is not None}
    files = {"file": ("x", file)} if file is not None else {"nothing": ("x", b"")}
    url = f"{sandbox.url}/v1/speech-to-text"
    return CLIENT.post(url, data=form, files=files, headers=_headers(key, fault))


async def speak_at_once(sandbox: SandboxThread, count: int, model: str = FLASH) -> list[httpx.Response]:
    """As many calls as asked for, all under way together."""
    url = f"{sandbox.url}/v1/text-to-speech/{TALIA}"
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(headers=_headers("any", None), limits=limits, timeout=20) as client:
        calls = (client.post(url, json={"model_id": model, "text": f"number {number}"}) for number in range(count))
        return await asyncio.gather(*calls)


def _headers(key: str | None, fault: str | None) -> dict[str, str]:
    return {**({"xi-api-key": key} if key else {}), **({"x-sandbox-fault": fault} if fault else {})}
