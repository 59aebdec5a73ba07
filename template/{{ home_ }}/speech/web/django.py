"""Django: one client a process, ``get_speech()`` in async views and ``get_speech.blocking()`` in sync ones; its errors
are answered properly, whoever's view raised them.

Under ASGI the client lives on the server's loop, and sync views speak through it from their threads. Under WSGI there
is no such loop: sync views share a client in a thread beside them, and async views, each in its own loop, have none.
"""

import asyncio
import atexit
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from ..blocking import Blocking, Engine
from ..client import Client
from ..errors import SpeechError
from ..wiring import SpeechClient

T = TypeVar("T")
Settings = MutableMapping[str, Any]


def install(settings: Settings) -> None:
    """``install(globals())`` at the end of settings.py: a client for every view, and a proper answer to its errors."""
    settings["MIDDLEWARE"] = [f"{__name__}.SpeechMiddleware", *settings.get("MIDDLEWARE", ())]


class Speech:
    """The process's client: one, whoever asks, for two would each take the whole plan."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._blocking: Blocking = _Facade(SpeechClient.from_env)

    def __call__(self) -> SpeechClient:
        """For async views: ``await get_speech().synthesize("Hello")``. Raises RuntimeError where there is none."""
        if self._server is None or not self._server.here:
            raise RuntimeError(
                "no SpeechClient on this loop: install(globals()) in settings.py opens one, under ASGI (uvicorn); "
                "a sync view takes get_speech.blocking()"
            )
        return self._server.client

    def blocking(self) -> Blocking:
        """For sync views, commands and jobs: ``get_speech.blocking().synthesize("Hello")``."""
        return self._blocking

    def begin(self) -> None:
        """With an application. Raises SettingsError for settings that can't work."""
        self.end()
        settings = SpeechClient.from_env().settings
        self._server, self._blocking = None, _Facade(lambda: SpeechClient(settings))

    async def open(self) -> SpeechClient:
        """On this loop, which is the server's; closed at its end."""
        if self._server is None or not self._server.here:
            self._server = _Server(SpeechClient.from_env())
            await self._server.start()
        return self._server.client

    async def close(self) -> None:
        """What ``open`` opened, before its loop ends."""
        if self._server:
            await self._server.aclose()

    def end(self) -> None:
        """What threads used. A server's loop ends what it began."""
        self._blocking.close()

    @property
    def server(self) -> "_Server | None":
        return self._server


class _Server(Engine):
    """The loop of a server, and the client that lives on it."""

    client: SpeechClient

    def __init__(self, client: SpeechClient) -> None:
        self.client = self._client = client
        self._loop = asyncio.get_running_loop()
        self._life = _life(client)

    @property
    def here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:  # a thread without one
            return False

    @property
    def open(self) -> bool:
        return not self._loop.is_closed()

    async def start(self) -> None:
        await anext(self._life)

    async def aclose(self) -> None:
        await self._life.aclose()

    def run(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        if self.here:
            raise RuntimeError("an async view would wait for itself; it takes get_speech(), not get_speech.blocking()")
        return super().run(ask)


async def _life(client: SpeechClient) -> AsyncGenerator[None, None]:
    """Whoever ends a loop closes the generators that it has left: the one end that every ASGI server has."""
    async with client:
        yield


class _Facade(Blocking):
    """Through the server's loop if there is one, else through a thread of its own."""

    def _engine(self) -> Engine:
        server = get_speech.server
        return server if server and server.open else super()._engine()


get_speech = Speech()
atexit.register(get_speech.end)


def client_of(_: Any) -> SpeechClient:
    """Of this process, for the server's own ticks; to the end and after it."""
    assert get_speech.server, "the server's lifespan opens it"
    return get_speech.server.client


class SpeechMiddleware:
    """Comes first, so that there is a client in whatever comes after it."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response, self._async = get_response, iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
        get_speech.begin()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self._within(request) if self._async else self._get_response(request)

    async def _within(self, request: HttpRequest) -> HttpResponseBase:
        await get_speech.open()
        response: HttpResponseBase = await self._get_response(request)
        return response

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponseBase | None:
        if not isinstance(error, SpeechError):
            return None
        return JsonResponse(error.body(), status=error.status, headers=error.headers())
