import asyncio

from .main import client

slots = asyncio.Semaphore(5)


async def one(text):
    async with slots:
        return [chunk async for chunk in client.text_to_speech.stream("x", text=text)]
