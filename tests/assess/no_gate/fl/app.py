from aiohttp import web
from elevenlabs import AsyncElevenLabs
from flask import Flask, request
from starlette.applications import Starlette
from starlette.routing import Route

from .tts import speak_sync

tts = AsyncElevenLabs(timeout=9)
app = Flask(__name__)
cors = {"author": "us"}


@app.before_request
def log_it():
    print(request.path)


@app.post("/token/say")
def say():  # expect: open-route
    return speak_sync(request.json["text"])


async def handle(request):  # expect: open-route
    return web.Response(body=[chunk async for chunk in tts.text_to_speech.stream("x", text=await request.text())])


def make():
    site = web.Application()
    site.router.add_get("/x", health)
    site.add_routes([web.post("/say", handle)])
    return site


async def health(request):
    return web.Response(text="ok")


async def star(request):  # expect: open-route
    return [chunk async for chunk in tts.text_to_speech.stream("x", text="a" + request.query_params["text"])]


starlette = Starlette(routes=[Route("/star", star, methods=["POST"])])
