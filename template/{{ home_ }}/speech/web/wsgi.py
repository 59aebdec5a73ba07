"""What every WSGI server leaves to its applications: to wait on the client's loop and notice that a caller left.

A thread that waits or writes hears of nobody. Under gunicorn the connection itself is in the environment, and the loop
watches it while the thread waits: a caller who hangs up, be it in the queue or in the middle of a stream, is noticed at
once. Where it is not there (another server, TLS, a request sent behind this one on the same connection), one is noticed
at the next write, and in the queue not at all.
"""

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from ..blocking import Blocking
from ..catalogue import HTTP_POOLS
from ..client import Client
from ..errors import SpeechError
from ..listening import Listening
from ..settings import Settings

logger = logging.getLogger(__name__)

QUEUED_MAX = 256  # threads for those who wait for a slot, of all pools; whoever comes beyond is told at once

T = TypeVar("T")
Ask = Callable[[Client], Listening]


class CallerLeft(Exception):
    """Nobody is there to hear it."""


def places(settings: Settings) -> int:
    """How many may wait for upstream or listen to it at once, each of them in a thread of this process."""
    slots = sum(settings.plan[pool] for pool in HTTP_POOLS)
    return slots + min(settings.queue_size * len(HTTP_POOLS), QUEUED_MAX)


def line_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """The caller's connection, where the server shows it and it can be watched."""
    line = environ.get("gunicorn.socket")
    return line if type(line) is socket.socket else None  # TLS has one of another class, whose bytes say nothing


async def unless_left(work: Coroutine[Any, Any, T], line: socket.socket | None) -> T:
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
    """Once: behind a request that has already come, nothing more can be seen."""
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


def whole(speech: Blocking, ask: Ask, line: socket.socket | None) -> tuple[Listening, bytes]:
    """All that is asked for, and what it says of itself. Raises SpeechError, CallerLeft."""

    async def heard(client: Client) -> tuple[Listening, bytes]:
        async with ask(client) as listening:
            return listening, await listening.read()

    return speech.run(lambda client: unless_left(heard(client), line))


class Stream(Iterator[bytes]):
    """Audio as it comes, for the server to iterate over and then to close. Made at the first byte; before it, raises
    SpeechError and CallerLeft. What breaks later breaks the connection."""

    def __init__(self, speech: Blocking, ask: Ask, line: socket.socket | None) -> None:
        self._speech, self._line, self._ended = speech, line, False
        self.listening = speech.run(lambda client: unless_left(_entered(ask(client)), line))

    def __next__(self) -> bytes:
        try:
            chunk = self._speech.run(lambda _: unless_left(_next(self.listening), self._line))
        except Exception as error:
            if not isinstance(error, SpeechError | CallerLeft):
                logger.exception("a stream broke")
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


async def _entered(listening: Listening) -> Listening:
    return await listening.__aenter__()


async def _next(listening: Listening) -> bytes | None:
    return await anext(listening, None)


def cut(line: socket.socket | None) -> ConnectionResetError:
    """Reset the connection; what to raise then, which no server reports as its own failure.

    The last chunk is missing, but whoever asked with HTTP/1.0, as many a proxy does, knows a whole answer by nothing
    but the connection's orderly end. So it gets none: the socket is closed as one that has bytes to throw away. Its
    number stays taken, for the server will close it again.
    """
    if line is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with socket.socket() as nowhere:
            os.dup2(nowhere.fileno(), line.fileno())
    return ConnectionResetError(errno.ECONNRESET, "the answer broke after its headers")
