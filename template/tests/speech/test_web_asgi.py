"""What ASGI leaves to its applications: to notice a caller who left."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from speech.web import asgi


async def test_cached_audio_stops_for_a_leaver() -> None:
    """``send`` returns at once when nobody is there, so only a breath between pieces lets us hear of it."""
    sent = []

    async def cached() -> AsyncIterator[bytes]:
        yield bytes(10 * 2**20)

    async def play() -> None:
        async for piece in asgi.paced(cached()):
            sent.append(len(piece))

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    with pytest.raises(asgi.CallerLeft):
        await asgi.unless_left(play(), receive)
    assert sum(sent) < 2**20 and max(sent) <= asgi.PIECE


async def test_work_has_ended_when_the_leaver_is_reported() -> None:
    """Whoever goes on after CallerLeft finds every slot given back."""
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async def receive() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    with pytest.raises(asgi.CallerLeft):
        await asgi.unless_left(work(), receive)
    assert ended


async def test_a_websocket_is_closed() -> None:
    """There is none here: it is told so before it is accepted, and nothing of HTTP is said to it."""
    sent: list[asgi.Message] = []

    async def send(message: asgi.Message) -> None:
        sent.append(message)

    routes: Any = asgi.Application(None)  # type: ignore[arg-type]
    await routes({"type": "websocket", "path": "/v1/models"}, None, send)
    assert sent == [{"type": "websocket.close"}]


async def test_half_a_body_is_no_body() -> None:
    """Who leaves while it arrives leaves nothing to speak or to hear."""
    arriving: list[asgi.Message] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> asgi.Message:
        return arriving.pop(0)

    with pytest.raises(asgi.CallerLeft):
        async for piece in asgi.pieces(receive):
            assert piece == b"half"
