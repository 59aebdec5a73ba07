"""Django: the gateway's routes, under a prefix of the host's project, and a project of their own where there is none.
What they are is in ``gateway.py``.

They ask for no cookie, no login and no token against forgery: a key of SPEECH_CLIENT_KEYS is all that counts.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import lru_cache
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypeVar, cast

import django
from django.conf import settings as configured
from django.core.asgi import get_asgi_application
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import MemoryFileUploadHandler, TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.urls import is_valid_path

from ..listening import Listening
from ..settings import Settings
from ..wiring import SpeechClient
from . import asgi, reading, wire
from . import django as client
from .answer import Answer
from .auth import Doorkeeper
from .django import SpeechMiddleware, get_speech
from .gateway import Gateway, refusal

logger = logging.getLogger(__name__)

T = TypeVar("T")

IN_MEMORY = 2**20  # bytes of a form that are not worth a file


def create(**settings: Any) -> asgi.App:
    """A project with the gateway at its root and nothing else: what ``serve`` serves where there is no host.

    *settings* are Django's: ``ROOT_URLCONF="my_voice.urls"`` brings routes of yours, and the gateway answers the rest.
    A process has one configuration: those of a second call are not heard.
    """
    ours: dict[str, Any] = {
        "ALLOWED_HOSTS": ["*"],
        "DATA_UPLOAD_MAX_NUMBER_FIELDS": reading.PARTS_MAX,
        "LOGGING_CONFIG": None,  # logs.py has configured it
        "ROOT_URLCONF": (),
        "SECRET_KEY": secrets.token_urlsafe(32),  # another in each process: bring yours if a view of yours signs
    }
    client.install(project := ours | settings)
    if not configured.configured:
        configured.configure(**project)
        django.setup()
    return Front(get_asgi_application())


def install(settings: client.Settings, *, prefix: str = "/speech") -> None:
    """``install(globals())`` at the end of settings.py: the client for the project's own views, and ElevenLabs' routes
    under *prefix*, whose base URL is then ``…/speech``.

    The project does not start without ``SPEECH_CLIENT_KEYS``. The routes need ASGI. Django takes a whole body before it
    asks anybody: in asgi.py, ``application = Front(get_asgi_application(), "/speech")`` bounds what the routes take.
    """
    settings["SPEECH_PREFIX"] = prefix
    settings["MIDDLEWARE"] = [f"{__name__}.GatewayMiddleware", *settings.get("MIDDLEWARE", ())]


class GatewayMiddleware(SpeechMiddleware):
    """Answers what is under the prefix; nothing of the project's is asked about it."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        Doorkeeper(Settings.from_env())
        self._prefix: str = configured.SPEECH_PREFIX
        if not self._async:
            logger.warning("no routes under %s/: they need ASGI, such as uvicorn", self._prefix)

    async def _within(self, request: HttpRequest) -> HttpResponseBase:
        if not _ours(request.path_info, self._prefix):
            return await super()._within(request)
        await get_speech.open()
        return await serve(request, request.path_info.removeprefix(f"{self._prefix}/"))


class Front(asgi.Application):
    """In front of *project*: the routes answer without it, and the client lives as long as the server's lifespan."""

    def __init__(self, project: asgi.App, prefix: str = "") -> None:
        super().__init__(_form)
        self._project, self._prefix = project, prefix

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif _ours(scope["path"].removeprefix(scope.get("root_path", "")), self._prefix):
            root = scope.get("root_path", "") + self._prefix
            await super().__call__({**scope, "root_path": root}, receive, send)
        else:
            await self._project(scope, receive, send)

    async def _live(self, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        try:
            speech = await get_speech.open()
            self.gateway = Gateway(speech)
            await speech.warm_up()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await get_speech.close()
        await send({"type": "lifespan.shutdown.complete"})


def _ours(path: str, prefix: str) -> bool:
    """At the root, whatever the project has no route for."""
    return path.startswith(f"{prefix}/") if prefix else not is_valid_path(path)


# ------------------------------------------------------------------------------------------------------------ as a view


async def serve(request: HttpRequest, path: str) -> HttpResponseBase:
    """Any of the routes. Who leaves, Django itself tells: it cancels the view."""
    try:
        answer = await _gateway(get_speech()).answer(_Asked(request, f"/{path}"))
        return _respond(answer) if isinstance(answer, Answer) else await _streamed(answer)
    except Exception as error:
        return _respond(refusal(error))


serve.csrf_exempt = True  # type: ignore[attr-defined]
serve.login_required = False  # type: ignore[attr-defined]


@lru_cache(1)
def _gateway(speech: SpeechClient) -> Gateway:
    return Gateway(speech)


class _Asked(asgi.Asked):
    def __init__(self, request: HttpRequest, path: str) -> None:
        query = request.META["QUERY_STRING"].encode()  # which Django's test client has as text in its scope
        super().__init__({**request.scope, "path": path, "root_path": "", "query_string": query}, self._read, _form)
        self._request = request

    async def _read(self) -> asgi.Message:
        """What Django has received, as if it still came."""
        piece = self._request.read(asgi.PIECE)
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def unless_left(self, work: Coroutine[Any, Any, T]) -> T:
        return await work


def _respond(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=asgi.sized(answer))


async def _streamed(listening: Listening) -> StreamingHttpResponse:
    pieces = _pieces(listening)
    await anext(pieces)
    return StreamingHttpResponse(pieces, headers=wire.headers(listening))


async def _pieces(listening: Listening) -> AsyncIterator[bytes]:
    """The first is empty: once it is there, headers can be told. Begun like this, it ends even if nobody takes more."""
    async with listening:
        yield b""
        async for piece in asgi.paced(listening):
            yield piece


# ---------------------------------------------------------------------------------------------------------------- forms


@asynccontextmanager
async def _form(scope: asgi.Scope, receive: asgi.Receive) -> AsyncIterator[reading.Parts]:
    """As Django reads forms, which wants to know how long they are and doesn't believe that one may be chunked."""
    with SpooledTemporaryFile(IN_MEMORY) as whole:
        async for piece in asgi.pieces(receive):
            whole.write(piece)
        size = whole.tell()
        whole.seek(0)
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"").decode("latin-1")
        parts = await asyncio.to_thread(_parsed, {"CONTENT_TYPE": kind, "CONTENT_LENGTH": size}, cast(BinaryIO, whole))
    try:
        yield parts
    finally:
        for _, part in parts:
            if isinstance(part, reading.Upload):
                part.file.close()


def _parsed(meta: dict[str, Any], whole: BinaryIO) -> list[tuple[str, str | reading.Upload]]:
    try:
        parser = MultiPartParser(meta, whole, [MemoryFileUploadHandler(), TemporaryFileUploadHandler()], "utf-8")
        fields, files = parser.parse()
    except (MultiPartParserError, SuspiciousOperation):
        raise wire.Stray(422) from None
    texts = [(name, value) for name, values in fields.lists() for value in values]
    return texts + [(name, _upload(file)) for name, them in files.lists() for file in them]


def _upload(part: UploadedFile) -> reading.Upload:
    return reading.Upload(cast(BinaryIO, part.file), part.name or "audio", part.content_type or "")
