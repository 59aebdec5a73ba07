import asyncio
import time
from functools import lru_cache

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential

from shop import settings
from shop.services import client, speech


def say(text: str) -> bytes:
    return b"".join(client.text_to_speech.convert(settings.VOICE, text=text, model_id=settings.MODEL))


class Speaker:
    def __init__(self, voice):
        self.voice = voice
        self.client = client

    def chunks(self, text):
        yield from self.client.text_to_speech.stream(self.voice, text=text)

    def whole(self, text):
        return b"".join(self.chunks(text))

    async def in_thread(self, text):
        return await asyncio.to_thread(self.whole, text)

    async def wrong_thread(self, text):
        audio = await asyncio.to_thread(self.client.text_to_speech.convert, self.voice, text=text)  # expect: blocking-in-async
        return b"".join(audio)

    async def right_thread(self, text):
        audio = await asyncio.to_thread(self.client.text_to_speech.convert, self.voice, text=text)
        return await asyncio.to_thread(b"".join, audio)

    async def both(self, text):
        return self.whole(text)  # expect: blocking-in-async


@retry(stop=stop_after_attempt(3), wait=wait_exponential())
def say_again(text):
    return b"".join(client.text_to_speech.convert(settings.VOICE, text=text))  # expect: doubled-retries


def is_concurrency(error):
    return getattr(error, "status_code", None) == 429


@retry(retry=retry_if_exception(is_concurrency), stop=stop_after_attempt(5))
def say_carefully(text):
    return b"".join(client.text_to_speech.convert(settings.VOICE, text=text))


@lru_cache
def greeting():
    return b"".join(client.text_to_speech.convert(settings.VOICE, text=settings.GREETING))


async def wait_a_bit():
    time.sleep(2)  # expect: blocking-in-async
    await asyncio.sleep(2)


def pause():
    time.sleep(0.1)


async def speak_all(texts):
    return await asyncio.gather(*[speak_one(text) for text in texts])  # expect: unbounded-fanout


async def speak_one(text):
    return b"".join([chunk async for chunk in speech.text_to_speech.convert(settings.VOICE, text=text)])


SLOTS = asyncio.Semaphore(5)


async def speak_one_of_few(text):
    async with SLOTS:
        return await speak_one(text)


async def speak_few(texts):
    return await asyncio.gather(*(speak_one_of_few(text) for text in texts))


async def speak_two(first, second):
    return await asyncio.gather(speak_one(first), speak_one(second))
