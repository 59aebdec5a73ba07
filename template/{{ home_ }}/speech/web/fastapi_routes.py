"""FastAPI: the gateway's routes, under a prefix of the host's application. What they are is in ``asgi.py``.

They are an application of their own, so that no handler, no 404 and no schema of the host's is touched.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

from fastapi import FastAPI, Request, UploadFile
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from . import asgi, reading, wire
from .fastapi import around, client_of
from .fastapi import install as install_client
from .gateway import Gateway


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
    routes = asgi.Application(_form)

    @asynccontextmanager
    async def guarded(app: FastAPI) -> AsyncIterator[None]:
        routes.gateway = Gateway(client_of(app))
        yield

    around(app, guarded)
    install_client(app)
    if prefix:
        app.mount(prefix, cast(ASGIApp, routes))
    else:
        app.router.default = cast(ASGIApp, routes)


@asynccontextmanager
async def _form(scope: asgi.Scope, receive: asgi.Receive) -> AsyncIterator[reading.Parts]:
    try:
        form = await Request(scope, receive).form(max_files=1, max_fields=reading.PARTS_MAX)
    except ClientDisconnect:
        raise asgi.CallerLeft from None
    except HTTPException as error:
        raise wire.Stray(error.status_code) from None
    try:
        yield _parts(form)
    finally:
        await form.close()


def _parts(form: FormData) -> Iterator[tuple[str, str | reading.Upload]]:
    for name, value in form.multi_items():
        yield name, value if isinstance(value, str) else _upload(cast(UploadFile, value))


def _upload(part: UploadFile) -> reading.Upload:
    return reading.Upload(part.file, part.filename or "audio", part.content_type or "application/octet-stream")
