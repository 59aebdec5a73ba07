"""The gateway as a WSGI application, for any framework to mount; and what WSGI leaves to its applications: to notice
who left and what is too large, and to break what can't be ended.

A thread that waits hears of nobody. Under gunicorn the caller's connection is in the environment, and the client's loop
watches it while the thread waits: who hangs up, in the queue or in the middle of a stream, is noticed at once. Where it
can't be watched (another server, TLS, behind a request sent ahead on the same connection), who hangs up is noticed at
the next write, and in the queue not at all.
"""

import asyncio
import errno
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from http.client import responses
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from ..blocking import Blocking
from ..catalogue import HTTP_POOLS
from ..client import Client
from ..errors import Overloaded, SpeechError
from ..listening import Listening
from ..settings import Settings
from ..wiring import SpeechClient
from . import reading, wire
from .answer import Answer
from .auth import Doorkeeper
from .gateway import HEAR, PAGES, SPEAK, Ask, Gateway, refusal

logger = logging.getLogger(__name__)

QUEUED_MAX = 256  # threads for those who wait for a slot, of all pools; whoever comes beyond is told at once

Environ = Mapping[str, Any]
Form = Callable[[Environ, int], AbstractContextManager[reading.Parts]]
Line = socket.socket | None
T = TypeVar("T")


class CallerLeft(Exception):
    """Nobody is there to hear it."""


def places(settings: Settings) -> int:
    """How many may wait for upstream or listen to it at once, each of them in a thread of this process."""
    slots = sum(settings.plan[pool] for pool in HTTP_POOLS)
    return slots + min(settings.queue_size * len(HTTP_POOLS), QUEUED_MAX)


class Application:
    """The gateway's routes. ``form`` reads a form as the framework does, bounded by the bytes it is given.

    Whoever waits for upstream takes a place, so that threads are left to say how the service is. Raises SettingsError.
    """

    def __init__(self, speech: Blocking, settings: Settings, form: Form) -> None:
        Doorkeeper(settings)  # now, not at the first request
        self._speech, self._form = speech, form
        self._places = threading.BoundedSemaphore(places(settings))
        self._gateways: dict[int, Gateway] = {}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        with ExitStack() as held:
            try:
                answer = self._answer(environ, held)
            except CallerLeft:
                answer = Answer(499, b"", {})
            except Exception as error:
                answer = refusal(error)
            if isinstance(answer, Stream):
                start_response("200 OK", list(wire.headers(answer.listening).items()))
                return _Body(answer, held.pop_all())
            headers = [*answer.headers.items(), ("content-length", str(len(answer.body)))]
            start_response(f"{answer.status} {responses.get(answer.status, '')}", headers)
            return _Body([] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body], held.pop_all())

    def _answer(self, environ: Environ, held: ExitStack) -> "Answer | Stream":
        path, ask = environ["PATH_INFO"], Ask(_headers(environ), _query(environ))
        if page := PAGES.get(path):
            _allow(environ, "GET", "HEAD")
            gateway = self._gateway()
            return self._speech.run(lambda _: page(gateway, ask))
        if path == HEAR:
            _allow(environ, "POST")
            return self._hear(environ, ask, held)
        if found := SPEAK.fullmatch(path):
            _allow(environ, "POST")
            return self._speak(found[1], wire.MANNERS[wire.VOICE + found[2]], environ, ask, held)
        raise wire.Stray(404)

    def _hear(self, environ: Environ, ask: Ask, held: ExitStack) -> Answer:
        gateway, line = self._gateway(), line_of(environ)
        terms = gateway.terms(ask.headers)
        self._take_place(held)
        with self._form(environ, gateway.upload_max) as parts:
            return self._speech.run(lambda _: unless_left(gateway.hear(parts, ask.query, terms), line))

    def _speak(self, voice: str, manner: wire.Manner, environ: Environ, ask: Ask, held: ExitStack) -> "Answer | Stream":
        gateway, line = self._gateway(), line_of(environ)
        terms = gateway.terms(ask.headers)
        self._take_place(held)
        body = bounded_body(environ, reading.BODY_MAX)

        def listen() -> Listening:
            return gateway.speak(manner, voice, body, ask.query, terms)

        async def whole() -> Answer:
            return await gateway.whole(listen())

        if manner.whole:
            return self._speech.run(lambda _: unless_left(whole(), line))
        stream = Stream(self._speech, listen, line)
        held.callback(stream.close)
        return stream

    def _gateway(self) -> Gateway:
        """This process's, as its client is."""
        pid = os.getpid()
        if pid not in self._gateways:
            self._gateways[pid] = Gateway(cast(SpeechClient, self._speech.run(_itself)))
        return self._gateways[pid]

    def _take_place(self, held: ExitStack) -> None:
        if not self._places.acquire(blocking=False):
            raise Overloaded("All threads of this process wait for upstream; try again.", retry_after_s=1)
        held.callback(self._places.release)


class _Body:
    """What the server iterates over; then it closes it, and what was held for it."""

    def __init__(self, pieces: Iterable[bytes], held: ExitStack) -> None:
        self._pieces, self.close = pieces, held.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


class Stream(Iterator[bytes]):
    """Audio as it comes. An error before its first byte is raised as it is made; one after it breaks the connection."""

    def __init__(self, speech: Blocking, listen: Callable[[], Listening], line: Line) -> None:
        self._speech, self._line, self._ended = speech, line, False
        self.listening = speech.run(lambda _: unless_left(_entered(listen), line))

    def __next__(self) -> bytes:
        try:
            chunk = self._speech.run(lambda _: unless_left(_next(self.listening), self._line))
        except Exception as error:
            if not isinstance(error, SpeechError | CallerLeft):
                logger.error("a stream failed", exc_info=error)
            self._end(error)
            raise cut(self._line) from None
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._speech.run(lambda _: self.listening.__aexit__(type(error), error, None))


async def _itself(client: Client) -> Client:
    return client


async def _entered(listen: Callable[[], Listening]) -> Listening:
    return await listen().__aenter__()


async def _next(listening: Listening) -> bytes | None:
    return await anext(listening, None)


def _allow(environ: Environ, *methods: str) -> None:
    if environ["REQUEST_METHOD"] not in methods:
        raise wire.Stray(405, {"allow": ", ".join(methods)})


def _headers(environ: Environ) -> dict[str, str]:
    return {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}


def _query(environ: Environ) -> list[tuple[str, str]]:
    return parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)


# ------------------------------------------------------------------------------------------- what WSGI leaves to others


def bounded_body(environ: Environ, most: int) -> bytes:
    """All of it. Raises too_large as soon as it is, and Stray for what the server can't read."""
    length, endless = int(environ.get("CONTENT_LENGTH") or 0), environ.get("wsgi.input_terminated", False)
    if length > most:
        raise reading.too_large(most)
    try:
        body: bytes = environ["wsgi.input"].read(most + 1 if endless else length)
    except Exception:  # of the server's, for instance for a chunk that is none
        raise wire.Stray(422) from None
    if len(body) > most:
        raise reading.too_large(most)
    return body


def line_of(environ: Environ) -> Line:
    """The caller's connection, where the server shows it and it can be watched."""
    line = environ.get("gunicorn.socket")
    return line if type(line) is socket.socket else None  # TLS has one of another class, whose bytes say nothing


async def unless_left(work: Coroutine[Any, Any, T], line: Line) -> T:
    """What *work* returns; CallerLeft as soon as the caller hangs up, when *work* is cancelled and has ended."""
    if line is None:
        return await work
    loop = asyncio.get_running_loop()
    working, left = asyncio.ensure_future(work), loop.create_future()
    loop.add_reader(line, _look, line, left)
    try:
        await asyncio.wait((working, left), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerLeft
        return working.result()
    finally:
        loop.remove_reader(line)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _look(line: socket.socket, left: "asyncio.Future[None]") -> None:
    """Once: behind a request that was sent ahead nothing more can be seen."""
    asyncio.get_running_loop().remove_reader(line)
    if _hung_up(line):
        left.set_result(None)


def _hung_up(line: socket.socket) -> bool:
    try:
        return not line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def cut(line: Line) -> ConnectionResetError:
    """Reset the connection; what to raise then, which no server takes for a failure of its own.

    The last chunk is missing anyway; but who asks by HTTP/1.0, as many a proxy does, knows a whole answer by nothing
    but the connection's orderly end, and must get none. So the socket is closed as one that has bytes to throw away;
    its number stays taken, because the server will close it once more.
    """
    if line is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with socket.socket() as nowhere:
            os.dup2(nowhere.fileno(), line.fileno())
    return ConnectionResetError(errno.ECONNRESET, "the answer broke after its headers")
