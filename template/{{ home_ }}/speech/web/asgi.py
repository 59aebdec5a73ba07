"""The gateway as an ASGI application, for any framework to mount; and what ASGI leaves to its applications: to notice
who left and what is too large, and to break what can't be ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from ..listening import Listening
from . import reading, wire
from .answer import Answer
from .gateway import Gateway, refusal

PIECE = 64 * 1024  # bytes

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Form = Callable[[Scope, Receive], AbstractAsyncContextManager[reading.Parts]]
T = TypeVar("T")


class CallerLeft(Exception):
    """Nobody is there to hear it."""


class Broken(Exception):
    """An answer that began can't be ended. It leaves the application unhandled, so that the server cuts the connection:
    a clean end would be taken for whole audio."""


class Application:
    """The gateway's routes. ``form`` reads a form as the framework does; ``gateway`` is set when the host starts."""

    gateway: Gateway

    def __init__(self, form: Form) -> None:
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close"})
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(Asked(scope, receive, self._form), sent)
        except CallerLeft:
            pass
        except Exception as error:
            if begun:
                raise Broken(getattr(error, "code", "internal_error")) from error
            await _say(refusal(error), send)

    async def _answer(self, asked: "Asked", send: Send) -> None:
        answer = await self.gateway.answer(asked)
        if isinstance(answer, Answer):
            await _say(answer, send)
        else:
            await asked.unless_left(_stream(answer, send))


class Asked:
    """A request, as ``gateway.Asked`` wants it."""

    def __init__(self, scope: Scope, receive: Receive, form: Form) -> None:
        self._scope, self._receive, self._form = scope, receive, form
        self.method: str = scope["method"]
        self.path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        self.headers: Mapping[str, str] = {  # of two by one name, the first
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])
        }
        self.query: reading.Pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)

    async def body(self, most: int) -> bytes:
        return b"".join([piece async for piece in pieces(bounded(self._receive, most))])

    def form(self, most: int) -> AbstractAsyncContextManager[reading.Parts]:
        return self._form(self._scope, bounded(self._receive, most))

    async def unless_left(self, work: Coroutine[Any, Any, T]) -> T:
        return await unless_left(work, self._receive)


async def _say(answer: Answer, send: Send) -> None:
    await _begin(send, answer.status, sized(answer))
    await send({"type": "http.response.body", "body": answer.body})


def sized(answer: Answer) -> dict[str, str]:
    """Its headers, with the length that only it knows."""
    return {**answer.headers, "content-length": str(len(answer.body))}


async def _stream(listening: Listening, send: Send) -> None:
    """Audio as it comes. An error before its first byte has a status of its own."""
    async with listening:
        await _begin(send, 200, wire.headers(listening))
        async for piece in paced(listening):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _begin(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


# ------------------------------------------------------------------------------------------- what ASGI leaves to others


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


async def pieces(receive: Receive) -> AsyncIterator[bytes]:
    """A body as it arrives. Raises CallerLeft if it never ends."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        yield message.get("body", b"")
        more = message.get("more_body", False)


def bounded(receive: Receive, most: int) -> Receive:
    """The same body, refused as soon as it is larger than *most* bytes."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise reading.too_large(most)
        return message

    return counted


async def paced(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces, with a breath after each: once a caller left, ``send`` returns at once and silently,
    so that cached audio would run to its end unseen."""
    async for chunk in chunks:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE]
            await asyncio.sleep(0)
