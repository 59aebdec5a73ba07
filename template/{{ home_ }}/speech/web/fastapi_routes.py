"""FastAPI: the gateway's routes, under a prefix of the host's application. Adapts only: what things mean is in
``wire.py``, who may what in ``auth.py``.

The routes are an application of their own, so that no handler, no 404 and no schema of the host's is touched.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, cast

from fastapi import FastAPI, Request, Response, UploadFile
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .. import answers
from ..clock import today
from ..errors import SpeechError
from ..listening import Listening
from ..request import Terms
from ..wiring import SpeechClient
from . import account, asgi, dashboard, reading, wire, workers
from .answer import Answer, said, told
from .auth import Doorkeeper
from .fastapi import around
from .fastapi import install as install_client


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
    gateway = Gateway(app)
    around(app, gateway.guarded)
    install_client(app)
    if prefix:
        app.mount(prefix, gateway.application())
    else:
        app.router.default = gateway.application()


class Gateway:
    """The routes, bound to the application whose client they use."""

    def __init__(self, host: FastAPI) -> None:
        self._host = host

    @asynccontextmanager
    async def guarded(self, host: FastAPI) -> AsyncIterator[None]:
        self._door = Doorkeeper(self._speech.settings)
        yield

    def application(self) -> Starlette:
        spoken = [Route(path, partial(self.speak, how), methods=["POST"]) for path, how in wire.MANNERS.items()]
        others = [
            Route("/v1/speech-to-text", self.transcribe, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/voices", self.voices),
            Route("/v2/voices", self.page_of_voices),
            Route("/v1/user/subscription", self.subscription),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            Route("/usage", self.usage),
            Route("/dashboard", self.dashboard),
        ]
        app = Starlette(routes=spoken + others, exception_handlers=_HANDLERS)
        app.router.redirect_slashes = False
        return app

    @property
    def _speech(self) -> SpeechClient:
        return cast(SpeechClient, self._host.state.speech)

    def _terms(self, request: Request) -> Terms:
        caller = self._door.caller(request.headers)
        return wire.terms(request.headers, caller.name, development=self._speech.settings.env == "development")

    async def speak(self, how: wire.Manner, request: Request) -> "Response | Stream":
        terms = self._terms(request)
        body = await Request(request.scope, asgi.bounded(request.receive, reading.BODY_MAX)).body()
        query, voice_id = request.query_params.multi_items(), request.path_params["voice_id"]
        listening = wire.listen(self._speech, voice_id, how, body, query, terms)
        return await _whole(listening, request) if how.whole else Stream(listening)

    async def transcribe(self, request: Request) -> Response:
        terms = self._terms(request)
        receive = asgi.bounded(request.receive, self._speech.settings.max_upload_bytes)
        async with Request(request.scope, receive).form(max_files=1, max_fields=reading.PARTS_MAX) as form:
            query = request.query_params.multi_items()
            transcription = await asyncio.to_thread(wire.transcription, _parts(form), query)
            return await _whole(self._speech.open(transcription, terms, whole=True), request)

    async def models(self, request: Request) -> Response:
        self._door.caller(request.headers)
        return respond(said(account.models(self._speech)))

    async def voices(self, request: Request) -> Response:
        self._door.caller(request.headers)
        return respond(said({"voices": account.voices(self._speech.house.voice_id)}))

    async def page_of_voices(self, request: Request) -> Response:
        self._door.caller(request.headers)
        return respond(said(account.page_of_voices(self._speech.house.voice_id, request.query_params.multi_items())))

    async def subscription(self, request: Request) -> Response:
        caller = self._door.caller(request.headers)
        usage, tier = await workers.fleet_usage(self._speech, caller.name), self._speech.settings.tier
        return respond(said(account.subscription(self._speech, tier, caller.name, usage, today())))

    async def healthz(self, request: Request) -> Response:
        return respond(said({"status": "alive"}))

    async def readyz(self, request: Request) -> Response:
        ready = self._speech.ready
        return respond(said({"ready": ready}, 200 if ready else 503))

    async def metrics(self, request: Request) -> Response:
        self._door.admin(request.headers)
        if answers.exporter is None:
            raise wire.Stray(404)
        body, media_type = answers.exporter.render(workers.together(await workers.fleet(self._speech)))
        return respond(told(body, media_type))

    async def usage(self, request: Request) -> Response:
        caller = self._door.caller(request.headers, basic=True)
        return respond(said(await workers.fleet_usage(self._speech, None if caller.admin else caller.name)))

    async def dashboard(self, request: Request) -> Response:
        self._door.at_the_screen(request.headers)
        return respond(dashboard.page(await workers.fleet_usage(self._speech)))


class Stream:
    """Audio as it comes. An error before the first byte has its own status; one after it breaks the connection."""

    def __init__(self, listening: Listening) -> None:
        self._listening, self._begun = listening, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(asgi.CallerLeft):
            try:
                await asgi.unless_left(self._speak(send), receive)
            except SpeechError as error:
                if self._begun:
                    raise asgi.Broken(error.code) from None
                raise

    async def _speak(self, send: Send) -> None:
        async with self._listening as listening:
            headers = [(name.encode(), value.encode("latin-1")) for name, value in wire.headers(listening).items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            self._begun = True
            async for piece in asgi.paced(listening):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _whole(listening: Listening, request: Request) -> Response:
    async def heard() -> Response:
        async with listening:
            headers = wire.headers(listening)
            return Response(b"".join([chunk async for chunk in listening]), headers=headers)

    return await asgi.unless_left(heard(), request.receive)


def _parts(form: FormData) -> Iterator[tuple[str, str | reading.Upload]]:
    for name, value in form.multi_items():
        yield name, value if isinstance(value, str) else _upload(cast(UploadFile, value))


def _upload(part: UploadFile) -> reading.Upload:
    return reading.Upload(part.file, part.filename or "audio", part.content_type or "application/octet-stream")


def respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


async def _failed(request: Request, error: Exception) -> Response:
    return respond(wire.refused(cast(SpeechError, error)))


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
