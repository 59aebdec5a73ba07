import os
import sys

from aiohttp import web

from agent.settings import settings
from agent.tts import TTS

routes = web.RouteTableDef()


@web.middleware
async def only_inside(request: web.Request, handler):
    if request.headers.get("authorization") != f"Bearer {os.environ['INSIDE_TOKEN']}":
        raise web.HTTPUnauthorized()
    return await handler(request)


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


@routes.post("/say")
async def say(request: web.Request) -> web.Response:
    body = await request.json()
    return web.Response(body=await request.app["tts"].say_shared(body["text"]))


def inside() -> web.Application:
    app = web.Application(middlewares=[only_inside])
    app["tts"] = TTS()
    app.add_routes(routes)
    return app


async def probe(request: web.Request) -> web.Response:  # expect: open-route
    tts: TTS = request.app["tts"]
    audio = await tts.say("This is a test.")  # expect: repeated-synthesis
    return web.Response(body=audio)


def outside() -> web.Application:
    app = web.Application()
    app["tts"] = TTS()
    app.router.add_get("/probe", probe)
    return app


def dump_environment() -> None:
    print(dict(os.environ), file=sys.stderr)  # expect: key-logged
    print(sorted(os.environ), file=sys.stderr)
