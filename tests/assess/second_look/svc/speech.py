from __future__ import annotations

import asyncio
import time
import typing as t
from concurrent import futures

import httpx as hx
import requests as r
from svc.core import client_factory

if t.TYPE_CHECKING:
    from elevenlabs import AsyncElevenLabs

BASE = "https://api.elevenlabs.io"
SESSION = r.Session()
SESSION.headers.update({"xi-api-key": "from the vault"})


class Base:
    client: AsyncElevenLabs

    def __init__(self, client: AsyncElevenLabs):
        self.client = client
        self._gate = asyncio.Semaphore(8)  # expect: per-process-limiter
        self._audio: dict[str, bytes] = {}


class Voice(Base):
    async def one(self, text: str) -> bytes:
        out = b""
        async for chunk in self.client.text_to_speech.convert(voice_id="x", text=text):
            out += chunk
        return out

    async def gated(self, text):
        async with self._gate:
            return await self.one(text)

    async def kept(self, text):
        if text in self._audio:
            return self._audio[text]
        self._audio[text] = await self.one(text)
        return self._audio[text]

    async def all(self, texts: list[str]):
        tasks = []
        for text in texts:
            tasks.append(self.one(text))
        return await asyncio.gather(*tasks, return_exceptions=True)  # expect: unbounded-fanout

    async def all_gated(self, texts: list[str]):
        return await asyncio.gather(*[self.gated(text) for text in texts])

    async def nested(self, texts):
        sem = asyncio.Semaphore(4)  # expect: per-process-limiter

        async def run(text):
            async with sem:
                return await self.one(text)

        return await asyncio.gather(*(run(text) for text in texts))

    async def nested_bare(self, texts):
        async def run(text):
            return await self.one(text)

        return await asyncio.gather(*(run(text) for text in texts))  # expect: unbounded-fanout

    async def in_group(self, texts):
        async with asyncio.TaskGroup() as tg:
            made = [tg.create_task(self.one(text)) for text in texts]  # expect: unbounded-fanout
        return [task.result() for task in made]


def post(path: str, **body):
    return SESSION.post(BASE + path, json=body)  # expect: no-timeout


def say(text):
    return post("/v1/text-to-speech/x", text=text).content


def fetch(text):
    with hx.Client(base_url=BASE) as http:
        return http.post("/v1/text-to-speech/x", json={"text": text}).content


def stubborn(text, tries=3):
    while tries:
        try:
            return fetch(text)  # expect: doubled-retries
        except Exception as error:
            tries -= 1
            time.sleep(1)
            print(error)


def picky(text):
    for _ in range(3):
        try:
            return fetch(text)
        except hx.ConnectError:
            time.sleep(1)


async def mixed(text):
    await asyncio.sleep(0)
    return client_factory().text_to_speech.convert_with_timestamps("x", text=text)  # expect: blocking-in-async


async def comprehension(texts):
    return [fetch(text) for text in texts]  # expect: blocking-in-async


async def off_loop(texts):
    loop = asyncio.get_event_loop()
    with futures.ThreadPoolExecutor(max_workers=3) as pool:
        return await asyncio.gather(*[loop.run_in_executor(pool, fetch, text) for text in texts])


async def off_loop_wide(texts):
    loop = asyncio.get_event_loop()
    with futures.ThreadPoolExecutor(max_workers=64) as pool:
        return await asyncio.gather(*[loop.run_in_executor(pool, fetch, text) for text in texts])  # expect: unbounded-fanout


def jingle():
    for _ in range(3):
        yield b"".join(client_factory().text_to_speech.convert("x", text="Ding dong"))  # expect: repeated-synthesis


def jingles():
    for voice in ("a", "b"):
        yield b"".join(client_factory().text_to_speech.convert(voice, text="Ding dong"))
