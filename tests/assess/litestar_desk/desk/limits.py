import asyncio

import aiohttp
import anyio
import requests

slots = asyncio.Semaphore(10)  # expect: per-process-limiter
capacity = anyio.CapacityLimiter(5)  # expect: per-process-limiter
wide = asyncio.Semaphore(200)  # expect: per-process-limiter
disk = asyncio.Semaphore(4)
URL = "https://api.elevenlabs.io/v1/text-to-speech/AaOhDHYJ1XLZk74lXhdE"


async def in_slot(session: aiohttp.ClientSession, text):
    async with slots:
        async with session.post(URL, json={"text": text}, headers={"xi-api-key": key()}, timeout=30) as answer:
            return await answer.read()


async def in_capacity(session: aiohttp.ClientSession, text):
    async with capacity, session.post(URL, json={"text": text}, timeout=aiohttp.ClientTimeout(total=30)) as answer:
        return await answer.read()


async def in_wide(session: aiohttp.ClientSession, text):
    async with wide:
        async with session.post(URL, json={"text": text}) as answer:  # expect: no-timeout
            return await answer.read()


async def save(path, data):
    async with disk:
        path.write_bytes(data)


async def many(texts):
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(in_slot(session, text) for text in texts))


async def too_many(texts):
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*map(lambda text: in_wide(session, text), texts))  # expect: unbounded-fanout


async def tasks(texts):
    started = []
    async with aiohttp.ClientSession() as session:
        for text in texts:
            started.append(asyncio.create_task(bare(session, text)))  # expect: unbounded-fanout
        return await asyncio.wait(started)


async def group(texts, session):
    async with asyncio.TaskGroup() as group:
        for text in texts:
            group.create_task(bare(session, text))  # expect: unbounded-fanout


async def batches(texts, session):
    for start in range(0, len(texts), 5):
        await asyncio.gather(*[bare(session, text) for text in texts[start : start + 5]])


async def crew(queue, session):
    workers = [asyncio.create_task(work(queue, session)) for _ in range(5)]
    await queue.join()
    for worker in workers:
        worker.cancel()


async def work(queue, session):
    while True:
        await bare(session, await queue.get())


async def bare(session: aiohttp.ClientSession, text):
    async with session.post(URL, json={"text": text}, timeout=30) as answer:
        return await answer.read()


async def through_requests(text):
    return requests.post(URL, json={"text": text}, timeout=30).content  # expect: blocking-in-async


def key():
    return "from the vault"
