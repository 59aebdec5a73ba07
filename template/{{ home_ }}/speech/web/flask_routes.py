"""Flask: the gateway's routes, under a prefix of the host's application. What they are is in ``wsgi.py``.

They are an application of their own, so that no handler, no hook and no 404 of the host's is touched, and none of the
host's (a login page, a CSRF token, a bound on bodies) stands in a machine's way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, BinaryIO, cast

from flask import Flask
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.formparser import FormDataParser
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from ..settings import Settings
from . import reading, wire, wsgi
from .flask import install as install_client


def create() -> Flask:
    """An application with the gateway at its root and nothing else: what ``serve`` serves where there is no host."""
    app = Flask(__name__, static_folder=None)
    install(app, prefix="")
    return app


def install(app: Flask, *, prefix: str = "/speech") -> None:
    """The client for *app*'s own routes, and ElevenLabs' routes under *prefix*, whose base URL is then ``…/speech``.

    At the root (``prefix=""``) they answer what no route of *app* does. Raises SettingsError, without
    ``SPEECH_CLIENT_KEYS`` too.
    """
    install_client(app)
    routes = wsgi.Application(app.extensions["speech"], Settings.from_env(), _form)
    inner = app.wsgi_app
    outer = DispatcherMiddleware(inner, {prefix: routes}) if prefix else _else(app, inner, routes)
    app.wsgi_app = outer  # type: ignore[method-assign]


def _else(host: Flask, inner: Callable[..., Any], routes: wsgi.Application) -> Callable[..., Any]:
    """*routes*, where *host* has no such path. A path that it has, for another method, stays its own."""

    def either(environ: dict[str, Any], start_response: Any) -> Any:
        adapter = host.create_url_adapter(host.request_class(environ))
        try:
            adapter and adapter.match()
        except NotFound:
            return routes(environ, start_response)
        except HTTPException:
            pass
        return inner(environ, start_response)

    return either


@contextmanager
def _form(environ: wsgi.Environ, most: int) -> Iterator[reading.Parts]:
    """Files are on disk until the end. Only of multipart: another kind of form is read into memory as a whole."""
    if not environ.get("CONTENT_TYPE", "").lower().startswith("multipart/form-data"):
        raise wire.Stray(422)
    parser = FormDataParser(
        max_content_length=most, max_form_memory_size=reading.BODY_MAX, max_form_parts=reading.PARTS_MAX, silent=False
    )
    try:
        _, fields, files = parser.parse_from_environ(dict(environ))
    except HTTPException as error:
        raise wire.Stray(error.code or 422) from None
    except Exception:  # whatever parser or server stumble over
        raise wire.Stray(422) from None
    try:
        uploads = ((name, _upload(part)) for name, part in files.items(multi=True))
        yield chain(fields.items(multi=True), uploads)
    finally:
        for _, part in files.items(multi=True):
            part.close()


def _upload(part: FileStorage) -> reading.Upload:
    return reading.Upload(cast(BinaryIO, part.stream), part.filename or "audio", part.mimetype)
