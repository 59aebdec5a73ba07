from elevenlabs import AsyncElevenLabs
from fastapi import FastAPI, Depends
from starlette.middleware.cors import CORSMiddleware

from .check import gatekeeper

client = AsyncElevenLabs(timeout=9)
app = FastAPI(dependencies=[Depends(gatekeeper)])
app.add_middleware(CORSMiddleware, allow_origins=["*"])


@app.post("/say")
async def say(text: str):
    return [chunk async for chunk in client.text_to_speech.stream("x", text=text)]
