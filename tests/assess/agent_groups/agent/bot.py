import asyncio

import anyio
import discord
from discord import app_commands
from discord.ext import commands

from agent.settings import settings
from agent.tts import TTS

PLAN = 5


class Rate:
    """Lets so many through at once."""

    def __init__(self, at_once: int):
        self._at_once = asyncio.BoundedSemaphore(at_once)  # expect: per-process-limiter

    async def run(self, make):
        async with self._at_once:
            return await make()


rate = Rate(PLAN)


class Speaker(commands.Cog):
    def __init__(self, bot: commands.Bot):
        self.bot = bot
        self.tts = TTS()
        self.background: set[asyncio.Task] = set()

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message):
        if message.author.bot:
            return
        await self.tts.say_shared(message.clean_content)

    @app_commands.command()
    async def read(self, interaction: discord.Interaction, text: str):
        await interaction.response.defer()
        audio = await self.tts.say(text)
        await interaction.followup.send(file=discord.File(audio, "speech.mp3"))

    async def catch_up(self, channel: discord.TextChannel):
        async for message in channel.history(limit=200):
            task = asyncio.create_task(self.tts.say(message.content))  # expect: unbounded-fanout
            self.background.add(task)
            task.add_done_callback(self.background.discard)

    async def catch_up_in_turn(self, channel: discord.TextChannel):
        async for message in channel.history(limit=200):
            await self.tts.say(message.content)

    async def catch_up_limited(self, channel: discord.TextChannel):
        async with asyncio.TaskGroup() as group:
            async for message in channel.history(limit=200):
                group.create_task(rate.run(lambda: self.tts.say(message.content)))

    async def catch_up_grouped(self, texts: list[str]):
        async with asyncio.TaskGroup() as group:
            for text in texts:
                group.create_task(self.tts.say(text))  # expect: unbounded-fanout

    async def catch_up_anyio(self, texts: list[str]):
        async with anyio.create_task_group() as group:
            for text in texts:
                group.start_soon(self.tts.say, text)  # expect: unbounded-fanout

    async def catch_up_anyio_limited(self, texts: list[str]):
        async with anyio.create_task_group() as group:
            for text in texts:
                group.start_soon(self.tts.say_limited, text)

    async def catch_up_acquired(self, texts: list[str]):
        free = asyncio.Semaphore(settings.plan_slots // settings.processes)

        async def one(text: str) -> bytes:
            await free.acquire()
            try:
                return await self.tts.say(text)
            finally:
                free.release()

        return await asyncio.gather(*[one(text) for text in texts], return_exceptions=True)

    async def catch_up_waited(self, texts: list[str]):
        pending = {asyncio.ensure_future(self.tts.say(text)) for text in texts}  # expect: unbounded-fanout
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()

    async def catch_up_window(self, texts: list[str]):
        running: set[asyncio.Task[bytes]] = set()
        for text in texts:
            if len(running) >= PLAN:
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running.add(asyncio.create_task(self.tts.say(text)))
        await asyncio.gather(*running)

    async def both_languages(self, text: str):
        german, english = await asyncio.gather(self.tts.say(text), self.tts.say_recent(text))
        return german + english

    async def each_language(self, text: str):
        return await asyncio.gather(*(self.tts.say(f"{language}: {text}") for language in ("de", "en", "fr")))
