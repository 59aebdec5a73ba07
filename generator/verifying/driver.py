"""Run by the project's own Python where it serves no routes: its ``SpeechClient``, behind those that ``verify`` asks.

    python driver.py PACKAGE            prints its address; SIGTERM drains, as ``async with`` does
    python driver.py PACKAGE forget     remove what this account left in Redis

It is no part of this package: it imports nothing of it.
"""

import asyncio
import json
import logging
import signal
import sys
from importlib import import_module
from typing import Any

CACHE = {"no-store": "off", "no-cache": "refresh"}
TOTALS = ("credits", "uncertain_credits", "cost_usd", "characters", "stt_seconds", "requests", "saved_credits")


class Driver:
    """From HTTP to the Python API and back; ``busy`` counts the answers that are under way."""

    def __init__(self, package: str, client: Any) -> None:
        self._package, self._client, self.busy = package, client, 0
        self._errors = import_module(f"{package}.speech").SpeechError
        self._names = {key: name for name, key in client.settings.client_keys}

    async def handle(self, request: Any, reply: Any) -> None:
        self.busy += 1
        try:
            await self._answer(request, reply)
        except self._errors as error:
            reply.reply(error.status, error.body(), error.headers())
        except Exception as error:  # noqa: BLE001 - a broken client may raise anything; in no words of its own
            reply.reply(500, {"detail": {"code": f"{type(error).__name__} raised"}})
        finally:
            self.busy -= 1

    async def _answer(self, request: Any, reply: Any) -> None:
        if request.path == "/usage":
            reply.reply(200, await self._usage())
        elif request.path == "/readyz":
            reply.reply(200 if self._client.ready else 503, {})
        elif request.path == "/v1/speech-to-text":
            await self._hear(request, reply)
        elif request.path.endswith("/stream"):
            await self._stream(request, reply)
        else:
            await self._speak(request, reply)

    async def _usage(self) -> dict[str, Any]:
        """What ``GET /usage`` says that is asked for here."""
        rows = (await self._client.policies.ledger.rows()).values()
        totals = {name: sum(getattr(row, name) for row in rows) for name in TOTALS}
        return {"totals": totals, "now": self._client.snapshot()}

    def _terms(self, headers: Any) -> dict[str, Any]:
        limit = headers.get("x-deadline-ms")
        return {
            "caller": self._names[headers["xi-api-key"]],
            "priority": headers.get("x-priority", "normal"),
            "deadline": int(limit) / 1000 if limit else None,
        }

    def _wishes(self, request: Any) -> dict[str, Any]:
        cache = CACHE.get(request.headers.get("cache-control", ""), "use")
        voice = request.path.removeprefix("/v1/text-to-speech/").partition("/")[0]
        return {**json.loads(request.body), **self._terms(request.headers), "cache": cache, "voice_id": voice}

    async def _speak(self, request: Any, reply: Any) -> None:
        audio = await self._client.synthesize(**self._wishes(request))
        headers = {"x-cache": audio.cache, "character-cost": str(audio.credits), "x-model-id": audio.model_id}
        reply.start(200, headers | {"content-type": audio.media_type, "content-length": str(len(audio.data))})
        reply.finish(audio.data)

    async def _stream(self, request: Any, reply: Any) -> None:
        async with self._client.stream(**self._wishes(request)) as chunks:
            reply.start(200, {"content-type": chunks.media_type, "x-cache": chunks.cache})
            try:
                async for chunk in chunks:
                    await reply.write(chunk)
            except self._errors:
                reply.reset()  # never a clean end
            else:
                reply.finish()

    async def _hear(self, request: Any, reply: Any) -> None:
        parts_of = import_module(f"{self._package}.speech.testing.multipart").parts_of
        parts = list(parts_of(request.headers["content-type"], request.body))
        file = next(part.data for part in parts if part.is_file)
        fields = {part.name: part.data.decode() for part in parts if not part.is_file}
        said = await self._client.transcribe(file, **fields, **self._terms(request.headers))
        reply.reply(200, {"text": said.text, "audio_duration_secs": said.seconds})


async def serve(package: str) -> None:
    speech, server = import_module(f"{package}.speech"), import_module(f"{package}.speech.testing.server")
    settings = speech.Settings.from_env()
    logging.basicConfig(level=settings.log_level.upper())  # as a host may: everything, in its own way
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with speech.SpeechClient(settings) as client:
        await client.warm_up()
        driver = Driver(package, client)
        async with server.listening(driver.handle) as url:
            print(url, flush=True)
            await stop.wait()
            await client.aclose()
            while driver.busy:
                await asyncio.sleep(0.01)


def forget(package: str) -> None:
    import redis

    room = import_module(f"{package}.speech").Settings.from_env().room
    with redis.Redis.from_url(room.redis_url) as server:
        for key in server.scan_iter(f"speech:{{{room.account}}}:*"):
            server.delete(key)


if __name__ == "__main__":
    forget(sys.argv[1]) if sys.argv[2:] == ["forget"] else asyncio.run(serve(sys.argv[1]))
