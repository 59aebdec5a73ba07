"""The command ``serve``: what holds for every server. The framework's own is in ``server_*.py``.

A signal to end is answered in order. The service is not ready any more and takes no new work, but it goes on listening,
so that whoever still comes hears why; what is under way ends, within SPEECH_GRACE_S; then the process does, with 0.
A second signal ends it at once.
"""

import logging
import os
import socket
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import logs
from ..answers import CACHE_BACKEND, FRAMEWORK
from ..settings import Settings, SettingsError
from . import create

logger = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SERVERS = {"flask": "server_gunicorn"}  # the others': uvicorn
BACKLOG = 2048


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
            server = import_module(f".{SERVERS.get(FRAMEWORK, 'server_uvicorn')}", __package__)
            return int(server.run(listener, Path(run_dir), processes))


def application() -> Any:
    """What ``create_app`` in the ``app.py`` beside this package gives; without one, the routes alone."""
    beside = f"{__package__.rpartition('.speech')[0]}.app"
    host = import_module(beside) if find_spec(beside) else None
    return getattr(host, "create_app", create)()


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
    if settings.processes > 1 and CACHE_BACKEND == "memory":
        shares = ", ".join(f"{pool} {limit // settings.processes}" for pool, limit in settings.plan.items())
        logger.info("each of %d processes takes its share of the plan: %s", settings.processes, shares)
    if not settings.api_key:
        logger.warning("ELEVENLABS_API_KEY is not set: alive, but never ready")
