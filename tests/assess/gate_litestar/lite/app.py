from elevenlabs import AsyncElevenLabs
from litestar import Litestar, post

from .guards import signed_in

client = AsyncElevenLabs(timeout=9)


@post("/say")
async def say(text: str) -> bytes:
    return b"".join([chunk async for chunk in client.text_to_speech.stream("x", text=text)])


app = Litestar(route_handlers=[say], guards=[signed_in])
