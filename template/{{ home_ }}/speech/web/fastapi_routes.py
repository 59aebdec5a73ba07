"""FastAPI: the gateway's routes, under a prefix of the host's application. Adapts only: what they mean is in
``gateway.py``.

The routes are an application of their own, so that no handler, no 404 and no schema of the host's is touched.
"""

from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from fastapi import FastAPI, Request, Response, UploadFile
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from ..errors import SpeechError
from . import asgi, reading, wire
from .answer import Answer
from .fastapi import around, client_of
from .fastapi import install as install_client
from .gateway import HEAR, PAGES, Ask, Gateway, Page


def create() -> FastAPI:
    """An application with the gateway at its root and nothing else: what ``serve`` serves where there is no host."""
    app = FastAPI(openapi_url=None)
    install(app, prefix="")
    return app


def install(app: FastAPI, *, prefix: str = "/speech") -> None:
    """The client for *app*'s own routes, and ElevenLabs' routes under *prefix*, whose base URL is then ``…/speech``.

    At the root (``prefix=""``) they answer what no route of *app* does. The application does not start without
    ``SPEECH_CLIENT_KEYS``.
    """
    routes = Routes()
    around(app, routes.guarded)
    install_client(app)
    if prefix:
        app.mount(prefix, routes.application())
    else:
        app.router.default = routes.application()


class Routes:
    """Bound to the gateway of whichever client the host's lifespan opened."""

    _gateway: Gateway

    @asynccontextmanager
    async def guarded(self, host: FastAPI) -> AsyncIterator[None]:
        self._gateway = Gateway(client_of(host))
        yield

    def application(self) -> Starlette:
        spoken = [Route(path, partial(self.speak, how), methods=["POST"]) for path, how in wire.MANNERS.items()]
        heard = Route(HEAR, self.transcribe, methods=["POST"])
        pages = [Route(path, partial(self.page, page)) for path, page in PAGES.items()]
        app = Starlette(routes=[*spoken, heard, *pages], exception_handlers=_HANDLERS)
        app.router.redirect_slashes = False
        return app

    async def speak(self, how: wire.Manner, request: Request) -> Response | asgi.Stream:
        terms = self._gateway.terms(request.headers)
        body = await Request(request.scope, asgi.bounded(request.receive, reading.BODY_MAX)).body()
        voice_id, query = request.path_params["voice_id"], asgi.query(request.scope)
        listening = self._gateway.speak(how, voice_id, body, query, terms)
        return await _heard(self._gateway.whole(listening), request) if how.whole else asgi.Stream(listening)

    async def transcribe(self, request: Request) -> Response:
        terms = self._gateway.terms(request.headers)
        receive = asgi.bounded(request.receive, self._gateway.upload_max)
        async with Request(request.scope, receive).form(max_files=1, max_fields=reading.PARTS_MAX) as form:
            return await _heard(self._gateway.hear(_parts(form), asgi.query(request.scope), terms), request)

    async def page(self, page: Page, request: Request) -> Response:
        return _respond(await page(self._gateway, Ask(request.headers, asgi.query(request.scope))))


async def _heard(answer: Coroutine[Any, Any, Answer], request: Request) -> Response:
    return _respond(await asgi.unless_left(answer, request.receive))


def _parts(form: FormData) -> Iterator[tuple[str, str | reading.Upload]]:
    for name, value in form.multi_items():
        yield name, value if isinstance(value, str) else _upload(cast(UploadFile, value))


def _upload(part: UploadFile) -> reading.Upload:
    return reading.Upload(part.file, part.filename or "audio", part.content_type or "application/octet-stream")


def _respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


async def _failed(request: Request, error: Exception) -> Response:
    return _respond(wire.refused(cast(SpeechError, error)))


async def _strayed(request: Request, error: Exception) -> Response:
    response = await _failed(request, wire.Stray(cast(HTTPException, error).status_code))
    response.headers.update(cast(HTTPException, error).headers or {})
    return response


async def _crashed(request: Request, error: Exception) -> Response:
    return await _failed(request, wire.Stray(500))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # for the access log only: nobody is there to read it


_HANDLERS: dict[Any, Any] = {
    SpeechError: _failed,
    HTTPException: _strayed,
    ClientDisconnect: _gone,
    asgi.CallerLeft: _gone,
    Exception: _crashed,
}
