import hmac
import os
from contextlib import asynccontextmanager

from elevenlabs import AsyncElevenLabs
from fastapi import FastAPI, HTTPException, Request

from .limits import check_rate


@asynccontextmanager
async def lifespan(app):
    app.state.eleven = AsyncElevenLabs(timeout=10)
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/hook")
async def hook(request: Request):
    if not hmac.compare_digest(request.headers["x-signature"], os.environ["HOOK"]):
        raise HTTPException(400)
    return [chunk async for chunk in request.app.state.eleven.text_to_speech.stream("x", text="Somebody is at the door.")]  # expect: repeated-synthesis


@app.post("/rated")
async def rated(request: Request, text: str):  # expect: open-route
    check_rate(request.client.host)
    return [chunk async for chunk in request.app.state.eleven.text_to_speech.stream("x", text=text)]


@app.get("/voices")
async def voices(request: Request):
    return await request.app.state.eleven.voices.search()
