from typing import Annotated

import httpx
from litestar import Controller, Litestar, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException

API = "https://api.eu.residency.elevenlabs.io"


def staff_only(connection: ASGIConnection, handler) -> None:
    if not connection.user:
        raise NotAuthorizedException()


async def speak(text: str) -> bytes:
    async with httpx.AsyncClient(base_url=API, timeout=20, headers={"xi-api-key": "set elsewhere"}) as http:
        answer = await http.post("/v1/text-to-speech/g7LVvkPWALzPxOQbF6OE", json={"text": text})
        return answer.content


async def speak_endlessly(text: str) -> bytes:
    async with httpx.AsyncClient(timeout=None) as http:
        answer = await http.post(f"{API}/v1/text-to-speech/g7LVvkPWALzPxOQbF6OE", json={"text": text})  # expect: no-timeout
        return answer.content


@post("/open")
async def open_to_all(text: str) -> bytes:  # expect: open-route
    return await speak(text)


@post("/guarded", guards=[staff_only])
async def guarded(text: str) -> bytes:
    return await speak(text)


class Desk(Controller):
    path = "/desk"
    guards = [staff_only]

    @post()
    async def say(self, text: str) -> bytes:
        return await speak(text)


class Lobby(Controller):
    path = "/lobby"

    @post()
    async def say(self, text: str) -> bytes:  # expect: open-route
        return await speak_endlessly(text)

    @get()
    async def health(self) -> str:
        return "ok"


app = Litestar([open_to_all, guarded, Desk, Lobby])
