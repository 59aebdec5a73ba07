"""uvicorn, in this process or in several workers that share one port: for every framework that speaks ASGI."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from .. import logs
from ..answers import FRAMEWORK
from ..client import Client
from ..settings import Settings
from ..wiring import SpeechClient
from . import workers
from .serve import BACKLOG, application

logger = logging.getLogger(__name__)
adapter = import_module(f".{FRAMEWORK}", __package__)

KEEP_ALIVE_S = 65  # longer than the usual load balancer's minute, so that it never writes to a closed connection
LAST_WORDS_S = 2  # for answers that say that there will be none
REPLACED_AFTER_S = 0.5  # so that workers that die at once don't take the machine with them
NOW = getattr(signal, "SIGQUIT", signal.SIGTERM)  # from the supervisor to a worker: at once


def run(listener: socket.socket, run_dir: Path, processes: int) -> int:
    """Serve on *listener* until told to end; the exit code."""
    return Supervisor(listener, run_dir).run(processes) if processes > 1 else _work(listener)


class Server(uvicorn.Server):
    """uvicorn, but for how it ends."""

    def __init__(self, app: Any, settings: Settings, parent: int | None) -> None:
        super().__init__(
            uvicorn.Config(
                app, http="httptools", loop="asyncio", lifespan="on", log_config=None, access_log=False,
                server_header=False, timeout_keep_alive=KEEP_ALIVE_S, backlog=BACKLOG,
            )
        )  # fmt: skip
        self._app, self._grace_s, self._parent = app, settings.grace_s, parent
        self._posted_at = 0
        self._ends_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first lets it end, the second ends it; but a worker hears the same wish many times, from a terminal or an
        init system that tells the whole group, and from its supervisor."""
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._grace_s
        elif self._parent is None:
            self._end_at_once()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._parent:
            signal.signal(NOW, self._end_at_once)
        await super().serve(sockets)

    def _end_at_once(self, *_: object) -> None:
        """Whatever else runs is cancelled too, once this task has ended: what is held is given back."""
        assert self._task, "a server runs in a task"
        self._loop.call_soon_threadsafe(self._task.cancel)

    async def on_tick(self, counter: int) -> bool:
        speech: SpeechClient = adapter.client_of(self._app)
        self._posted_at = await workers.post(speech, self._posted_at)
        if self._parent and os.getppid() != self._parent:  # nobody is left to tell us
            self._ends_at = self._ends_at or time.monotonic() + self._grace_s
        if self._ends_at is not None:
            self.should_exit = await self._drained(speech, self._ends_at - time.monotonic())
        return await super().on_tick(counter)

    async def _drained(self, speech: SpeechClient, left_s: float) -> bool:
        if not speech.draining:
            logger.info("draining: no new work; %d requests are under way", len(self.server_state.tasks))
            speech.drain()
        if left_s <= 0:
            await Client.aclose(speech)  # the flights alone: so whoever still waits hears a proper 503
        self.config.timeout_graceful_shutdown = max(LAST_WORDS_S, int(left_s))
        return left_s <= 0 or not (self.server_state.tasks or speech.snapshot()["flights"])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await workers.publish(adapter.client_of(self._app))
        logger.info("ended")


def _work(listener: socket.socket, parent: int | None = None) -> int:
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what happens when, we say ourselves
    try:
        Server(application(), Settings.from_env(), parent).run([listener])
    except (asyncio.CancelledError, SystemExit):  # told twice; or it could not start, and the log says why
        return 1
    return 0


# ----------------------------------------------------------------------------------------------------- several workers


class Supervisor:
    """Keeps ``count`` workers alive and passes on what it is told. One that can't even start ends them all."""

    def __init__(self, listener: socket.socket, run_dir: Path) -> None:
        self._listener, self._run_dir = listener, run_dir
        self._alive: list[BaseProcess] = []
        self._told = 0
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, self._hear)

    def run(self, count: int) -> int:
        code = 0
        for _ in range(count):
            self._start()
        while self._alive:
            ready = wait([worker.sentinel for worker in self._alive])
            for worker in [worker for worker in self._alive if worker.sentinel in ready]:
                code = max(code, self._ended(worker))
        return code

    def _start(self) -> None:
        worker = multiprocessing.get_context("spawn").Process(target=_as_worker, args=(self._listener, os.getpid()))
        worker.start()
        self._alive.append(worker)
        if self._told:  # while it was started
            worker.terminate()

    def _ended(self, worker: BaseProcess) -> int:
        """What it means for our own exit code."""
        worker.join()
        self._alive.remove(worker)
        workers.bury(self._run_dir, _pid(worker))
        if self._told or not worker.exitcode:
            return 0 if worker.exitcode in (0, -signal.SIGTERM) else 1  # the latter: before it had begun
        if worker.exitcode > 0:
            self._hear()
            return 1
        logger.warning("worker %d was killed by signal %d; another takes its place", worker.pid, -worker.exitcode)
        time.sleep(REPLACED_AFTER_S)
        self._start()
        return 0

    def _hear(self, *_: object) -> None:
        self._told += 1
        for worker in self._alive:
            with suppress(ProcessLookupError):
                os.kill(_pid(worker), signal.SIGTERM if self._told == 1 else NOW)


def _pid(worker: BaseProcess) -> int:
    assert worker.pid is not None, "a process has its number from its start on"
    return worker.pid


def _as_worker(listener: socket.socket, parent: int) -> None:
    logs.configure(Settings.from_env())
    sys.exit(_work(listener, parent))
