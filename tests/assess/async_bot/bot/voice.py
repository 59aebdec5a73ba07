import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import elevenlabs
import requests
import tenacity
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

KEY = os.environ.get("ELEVENLABS_API_KEY")
WORKERS = int(os.environ.get("WORKERS", "4"))
shared = asyncio.Semaphore(10 // WORKERS)
own = asyncio.BoundedSemaphore(value=5)  # expect: per-process-limiter
pool = ThreadPoolExecutor(max_workers=4)
HOLD = "One moment please, " + "we are looking that up."


class Bot:
    def __init__(self):
        self.sync = ElevenLabs(api_key=KEY)  # expect: no-timeout
        self.tts = AsyncElevenLabs(api_key=KEY)  # expect: no-timeout
        self.hold = None

    async def say(self, text):
        async with asyncio.timeout(20):
            return [chunk async for chunk in self.tts.text_to_speech.stream("x", text=text)]

    async def say_shared(self, text):
        async with shared:
            return await self.say(text)

    async def say_own(self, text):
        async with own:
            return await self.say(text)

    async def blocks(self, text):
        for chunk in self.sync.text_to_speech.stream("x", text=text):  # expect: blocking-in-async
            yield chunk

    async def hears(self, data):
        heard = self.sync.speech_to_text.convert(model_id="scribe_v2", file=data)  # expect: blocking-in-async, stt-retry-drops-form
        return heard.text.strip()

    async def hears_well(self, data):
        return await asyncio.to_thread(self.sync.speech_to_text.convert, model_id="scribe_v2", file=data)

    async def partly(self, text):
        loop = asyncio.get_running_loop()
        audio = await loop.run_in_executor(None, partial(self.sync.text_to_speech.convert, "x", text=text))  # expect: blocking-in-async
        return b"".join(audio)

    async def wholly(self, text):
        def work():
            return b"".join(self.sync.text_to_speech.convert("x", text=text))

        return await anyio.to_thread.run_sync(work)

    async def by_lambda(self, text):
        return await asyncio.to_thread(lambda: b"".join(self.sync.text_to_speech.convert("x", text=text)))

    async def plays(self, audio):
        elevenlabs.play(audio)  # expect: blocking-in-async

    async def gets(self):
        voices = self.sync.voices.search()  # expect: blocking-in-async
        status = requests.get("https://status.elevenlabs.io")  # expect: blocking-in-async
        return voices, status

    async def nested_call(self, text):
        def work():
            return self.sync.text_to_speech.convert_with_timestamps("x", text=text)

        return work()  # expect: blocking-in-async

    async def hold_on(self, queue):
        while True:
            await queue.get()
            await self.sound(self.tts.text_to_speech.convert("x", text=HOLD))  # expect: repeated-synthesis

    async def hold_kept(self, queue):
        while True:
            await queue.get()
            if self.hold is None:
                self.hold = [chunk async for chunk in self.tts.text_to_speech.convert("x", text=HOLD)]
            await self.sound(self.hold)

    async def sound(self, chunks): ...

    async def insists(self, text):
        async for attempt in AsyncRetrying(stop=stop_after_attempt(3)):
            with attempt:
                return await self.tts.text_to_speech.convert_with_timestamps("x", text=text)  # expect: doubled-retries

    async def insists_once(self, text):
        async for attempt in AsyncRetrying(stop=stop_after_attempt(3), retry=retry_if_exception_type(ConnectionRefusedError)):
            with attempt:
                return await self.tts.text_to_speech.convert_with_timestamps("x", text=text, request_options={"max_retries": 0})

    @tenacity.retry(stop=stop_after_attempt(2))
    async def twice(self, text):
        return await self.thrice(text)  # expect: doubled-retries

    @tenacity.retry(stop=stop_after_attempt(3), retry=retry_if_exception_type(ConnectionRefusedError))
    async def thrice(self, text):
        return [chunk async for chunk in self.tts.text_to_speech.stream("x", text=text)]

    async def loop_forever(self, text):
        delay = 1
        while True:
            try:
                audio = [chunk async for chunk in self.tts.text_to_speech.stream("x", text=text)]  # expect: doubled-retries
                break
            except Exception:
                await asyncio.sleep(delay)
                delay *= 2
        return audio

    async def crowd(self, texts):
        jobs = [self.say(text) for text in texts]
        return await asyncio.gather(*jobs)  # expect: unbounded-fanout

    async def done_first(self, texts):
        for job in asyncio.as_completed([self.say_shared(text) for text in texts]):
            yield await job

    async def listen(self, messages):
        async for message in messages:
            asyncio.create_task(self.say(message))  # expect: unbounded-fanout

    async def listen_in_turn(self, messages):
        async for message in messages:
            await asyncio.create_task(self.say(message))

    async def threads(self, texts):
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(pool, self.whole, text) for text in texts])

    async def default_threads(self, texts):
        return await asyncio.gather(*[asyncio.to_thread(self.whole, text) for text in texts])  # expect: unbounded-fanout

    def whole(self, text):
        return b"".join(self.sync.text_to_speech.convert("x", text=text))
