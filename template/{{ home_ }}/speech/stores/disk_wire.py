"""How the processes of one host speak with each other: lines of JSON over a unix socket.

Plain sockets, no transports: a forked child must be able to close them without a word to its parent's loop.
"""

import asyncio
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAME_MAX = 100  # bytes that every kernel takes as a socket's name
BACKLOG = 1000
PROC = "/proc/self/fd"


class Wire:
    """One end. What is said in one step of the loop goes out together; a closed socket tells that the other is gone."""

    def __init__(self, end: socket.socket) -> None:
        self.socket, self._loop = end, asyncio.get_running_loop()
        self._rest, self._unsaid = b"", bytearray()
        end.setblocking(False)

    def attend(self, heard: Callable[..., None], lost: Callable[[], None]) -> None:
        """From now on: ``heard`` gets the words of each line, ``lost`` is told once if the other end closes."""
        self._heard, self._lost = heard, lost
        self._loop.add_reader(self.socket, self._read)

    def say(self, *words: object) -> None:
        """Never waits; after the end nobody hears it."""
        if not self._unsaid:
            self._loop.call_soon(self._write)
        self._unsaid += json.dumps(words).encode() + b"\n"

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            self._loop.remove_reader(self.socket)
            self._loop.remove_writer(self.socket)
            self.socket.close()

    def _read(self) -> None:
        try:
            said = self.socket.recv(2**16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        *lines, self._rest = (self._rest + said).split(b"\n")
        for line in lines:
            self._heard(*json.loads(line))
        if not said:
            self.close()
            self._lost()

    def _write(self) -> None:
        if self.socket.fileno() < 0:
            return
        try:
            del self._unsaid[: self.socket.send(self._unsaid)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsaid.clear()  # whoever reads will see the end
        if self._unsaid:
            self._loop.add_writer(self.socket, self._write)
        else:
            self._loop.remove_writer(self.socket)


def connect(path: Path) -> socket.socket:
    """Raises OSError if nobody listens there."""
    end = socket.socket(socket.AF_UNIX)
    try:
        end.setblocking(False)
        with _name(path) as name:
            end.connect(name)
    except OSError:
        end.close()
        raise
    return end


def listen(path: Path) -> socket.socket:
    """In the place of whoever listened there before."""
    unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    with _name(path) as name:
        listener.bind(name)
        os.chmod(name, 0o600)
    listener.listen(BACKLOG)
    return listener


def unlink(path: Path) -> None:
    """Nobody listens there any more."""
    with _name(path) as name:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _name(path: Path) -> Iterator[str]:
    """What the kernel takes: where the path is too long, by way of the open folder, or (macOS) of a short one."""
    if len(os.fsencode(path)) <= NAME_MAX:
        yield str(path)
    elif os.path.isdir(PROC):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            yield f"{PROC}/{folder}/{path.name}"
        finally:
            os.close(folder)
    else:
        short = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
        yield f"{tempfile.gettempdir()}/speech-{short}.sock"
