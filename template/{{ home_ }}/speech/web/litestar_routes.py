"""Litestar: the gateway's routes, under a prefix of the host's application. What they are is in ``asgi.py``.

They are an application of their own, so that no handler, no 404 and no schema of the host's is touched.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, cast

from litestar import Litestar, Request
from litestar import asgi as mounted
from litestar.config.app import AppConfig
from litestar.datastructures import FormMultiDict, UploadFile
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.utils import normalize_path

from ..errors import SpeechError
from . import asgi, reading, wire
from . import litestar as client
from .gateway import Gateway
from .litestar import client_of

logger = logging.getLogger(__name__)


def create() -> Litestar:
    """An application with the gateway at its root and nothing else: what ``serve`` serves where there is no host."""
    app = Litestar(
        openapi_config=None,
        logging_config=None,  # logs.py has configured it
        after_exception=[_logged],
        multipart_form_part_limit=reading.PARTS_MAX,
    )
    install(app, prefix="")
    return app


async def _logged(error: Exception, scope: Scope) -> None:
    if not isinstance(error, HTTPException | SpeechError):
        logger.error("a route failed", exc_info=error)


def install(app: Litestar, *, prefix: str = "/speech") -> None:
    """The client for *app*'s own routes, and ElevenLabs' routes under *prefix*, whose base URL is then ``…/speech``.

    At the root (``prefix=""``) they answer what no route of *app* does. The application does not start without
    ``SPEECH_CLIENT_KEYS``.
    """
    routes = Routes()
    app.on_startup.insert(0, routes.guard)
    client.install(app)
    if prefix:
        app.register(routes.under(prefix))
    else:
        routes.behind(app)


class SpeechPlugin(client.SpeechPlugin):
    """As ``install``, for an application that is still to be built: ``Litestar(plugins=[SpeechPlugin()])``."""

    def __init__(self, prefix: str = "/speech") -> None:
        self._prefix = prefix

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        routes = Routes()
        app_config.on_startup.insert(0, routes.guard)
        app_config.route_handlers.append(routes.under(self._prefix))
        return super().on_app_init(app_config)


class Routes(asgi.Application):
    """Bound to a host when it starts; placed in it before."""

    def __init__(self) -> None:
        super().__init__(_form)

    async def guard(self, app: Litestar) -> None:
        self.gateway = Gateway(client_of(app))

    def under(self, prefix: str) -> ASGIRouteHandler:
        @mounted(prefix, is_mount=True, copy_scope=True)
        async def speech(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope["path"].removesuffix("/")  # whether it was asked for or not, a mount is given it
            await self(cast(asgi.Scope, {**scope, "path": path}), cast(asgi.Receive, receive), cast(asgi.Send, send))

        return speech

    def behind(self, app: Litestar) -> None:
        """For what *app* has no route for. A mount at the root would hide its routes with parameters."""
        host = cast(asgi.App, app.asgi_handler)

        async def either(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
            await (host if _routed(app, scope) else self)(scope, receive, send)

        app.asgi_handler = cast(ASGIApp, either)


def _routed(app: Litestar, scope: asgi.Scope) -> bool:
    path = normalize_path(scope["path"].removeprefix(scope.get("root_path", "")))
    try:
        app.asgi_router.handle_routing(path=path, method=scope.get("method"))
    except NotFoundException:
        return False
    except HTTPException:  # such as a method that is not allowed
        return True
    return True


class _Whole(Request[Any, Any, Any]):
    """Litestar would ask the handler how large a body may be, and a mount has no say in that."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        async for piece in asgi.pieces(cast(asgi.Receive, self.receive)):
            yield piece


@asynccontextmanager
async def _form(scope: asgi.Scope, receive: asgi.Receive) -> AsyncIterator[reading.Parts]:
    try:
        form = await _Whole(cast(Scope, scope), cast(Receive, receive)).form()
    except HTTPException as error:
        raise wire.Stray(error.status_code) from None
    try:
        yield _parts(form)
    finally:
        await form.close()


def _parts(form: FormMultiDict) -> Iterator[tuple[str, str | reading.Upload]]:
    for name, value in form.multi_items():
        yield name, _upload(value) if isinstance(value, UploadFile) else value


def _upload(part: UploadFile) -> reading.Upload:
    return reading.Upload(cast(BinaryIO, part.file), part.filename, part.content_type)
