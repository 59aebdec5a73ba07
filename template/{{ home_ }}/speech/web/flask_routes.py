"""Flask: the gateway's routes, under a prefix of the host's application. Adapts only: what things mean is in
``wire.py``, who may what in ``auth.py``.

The routes are an application of their own, so that no handler, no hook and no 404 of the host's is touched, and none of
the host's (a login page, a CSRF token, a bound on bodies) stands in a machine's way.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, cast

from flask import Flask, Response, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.formparser import FormDataParser
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from .. import answers
from ..blocking import Blocking
from ..client import Client
from ..clock import today
from ..errors import Overloaded, SpeechError
from ..listening import Listening
from ..request import Terms
from ..settings import Settings
from ..wiring import SpeechClient
from . import account, dashboard, reading, wire, workers, wsgi
from .answer import Answer, said, told
from .auth import Caller, Doorkeeper
from .flask import install as install_client

logger = logging.getLogger(__name__)


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
    routes = Gateway(app.extensions["speech"], Settings.from_env()).application()
    inner = app.wsgi_app
    outer = DispatcherMiddleware(inner, {prefix: routes}) if prefix else _else(app, inner, routes)
    app.wsgi_app = outer  # type: ignore[method-assign]


def _else(host: Flask, inner: Callable[..., Any], routes: Flask) -> Callable[..., Any]:
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


class Gateway:
    """The routes. Whoever waits for upstream takes a place, so that threads are left to say how the service is."""

    def __init__(self, speech: Blocking, settings: Settings) -> None:
        self._speech, self._settings, self._door = speech, settings, Doorkeeper(settings)
        self._places = threading.BoundedSemaphore(wsgi.places(settings))

    def application(self) -> Flask:
        app = Flask(__name__, static_folder=None)
        app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
        app.url_map.merge_slashes = False
        for path, how in wire.MANNERS.items():
            app.add_url_rule(path.replace("{", "<").replace("}", ">"), path, partial(self.speak, how), methods=["POST"])
        app.add_url_rule("/v1/speech-to-text", "transcribe", self.transcribe, methods=["POST"])
        app.add_url_rule("/v1/models", "models", self.models)
        app.add_url_rule("/v1/voices", "voices", self.voices)
        app.add_url_rule("/v2/voices", "page_of_voices", self.page_of_voices)
        app.add_url_rule("/v1/user/subscription", "subscription", self.subscription)
        app.add_url_rule("/healthz", "healthz", self.healthz)
        app.add_url_rule("/readyz", "readyz", self.readyz)
        app.add_url_rule("/metrics", "metrics", self.metrics)
        app.add_url_rule("/usage", "usage", self.usage)
        app.add_url_rule("/dashboard", "dashboard", self.dashboard)
        for kind, handler in _HANDLERS.items():
            app.register_error_handler(kind, handler)
        return app

    @property
    def _client(self) -> SpeechClient:
        """This process's. What belongs to its loop is asked there."""
        return cast(SpeechClient, self._speech.run(_itself))

    def _caller(self, **how: bool) -> Caller:
        return self._door.caller(_headers(), **how)

    def _terms(self) -> Terms:
        return wire.terms(_headers(), self._caller().name, development=self._settings.env == "development")

    def speak(self, how: wire.Manner, voice_id: str) -> Response:
        terms = self._terms()
        with self._place() as place:
            body, query = _body(), _query()

            def ask(client: Client) -> Listening:
                return wire.listen(client, voice_id, how, body, query, terms)

            response = self._whole(ask) if how.whole else self._stream(ask)
            response.call_on_close(place.pop_all().close)
            return response

    def transcribe(self) -> Response:
        terms = self._terms()
        with self._place() as place, _form(self._settings.max_upload_bytes) as parts:
            transcription = wire.transcription(parts, _query())
            response = self._whole(lambda client: client.open(transcription, terms, whole=True))
            response.call_on_close(place.pop_all().close)
            return response

    def _whole(self, ask: wsgi.Ask) -> Response:
        listening, audio = wsgi.whole(self._speech, ask, wsgi.line_of(request.environ))
        return Response(audio, headers=wire.headers(listening))

    def _stream(self, ask: wsgi.Ask) -> Response:
        stream = wsgi.Stream(self._speech, ask, wsgi.line_of(request.environ))
        return Response(stream, headers=wire.headers(stream.listening))

    def _place(self) -> ExitStack:
        """A thread's, to be given back at the end of the block, or of the response that takes it over."""
        if not self._places.acquire(blocking=False):
            raise Overloaded("All threads of this process wait for upstream; try again.", retry_after_s=1)
        place = ExitStack()
        place.callback(self._places.release)
        return place

    def models(self) -> Response:
        self._caller()
        return respond(said(account.models(self._client)))

    def voices(self) -> Response:
        self._caller()
        return respond(said({"voices": account.voices(self._settings.voice_id)}))

    def page_of_voices(self) -> Response:
        self._caller()
        return respond(said(account.page_of_voices(self._settings.voice_id, _query())))

    def subscription(self) -> Response:
        caller, tier = self._caller(), self._settings.tier
        usage = self._usage(caller.name)
        return respond(said(account.subscription(self._client, tier, caller.name, usage, today())))

    def healthz(self) -> Response:
        return respond(said({"status": "alive"}))

    def readyz(self) -> Response:
        ready = self._client.ready
        return respond(said({"ready": ready}, 200 if ready else 503))

    def metrics(self) -> Response:
        self._door.admin(_headers())
        if answers.exporter is None:
            raise wire.Stray(404)
        fleet = self._speech.run(lambda client: workers.fleet(cast(SpeechClient, client)))
        body, media_type = answers.exporter.render(workers.together(fleet))
        return respond(told(body, media_type))

    def usage(self) -> Response:
        caller = self._caller(basic=True)
        return respond(said(self._usage(None if caller.admin else caller.name)))

    def dashboard(self) -> Response:
        self._door.at_the_screen(_headers())
        return respond(dashboard.page(self._usage()))

    def _usage(self, caller: str | None = None) -> dict[str, Any]:
        return self._speech.run(lambda client: workers.fleet_usage(cast(SpeechClient, client), caller))


async def _itself(client: Client) -> Client:
    return client


def _headers() -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers}


def _query() -> list[tuple[str, str]]:
    return list(request.args.items(multi=True))


def _body() -> bytes:
    """All of it; refused as soon as it is too large."""
    request.max_content_length = reading.BODY_MAX
    return request.get_data(cache=False)


@contextmanager
def _form(most: int) -> Iterator[Iterator[tuple[str, str | reading.Upload]]]:
    """A form's parts, files on disk until the block ends; refused as soon as it is larger than *most* bytes."""
    if request.mimetype != "multipart/form-data":
        raise wire.Stray(422)
    parser = FormDataParser(
        max_content_length=most, max_form_memory_size=reading.BODY_MAX, max_form_parts=reading.PARTS_MAX, silent=False
    )
    try:
        _, fields, files = parser.parse_from_environ(request.environ)
    except ValueError:
        raise wire.Stray(422) from None
    try:
        uploads = ((name, _upload(part)) for name, part in files.items(multi=True))
        yield chain(fields.items(multi=True), uploads)
    finally:
        for part in files.values():
            part.close()


def _upload(part: FileStorage) -> reading.Upload:
    return reading.Upload(cast(BinaryIO, part.stream), part.filename or "audio", part.mimetype)


def respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _failed(error: SpeechError) -> Response:
    return respond(wire.refused(error))


def _strayed(error: HTTPException) -> Response:
    response = _failed(wire.Stray(error.code or 500))
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    return response


def _crashed(error: Exception) -> Response:
    logger.error("a request failed", exc_info=error)
    return _failed(wire.Stray(500))


def _gone(error: wsgi.CallerLeft) -> Response:
    return Response(status=499)  # nobody is there to read it


_HANDLERS: dict[Any, Any] = {
    SpeechError: _failed,
    HTTPException: _strayed,
    wsgi.CallerLeft: _gone,
    Exception: _crashed,
}
