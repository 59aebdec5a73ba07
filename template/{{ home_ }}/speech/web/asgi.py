"""What every ASGI framework leaves to its applications: to notice that a caller left and a body that is too large, and
to break what can't be ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from ..errors import InvalidRequest, SpeechError
from ..listening import Listening
from . import wire

PIECE = 64 * 1024  # bytes

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")


class CallerLeft(Exception):
    """Nobody is there to hear it."""


class Broken(Exception):
    """An answer that began can't be ended. It leaves the application unhandled, so that the server cuts the connection:
    a clean end would be taken for whole audio."""


async def unless_left(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """What *work* returns; CallerLeft as soon as the caller hangs up, when *work* is cancelled and has ended.

    Nobody tells a handler that is waiting: one has to ask. A caller who left while queued would else keep the place.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerLeft
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def bounded(receive: Receive, most: int) -> Receive:
    """The same body, refused as soon as it is larger than *most* bytes."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise InvalidRequest(f"The request is larger than {most} bytes", code="too_large")
        return message

    return counted


def query(scope: Scope) -> list[tuple[str, str]]:
    """A query's parameters as they came, empty ones too: frameworks read them each in a way of its own."""
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


async def paced(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces, with a breath after each: once a caller left, ``send`` returns at once and silently,
    so that cached audio would run to its end unseen."""
    async for chunk in chunks:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE]
            await asyncio.sleep(0)


class Stream:
    """Audio as it comes. An error before the first byte has its own status; one after it breaks the connection."""

    def __init__(self, listening: Listening) -> None:
        self._listening, self._begun = listening, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(CallerLeft):
            try:
                await unless_left(self._speak(send), receive)
            except SpeechError as error:
                if self._begun:
                    raise Broken(error.code) from None
                raise

    async def _speak(self, send: Send) -> None:
        async with self._listening as listening:
            headers = _encoded(wire.headers(listening))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            self._begun = True
            async for piece in paced(listening):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
