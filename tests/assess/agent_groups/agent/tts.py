import asyncio
import contextlib
import io
import subprocess
import time
from collections import OrderedDict
from collections.abc import AsyncIterator

import aiohttp
import anyio
import anyio.to_thread
from aiolimiter import AsyncLimiter
from elevenlabs import AsyncElevenLabs, ElevenLabs, play
from elevenlabs import stream as play_stream
from loguru import logger

from agent.settings import settings

API = "https://api.elevenlabs.io/v1"
SLOTS_EACH = settings.plan_slots // settings.processes
FILLER = "Hmm, let me think."


class TTS:
    def __init__(self, *, session: aiohttp.ClientSession | None = None):
        self._session = session
        self._sdk = AsyncElevenLabs(api_key=settings.eleven_key, timeout=20)
        self._sync = ElevenLabs(api_key=settings.eleven_key, timeout=20)
        self._share = asyncio.Semaphore(SLOTS_EACH)
        self._capacity = anyio.CapacityLimiter(10)  # expect: per-process-limiter
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        logger.info("tts up, key {}", "set" if settings.eleven_key else "missing")
        logger.trace("tts key {}", settings.eleven_key)  # expect: key-logged

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30, sock_connect=3))
        return self._session

    async def rest(self, text: str) -> bytes:
        async with self.session().post(
            f"{API}/text-to-speech/{settings.voice}", json={"text": text}, headers={"xi-api-key": settings.eleven_key}
        ) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def rest_once(self, text: str) -> bytes:
        async with aiohttp.ClientSession() as session:
            async with session.post(  # expect: no-timeout
                f"{API}/text-to-speech/{settings.voice}",
                json={"text": text},
                headers={"xi-api-key": settings.eleven_key},
                timeout=aiohttp.ClientTimeout(total=None),
            ) as answer:
                return await answer.read()

    async def rest_bounded(self, text: str) -> bytes:
        with anyio.fail_after(15):
            async with aiohttp.ClientSession() as session, session.post(f"{API}/text-to-speech/x", json={"text": text}) as answer:
                return await answer.read()

    async def say(self, text: str) -> bytes:
        buffer = io.BytesIO()
        async for chunk in self._sdk.text_to_speech.stream(settings.voice, text=text, model_id=settings.fast_model):
            buffer.write(chunk)
        return buffer.getvalue()

    async def say_shared(self, text: str) -> bytes:
        async with self._share:
            return await self.say(text)

    async def say_limited(self, text: str) -> bytes:
        async with self._capacity:
            return await self.say(text)

    async def say_recent(self, text: str) -> bytes:
        with contextlib.suppress(KeyError):
            self._recent.move_to_end(text)
            return self._recent[text]
        self._recent[text] = audio = await self.say(text)
        if len(self._recent) > 200:
            self._recent.popitem(last=False)
        return audio

    async def filler_loop(self, wanted: asyncio.Event, out: asyncio.Queue[bytes]):
        while True:
            await wanted.wait()
            wanted.clear()
            await out.put(await self.say(FILLER))  # expect: repeated-synthesis

    async def filler_loop_kept(self, wanted: asyncio.Event, out: asyncio.Queue[bytes]):
        filler = await self.say(FILLER)
        while True:
            await wanted.wait()
            wanted.clear()
            await out.put(filler)

    async def filler_recent(self, wanted: asyncio.Event, out: asyncio.Queue[bytes]):
        while True:
            await wanted.wait()
            wanted.clear()
            await out.put(await self.say_recent(FILLER))

    async def local(self, text: str):
        audio = self._sync.text_to_speech.convert(settings.voice, text=text)
        play(audio)  # expect: blocking-in-async

    async def local_right(self, text: str):
        def work():
            play_stream(self._sync.text_to_speech.stream(settings.voice, text=text))

        await anyio.to_thread.run_sync(work)

    async def local_wrong(self, text: str):
        with open("/tmp/last.mp3", "wb") as file:
            for chunk in self._sync.text_to_speech.stream(settings.voice, text=text):  # expect: blocking-in-async
                file.write(chunk)

    def _to_bytes(self, text: str) -> bytes:
        return b"".join(self._sync.text_to_speech.convert(settings.voice, text=text))

    async def threaded(self, text: str) -> bytes:
        return await asyncio.to_thread(self._to_bytes, text)

    async def not_threaded(self, text: str) -> bytes:
        return self._to_bytes(text)  # expect: blocking-in-async

    async def called_too_early(self, text: str) -> bytes:
        return await asyncio.to_thread(self._to_bytes(text))  # expect: blocking-in-async

    async def effect(self, text: str):
        made = self._sync.text_to_sound_effects.convert(text=text)
        return await anyio.to_thread.run_sync(b"".join, made)

    async def transcribe(self, pcm: bytes) -> str:
        upload = ("speech.wav", pcm, "audio/wav")
        heard = await self._sdk.speech_to_text.convert(file=upload, model_id="scribe_v2")  # expect: stt-retry-drops-form
        return heard.text

    async def transcribe_once(self, pcm: bytes) -> str:
        heard = await self._sdk.speech_to_text.convert(file=pcm, model_id="scribe_v2", request_options={"max_retries": 0})
        return heard.text

    async def settle(self):
        time.sleep(0.5)  # expect: blocking-in-async
        await asyncio.sleep(0.5)
