"""A relay in plain Starlette, in front of the wards' tablets."""

import hmac
import os

from elevenlabs import AsyncElevenLabs
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser, requires
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

tts = AsyncElevenLabs(timeout=float(os.environ.get("TTS_TIMEOUT", 15)))


class TokenBackend(AuthenticationBackend):
    async def authenticate(self, conn):
        token = conn.headers.get("authorization", "")
        if not hmac.compare_digest(token, os.environ["RELAY_TOKEN"]):
            raise AuthenticationError("no")
        return AuthCredentials(["ward"]), SimpleUser("tablet")


@requires("ward")
async def speak(request: Request) -> Response:
    body = await request.json()
    return StreamingResponse(tts.text_to_speech.stream("22N9cF8z0o7y23njdyaY", text=body["text"]))


class Speech(HTTPEndpoint):
    async def post(self, request: Request) -> Response:  # expect: open-route
        body = await request.json()
        return StreamingResponse(tts.text_to_speech.stream("22N9cF8z0o7y23njdyaY", text=body["text"]))


async def socket(ws: WebSocket) -> None:
    await ws.accept()
    token = await ws.receive_text()
    if token != os.environ["RELAY_TOKEN"]:
        await ws.close(code=1008)
        return
    async for text in ws.iter_text():
        async for chunk in tts.text_to_speech.stream("22N9cF8z0o7y23njdyaY", text=text):
            await ws.send_bytes(chunk)


async def token(request: Request) -> Response:
    return JSONResponse((await tts.tokens.single_use.create("realtime_scribe")).dict())


wards = Starlette(routes=[Route("/speak", speak, methods=["POST"])], middleware=[Middleware(AuthenticationMiddleware, backend=TokenBackend())])
app = Starlette(routes=[Mount("/wards", wards), Route("/speech", Speech), WebSocketRoute("/ws", socket)])
