import asyncio
import functools
import random

import aiohttp
from elevenlabs.core import ApiError

from agent.tts import TTS


def retry_async(times: int, *, on: tuple[type[Exception], ...] = (Exception,)):
    def decorate(function):
        @functools.wraps(function)
        async def inner(*args, **kwargs):
            for attempt in range(times):
                try:
                    return await function(*args, **kwargs)
                except on:
                    if attempt == times - 1:
                        raise
                    await asyncio.sleep(random.random() * 2**attempt)

        return inner

    return decorate


class Reliable:
    def __init__(self, tts: TTS):
        self.tts = tts

    async def while_busy(self, text: str) -> bytes:
        while True:
            try:
                return await self.tts.say(text)
            except ApiError as error:
                if error.status_code != 429:
                    raise
                await asyncio.sleep(1)

    async def whatever(self, text: str) -> bytes:
        for _ in range(5):
            try:
                return await self.tts.rest(text)  # expect: doubled-retries
            except (aiohttp.ClientError, Exception):
                await asyncio.sleep(1)
        raise RuntimeError("no luck")

    async def before_it_was_sent(self, text: str) -> bytes:
        for _ in range(5):
            try:
                return await self.tts.rest(text)
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(1)
        raise RuntimeError("no luck")

    async def recursive(self, text: str, left: int = 3) -> bytes:
        try:
            return await self.tts.say(text)  # expect: doubled-retries
        except Exception:
            if not left:
                raise
            return await self.recursive(text, left - 1)

    async def skip_broken(self, texts: list[str]) -> list[bytes]:
        done = []
        for text in texts:
            try:
                done.append(await self.tts.say(text))
            except Exception as error:
                done.append(b"")
                print(f"skipped {text!r}: {error}")
        return done

    async def effects(self, prompts: list[str]):
        for prompt in prompts:
            for _ in range(3):
                try:
                    yield await self.tts.effect(prompt)  # expect: doubled-retries
                    break
                except Exception:
                    continue
