"""The same client for threads without a loop: one async core, on a loop in a thread of its own.

The thread starts at the first call and belongs to the process that made it. After a fork the child starts its own, with
a client of its own: so one facade may be made before a server forks its workers, and used by all their threads.
The state is ``_engines`` and their locks, by process id.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from .client import Audio, Client, Transcript
from .listening import Listening

T = TypeVar("T")


class Blocking:
    """``with SpeechClient.from_env().blocking() as speech: speech.synthesize("Hello")``, from any thread.

    ``make`` gives a client that has not been used: it is called once a process. What the methods take, give and raise
    is what those of ``Client`` do.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make, self._closed = make, False
        self._engines: dict[int, Engine] = {}
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def synthesize(self, text: str, **wishes: Any) -> Audio:
        return self._engine().run(lambda client: client.synthesize(text, **wishes))

    def stream(self, text: str, **wishes: Any) -> "Chunks":
        """``with speech.stream("Hello") as chunks: for chunk in chunks: ...``"""
        return Chunks(self._engine(), lambda client: client.stream(text, **wishes))

    def transcribe(self, audio: bytes | str | Path | BinaryIO, **wishes: Any) -> Transcript:
        return self._engine().run(lambda client: client.transcribe(audio, **wishes))

    def run(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        """Whatever else there is to *ask*: what it gives, awaited on the client's loop."""
        return self._engine().run(ask)

    def snapshot(self) -> dict[str, Any]:
        """Of this process."""
        return self._engine().run(_snapshot)

    def close(self) -> None:
        """Let what is in flight end, within the grace period, then the thread. Only this process's."""
        self._closed = True
        if engine := self._engines.pop(os.getpid(), None):
            engine.close()

    def _engine(self) -> "Engine":
        """This process's. Raises RuntimeError after ``close``."""
        if self._closed:
            raise RuntimeError("this speech client is closed")
        pid = os.getpid()  # a fork may copy a lock as held, so each process has its own
        with self._locks.setdefault(pid, threading.Lock()):
            if pid not in self._engines:
                self._engines[pid] = Engine(self._make())
            return self._engines[pid]


class Chunks(Iterator[bytes]):
    """Bytes as they come. What the answer says of itself (``model_id``, ``cache`` ...) is in ``listening``."""

    listening: Listening

    def __init__(self, engine: "Engine", ask: Callable[[Client], Listening]) -> None:
        self._engine, self._ask = engine, ask

    def __enter__(self) -> Self:
        self.listening = self._engine.run(lambda client: self._ask(client).__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._engine.run(lambda _: self.listening.__aexit__(*error))

    def __next__(self) -> bytes:
        if (chunk := self._engine.run(lambda _: anext(self.listening, None))) is None:
            raise StopIteration
        return chunk


class Engine:
    """A loop in a thread, and the client that lives on it."""

    def __init__(self, client: Client) -> None:
        self._client, self._loop = client, asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="speech", daemon=True)
        self._thread.start()

    def run(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        """What it gives, asked on the loop. What takes this thread away from waiting, as Ctrl-C does, cancels it."""

        async def work() -> T:
            return await ask(self._client)

        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # nothing, once it is done

    def close(self) -> None:
        self.run(lambda client: client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _snapshot(client: Client) -> dict[str, Any]:
    return client.snapshot()
