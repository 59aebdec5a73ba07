"""FastAPI: the client lives as long as the application, a route gets it with ``Depends(get_speech)``, and its errors
are answered properly, whoever's route raised them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from ..errors import SpeechError
from ..wiring import SpeechClient


def get_speech(connection: HTTPConnection) -> SpeechClient:
    """The application's client: ``speech: SpeechClient = Depends(get_speech)``."""
    return client_of(connection.app)


def client_of(app: Any) -> SpeechClient:
    """For as long as *app* runs. Raises RuntimeError before and without ``install``."""
    speech = getattr(app.state, "speech", None)
    if speech is None:
        raise RuntimeError("no SpeechClient yet: install(app) opens one when the application starts (its lifespan)")
    return cast(SpeechClient, speech)


def install(app: FastAPI) -> None:
    """Open a client for as long as *app* runs, and answer its errors. Settings are read when the application starts."""
    around(app, _speaking)
    app.add_exception_handler(SpeechError, _answer)


def around(app: FastAPI, context: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> None:
    """Run what *app* does at its start and end inside *context*."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with context(app), inner(app) as state:
            yield state

    app.router.lifespan_context = lifespan


@asynccontextmanager
async def _speaking(app: FastAPI) -> AsyncIterator[None]:
    async with SpeechClient.from_env() as app.state.speech:
        await app.state.speech.warm_up()
        yield


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, SpeechError)
    return JSONResponse(error.body(), error.status, error.headers())
