"""How the checks speak: to the service as its callers would, to the sandbox through its control."""

import asyncio
import io
import json
import math
import time
import wave
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .. import catalogue

if TYPE_CHECKING:
    import httpx

PATIENCE_S = 90.0  # for what comes at once where the machine has nothing else to do

T = TypeVar("T")
Facts = dict[str, Any]


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], within_s: float = PATIENCE_S) -> T:
    """The first answer for which it holds; after *within_s* the last one, whatever it is."""
    ends, pause_s = time.monotonic() + within_s, 0.01
    while not holds(said := await ask()) and time.monotonic() < ends:
        await asyncio.sleep(pause_s)
        pause_s = min(1.5 * pause_s, 0.2)
    return said


class Heard(NamedTuple):
    """An answer; status 0 is a connection that was broken."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def detail(self) -> Facts:
        """What an error says of itself; empty where it is not in the contract's shape."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return {}
        detail = said.get("detail") if isinstance(said, dict) else None
        return detail if isinstance(detail, dict) else {}

    @property
    def code(self) -> str:
        return str(self.detail.get("code", ""))

    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip() if self.status else "a broken connection"


class Sandbox:
    """The stand-in's control."""

    def __init__(self, http: "httpx.AsyncClient", url: str) -> None:
        self._http, self.url = http, url

    async def state(self) -> Facts:
        return dict((await self._http.get(f"{self.url}/__sandbox/state")).raise_for_status().json())

    async def set(self, **fields: Any) -> Facts:
        return dict((await self._http.post(f"{self.url}/__sandbox/set", json=fields)).raise_for_status().json())

    async def speak(self, text: str, model: str) -> bytes:
        """Without the service: what the whole audio is."""
        url, body = f"{self.url}/v1/text-to-speech/{VOICE}", {"text": text, "model_id": model}
        return (await self._http.post(url, json=body, headers={"xi-api-key": "any"})).raise_for_status().content


class Service:
    """What is put to the test.  ``keys`` are its callers', by name; the texts that were spoken stay in ``texts``."""

    def __init__(self, http: "httpx.AsyncClient", url: str, keys: Mapping[str, str]) -> None:
        self._http, self.url, self.keys = http, url, keys
        self.texts: set[str] = set()

    async def speak(self, text: str, model: str, *, voice: str = "", stream: bool = False, **more: Any) -> Heard:
        """*more* as ``ask`` takes it; ``fields`` go into the body."""
        self.texts.add(text)
        path = f"/v1/text-to-speech/{voice or VOICE}{'/stream' if stream else ''}"
        return await self.ask("POST", path, body={"text": text, "model_id": model} | more.pop("fields", {}), **more)

    async def hear(self, audio: bytes, **more: Any) -> Heard:
        form = {"data": {"model_id": HEARS} | more.pop("fields", {}), "files": {"file": ("a.wav", audio, "audio/wav")}}
        return await self.ask("POST", "/v1/speech-to-text", form=form, **more)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        caller: str | None = "admin",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        form: Facts | None = None,
    ) -> Heard:
        """*caller* is by name, None is nobody; *key* goes before it.  Bytes are sent as they are, all else as JSON."""
        import httpx

        sent = {"xi-api-key": key or self.keys[caller or ""]} if key or caller else {}
        content = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else form or {}
        try:
            said = await self._http.request(method, self.url + path, headers=sent | dict(headers or {}), **content)
        except httpx.TransportError:
            return Heard(0, {}, b"")
        return Heard(said.status_code, said.headers, said.content)

    async def usage(self) -> Facts:
        """Raises ValueError where it isn't told."""
        said = await self.ask("GET", "/usage")
        if said.status != 200:
            raise ValueError(f"GET /usage answers {said}")
        return dict(said.json())

    async def pool(self, name: str) -> Facts:
        """in_flight, limit, queued by priority, breaker ... as the service sees it."""
        return dict((await self.usage())["now"]["pools"][name])

    async def under_way(self, name: str) -> int:
        now = await self.pool(name)
        return int(now["in_flight"] + sum(now["queued"].values()))


# --------------------------------------------------------------------------------------------- what is asked for, facts

CATALOGUE = catalogue.load()
VOICE: str = CATALOGUE["voices"]["template_default"]["voice_id"]
SPEAKING = {name: row for name, row in CATALOGUE["models"].items() if row["kind"] == "tts"}
STANDARD = next(name for name, row in SPEAKING.items() if row.get("api_default"))
FLASH: str = CATALOGUE["qualities"]["realtime"]["models"][0]
HEARS = next(name for name, row in CATALOGUE["models"].items() if row["kind"] == "stt" and row.get("default"))
POOLS = {"standard": STANDARD, "flash": FLASH, "stt": HEARS}


def plan(tier: str) -> dict[str, int]:
    """Calls at once by pool; an enterprise contract isn't published, and starts as business."""
    rows, fallback = CATALOGUE["plans"][tier]["concurrency"], CATALOGUE["plans"]["business"]["concurrency"]
    return {pool: int(rows[pool]["limit"] or fallback[pool]["limit"]) for pool in POOLS}


def credits(text: str, model: str) -> int:
    return math.ceil(len(text) * float(SPEAKING[model]["credits_per_character"]))


def usd(text: str, model: str) -> float:
    return len(text) * float(SPEAKING[model]["usd_per_1000_characters"]) / 1000


def recording(seconds: float, number: int = 0) -> bytes:
    """A WAV of that length, which is not silent; another for each *number*."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8000)
        out.writeframes(bytes((80 + number % 50, 170)) * round(seconds * 4000))
    return file.getvalue()
