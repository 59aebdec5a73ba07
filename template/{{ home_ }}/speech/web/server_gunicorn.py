"""gunicorn: a supervisor, and one worker or several that share one port. For every framework that speaks WSGI.

A worker has a thread for every request under way: for those that upstream answers, for ``wsgi.QUEUED_MAX`` that wait
for a slot, and some that keep saying how the service is. A connection without a request takes none; a caller who sends
headers or a body slowly holds one as long: let a proxy that buffers requests stand before it.
"""

import logging
import math
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, cast

if sys.platform == "win32":
    from ..settings import SettingsError

    raise SettingsError("serve wants gunicorn, which Windows has not; serve create_app() with waitress there")

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter, HaltServer  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from ..client import Client
from ..settings import Settings
from ..wiring import SpeechClient
from . import workers, wsgi
from .serve import application

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 65  # longer than the usual load balancer's minute, so that it never writes to a closed connection
SPARE_THREADS = 4  # for health checks, pages and refusals
CONNECTIONS_MAX = 4096  # a worker's; what comes beyond waits in the backlog
TICK_S = 0.1
SETTLED_S = 0.3  # when it is told to end, what has come already may still wait to be accepted
LAST_WORDS_S = 2  # for answers that say that there will be none
PATIENCE_S = 5  # after the grace period, or a second signal: then a worker is killed
NOW = signal.SIGQUIT  # from the supervisor to a worker: at once


def run(listener: socket.socket, run_dir: Path, processes: int) -> int:
    """Serve on *listener* until told to end; the exit code."""
    supervisor = Supervisor(Application(run_dir, processes), listener)
    try:
        supervisor.run()
    except SystemExit as end:  # how it always ends
        return int(bool(end.code) or supervisor.told > 1)
    return 0


class Application(BaseApplication):  # type: ignore[misc]
    """gunicorn's settings, and where a worker gets what it serves."""

    def __init__(self, run_dir: Path, processes: int) -> None:
        self.settings, self._run_dir, self._processes = Settings.from_env(), run_dir, processes
        super().__init__()

    def load_config(self) -> None:
        ours = {
            "workers": self._processes, "worker_class": Worker, "worker_connections": CONNECTIONS_MAX,
            "threads": wsgi.places(self.settings) + SPARE_THREADS, "keepalive": KEEP_ALIVE_S,
            "graceful_timeout": LAST_WORDS_S, "errorlog": None, "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,
            "child_exit": lambda _, worker: workers.bury(self._run_dir, worker.pid),
        }  # fmt: skip
        for name, value in ours.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return application()


class Supervisor(Arbiter):  # type: ignore[misc]
    """gunicorn's, but for how it ends: told once, the workers end in order; told twice, at once."""

    SIGNALS = [signal.SIGINT, signal.SIGTERM]

    def __init__(self, app: Application, listener: socket.socket) -> None:
        super().__init__(app)
        self.LISTENERS, self._grace_s, self.told = [listener], app.settings.grace_s, 0
        theirs = logging.getLogger("gunicorn.error")  # its failures; what happens when, we say ourselves
        theirs.setLevel(logging.ERROR)
        theirs.propagate = True

    def signal(self, sig: int, frame: FrameType | None) -> None:
        self.told += 1
        super().signal(sig, frame)

    def handle_int(self) -> None:
        self.handle_term()

    def stop(self, graceful: bool = True) -> None:
        """Wait until all workers have ended. Each is told again and again: one that was starting did not hear."""
        for listener in self.LISTENERS:
            listener.close()
        killed_at = time.monotonic() + self._grace_s + PATIENCE_S
        while self.WORKERS:
            now, word = time.monotonic(), signal.SIGTERM
            if self.told > 1 or not graceful:
                killed_at, word = min(killed_at, now + PATIENCE_S), NOW
            self.kill_workers(word if now < killed_at else signal.SIGKILL)
            self.wait_for_signals(TICK_S)
            with suppress(HaltServer):  # one that could not start: it need not any more
                self.reap_workers()

    def spawn_worker(self) -> int:
        """Its process ends here: what is further up on the stack or waits for the exit is the supervisor's to close."""
        try:
            return int(super().spawn_worker())
        except SystemExit as end:
            os._exit(int(end.code or 0))


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's, but for how it ends: it goes on listening and says that it takes nothing new, until all is done."""

    def load_wsgi(self) -> None:
        try:
            super().load_wsgi()
        except Exception:
            logger.exception("the application can't start")
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        self._speech, self._grace_s = self.wsgi.extensions["speech"], self.app.settings.grace_s
        self._speech.run(_warm_up)

    def init_signals(self) -> None:
        self._told_at, self._ticked_at, self._posted_at = math.inf, -math.inf, 0
        self._under_way: set[Any] = set()
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)  # a terminal tells the whole group

    def handle_exit(self, *_: object) -> None:
        self._told_at = min(self._told_at, time.monotonic())

    def handle_quit(self, *_: object) -> None:
        signal.signal(NOW, signal.SIG_IGN)  # once is enough
        sys.exit(1)

    def is_parent_alive(self) -> bool:
        if os.getppid() != self.ppid:  # nobody is left to tell us
            self.handle_exit()
        return True

    def run(self) -> None:
        try:
            super().run()
        finally:  # SystemExit, when told to end at once
            self._speech.run(_last_words)
            self._speech.close()
            logger.info("ended")

    def enqueue_req(self, conn: Any) -> None:
        if time.monotonic() < self._told_at + SETTLED_S:  # who comes later is refused, and not waited for
            self._under_way.add(conn)
        super().enqueue_req(conn)

    def finish_request(self, conn: Any, future: Any) -> None:
        self._under_way.discard(conn)
        super().finish_request(conn, future)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, TICK_S))
        if self.alive and time.monotonic() >= self._ticked_at + TICK_S:
            self._ticked_at = time.monotonic()
            self._tick()

    def _tick(self) -> None:
        """Waits for the client's loop: were that stuck, the supervisor would miss our heartbeat and replace us."""
        self._posted_at = self._speech.run(lambda client: workers.post(cast(SpeechClient, client), self._posted_at))
        if self._told_at < math.inf and self._drained(time.monotonic() - self._told_at):
            self.set_accept_enabled(False)
            for listener in self.sockets:  # now, not when the last idle connection is closed: nobody shall wait for us
                listener.close()
            self.alive = False

    def _drained(self, told_s: float) -> bool:
        flights = self._speech.run(_drain)
        if told_s >= self._grace_s:
            self._speech.run(Client.aclose)  # the flights alone: so whoever still waits hears a proper 503
            return True
        return told_s >= SETTLED_S and not (self._under_way or flights)


async def _warm_up(client: Client) -> None:
    await cast(SpeechClient, client).warm_up()


async def _drain(client: Client) -> int:
    """How many flights are left."""
    if not client.draining:
        logger.info("draining: no new work; %d flights are under way", client.snapshot()["flights"])
        client.drain()
    return int(client.snapshot()["flights"])


async def _last_words(client: Client) -> None:
    await Client.aclose(client)
    await workers.publish(cast(SpeechClient, client))
