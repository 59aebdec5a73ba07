"""The production server: uvicorn, in this process or in several workers that share one port.

A signal to end is answered in order. The service is not ready any more and takes no new work, but it goes on listening,
so that whoever still comes hears why; what is under way ends, within SPEECH_GRACE_S; then the process does, with 0.
A second signal ends it at once.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from .. import logs
from ..answers import CACHE_BACKEND
from ..client import Client
from ..settings import LOOPBACK, Settings, SettingsError
from ..wiring import SpeechClient
from . import create, workers

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 65  # longer than the usual load balancer's minute, so that it never writes to a closed connection
BACKLOG = 2048
LAST_WORDS_S = 2  # for answers that say that there will be none
REPLACED_AFTER_S = 0.5  # so that workers that die at once don't take the machine with them
NOW = getattr(signal, "SIGQUIT", signal.SIGTERM)  # from the supervisor to a worker: at once


def serve(host: str, port: int, processes: int) -> int:
    """Serve until told to end; the exit code. Raises SettingsError, and OSError for an address that can't be had."""
    logs.configure(Settings())  # a warning about settings is a line too
    with tempfile.TemporaryDirectory(prefix="speech-") as run_dir:
        share = max(processes, Settings.from_env().processes)  # more, where other hosts use the account too
        os.environ |= {"SPEECH_RUN_DIR": run_dir, "SPEECH_PROCESSES": str(share)}
        settings = Settings.from_env()
        settings.check(CACHE_BACKEND)
        _check_keys(settings, host)
        logs.configure(settings)
        with _bound(host, port) as listener:
            _announce(settings, host, listener.getsockname()[1], processes)
            return Supervisor(listener, Path(run_dir)).run(processes) if processes > 1 else _work(listener)


def application() -> FastAPI:
    """What ``create_app`` in the ``app.py`` beside this package gives; without one, the routes alone."""
    beside = f"{__package__.rpartition('.speech')[0]}.app"
    host = import_module(beside) if find_spec(beside) else None
    app = getattr(host, "create_app", create)()
    assert isinstance(app, FastAPI), f"create_app of {beside} gives something else than a FastAPI"
    return app


def _check_keys(settings: Settings, host: str) -> None:
    if not settings.client_keys and not (settings.env == "development" and host in LOOPBACK):
        raise SettingsError(
            f"SPEECH_CLIENT_KEYS is not set, so that anybody who reaches {host} could spend your credits; "
            "allowed: name:key,name:key, or none with SPEECH_ENV=development on 127.0.0.1"
        )


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # asyncio does so only for sockets that it made; without, an answer's second part waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        raise OSError(error.errno, why, f"{host} port {port}") from None


def _announce(settings: Settings, host: str, port: int, processes: int) -> None:
    where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    said = {"event": "serving", "host": host, "port": port, "workers": processes, "backend": CACHE_BACKEND}
    logger.info("serving on %s", where, extra={"fields": said | {"tier": settings.tier, "mode": settings.mode}})
    if settings.processes > 1:
        shares = ", ".join(f"{pool} {limit // settings.processes}" for pool, limit in settings.plan.items())
        logger.info("each of %d processes takes its share of the plan: %s", settings.processes, shares)
    if not settings.api_key:
        logger.warning("ELEVENLABS_API_KEY is not set: alive, but never ready")


# ----------------------------------------------------------------------------------------------------------- one worker


class Server(uvicorn.Server):
    """uvicorn, but for how it ends."""

    def __init__(self, app: FastAPI, settings: Settings, parent: int | None) -> None:
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
        speech: SpeechClient = self._app.state.speech
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
        await workers.publish(self._app.state.speech)
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
