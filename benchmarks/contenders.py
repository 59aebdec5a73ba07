"""Who is compared: each speaks many texts at once, and says how many it got whole."""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from .stage import PACKAGE

VOICE = "OZ0L6eISlOejga3XjDFt"
MODEL = "eleven_multilingual_v2"

Speak = Callable[[str], Awaitable[bytes]]


class Lost(Exception):
    """In place of the rendered client's error, whose class is not there before it is rendered."""


LOST = (ApiError, httpx.TransportError, Lost)


def sdk(url: str) -> AsyncElevenLabs:
    """The official client with connections enough, as its users have it."""
    http = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))
    return AsyncElevenLabs(base_url=url, api_key="benchmark-key-000001", httpx_client=http)


def raw(url: str) -> Speak:
    """The SDK alone."""
    client = sdk(url)

    async def speak(text: str) -> bytes:
        return b"".join([c async for c in client.text_to_speech.convert(VOICE, text=text, model_id=MODEL)])

    return speak


def exact(url: str, limit: int) -> Speak:
    """The SDK behind a semaphore that knows the limit: the best that anybody can do without faults."""
    speak, slots = raw(url), asyncio.Semaphore(limit)

    async def guarded(text: str) -> bytes:
        async with slots:
            return await speak(text)

    return guarded


def handmade(url: str, limit: int) -> Speak:
    """What people write: a semaphore around tenacity around the SDK."""
    speak, slots = raw(url), asyncio.Semaphore(limit)

    def worth_it(error: BaseException) -> bool:
        return isinstance(error, httpx.TransportError) or (
            isinstance(error, ApiError) and (error.status_code or 500) in (429, 500, 502, 503, 504)
        )

    async def guarded(text: str) -> bytes:
        async with slots:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(3),
                wait=wait_random_exponential(max=10),
                retry=retry_if_exception(worth_it),
                reraise=True,
            ):
                with attempt:
                    return await speak(text)
        raise AssertionError("the last attempt raises")

    return guarded


def ours(client: Any) -> Speak:
    """The rendered ``SpeechClient`` in this process."""
    refused = importlib.import_module(f"{PACKAGE}.speech").SpeechError

    async def speak(text: str) -> bytes:
        try:
            audio = await client.synthesize(text, voice_id=VOICE, model_id=MODEL, deadline=120)
        except refused as error:
            raise Lost from error
        return bytes(audio.data)

    return speak


async def all_at_once(speak: Speak, texts: Sequence[str]) -> list[float]:
    """When each whole answer came, in order, in seconds from the start.

    A refusal or a broken answer is lost, and counts for nothing; an error of any other kind stops the benchmark.
    """
    began, came = time.perf_counter(), list[float]()

    async def one(text: str) -> None:
        try:
            if await speak(text):
                came.append(time.perf_counter() - began)
        except LOST:
            pass

    await asyncio.gather(*map(one, texts))
    return came
