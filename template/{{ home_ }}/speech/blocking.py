"""The same client for threads without a loop: one async core, on a loop in a thread of its own.

The thread starts at the first call and belongs to the process that made it. After a fork the child starts its own, with
a client of its own: so one facade may be made before a server forks its workers, and used by all their threads.
The state is ``_engines``, by process id.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from .client import Audio, Client, Transcript
from .listening import Listening

T = TypeVar("T")


class Blocking:
    """``with SpeechClient.from_env().blocking() as speech: speech.synthesize("Hello")``, from any thread.

    ``make`` gives a client that has not been used: it is called once a process.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._engines: dict[int, _Engine] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def synthesize(self, text: str, **wishes: Any) -> Audio:
        """What ``Client.synthesize`` takes, gives and raises."""
        engine = self._engine()
        return engine.run(engine.client.synthesize(text, **wishes))

    def stream(self, text: str, **wishes: Any) -> "Chunks":
        """``with speech.stream("Hello") as chunks: for chunk in chunks: ...``; else as ``Client.stream``."""
        engine = self._engine()
        return Chunks(engine, lambda: engine.client.stream(text, **wishes))

    def transcribe(self, audio: bytes | str | Path | BinaryIO, **wishes: Any) -> Transcript:
        """What ``Client.transcribe`` takes, gives and raises."""
        engine = self._engine()
        return engine.run(engine.client.transcribe(audio, **wishes))

    def snapshot(self) -> dict[str, Any]:
        """What ``Client.snapshot`` gives, of this process."""
        engine = self._engine()
        return engine.run(_called(engine.client.snapshot))

    def usage(self, caller: str | None = None) -> dict[str, Any]:
        """What ``Client.usage`` gives."""
        engine = self._engine()
        return engine.run(engine.client.usage(caller))

    def close(self) -> None:
        """Let what is in flight end, within the grace period, then the thread. Only this process's."""
        self._closed = True
        if engine := self._engines.pop(os.getpid(), None):
            engine.close()

    def _engine(self) -> "_Engine":
        """This process's. Raises RuntimeError after ``close``."""
        if self._closed:
            raise RuntimeError("this speech client is closed")
        engine = self._engines.setdefault(os.getpid(), _Engine())  # atomic: no lock that a fork could copy as held
        engine.start(self._make)
        return engine


class Chunks:
    """Bytes as they come. What the answer says of itself (``model_id``, ``cache`` ...) is in ``listening``."""

    listening: Listening

    def __init__(self, engine: "_Engine", begin: Callable[[], Listening]) -> None:
        self._engine, self._begin = engine, begin

    def __enter__(self) -> Self:
        self.listening = self._engine.run(_called(self._begin))
        self._engine.run(self.listening.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._engine.run(self.listening.__aexit__(*error))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        chunk = self._engine.run(_next(self.listening))
        if chunk is None:
            raise StopIteration
        return chunk


class _Engine:
    """A loop in a thread, and the client that lives on it."""

    client: Client

    def __init__(self) -> None:
        self._lock, self._started = threading.Lock(), False

    def start(self, make: Callable[[], Client]) -> None:
        with self._lock:
            if self._started:
                return
            self.client, self._loop = make(), asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="speech", daemon=True)
            self._thread.start()
            self._started = True

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` gives. Whatever takes this thread away from waiting for it, as Ctrl-C does, cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # nothing, once it is done

    def close(self) -> None:
        self.run(self.client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _called(method: Callable[[], T]) -> T:
    """On the loop, whose clock it needs."""
    return method()


async def _next(listening: Listening) -> bytes | None:
    return await anext(listening, None)
