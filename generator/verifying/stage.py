"""A stage: the project's sandbox and service on free ports, in a folder of their own, in an environment that we know.

Whatever ends a stage, its processes are gone then: each leads a group of its own, and the group is killed.
"""

import asyncio
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checks import Act
from .project import Project
from .talking import PATIENCE_S, Sandbox, Service, plan, until

DRIVER = Path(__file__).parent / "driver.py"
OURS = ("SPEECH_", "ELEVENLABS_", "GUNICORN_", "UVICORN_", "DJANGO_")
NOT_PASSED_ON = ("REDIS_URL", "REDIS_URL_FILE", "WEB_CONCURRENCY", "PORT", "PYTHONHOME")
CALLERS = ("admin", "web", "capped")
NOWHERE = "http://127.0.0.1:9"  # until there is a sandbox: ElevenLabs is never asked


class DidNotStart(Exception):
    """With what it said last."""


class Child:
    """A process and all that it starts.  What it says, on both streams, is in the file ``log``."""

    def __init__(self, argv: list[str], env: Mapping[str, str], folder: Path, name: str) -> None:
        self.name, self.env, self.log = name, env, folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    async def address(self) -> str:
        """As soon as it has said it.  Raises DidNotStart."""

        async def look() -> str | None:
            found = re.search(r"http://127\.0\.0\.1:\d+", self.said())
            if not found and self._process.poll() is not None:
                raise DidNotStart(f"the {self.name} ended with {self._process.returncode}: {last_words(self.said())}")
            return found and found[0]

        url = await until(look, bool)
        if url is None:
            raise DidNotStart(f"the {self.name} did not say where it listens: {last_words(self.said())}")
        return url

    def tell(self, word: signal.Signals) -> None:
        self._process.send_signal(word)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def code(self, within_s: float = PATIENCE_S) -> int | None:
        """Its exit code, once it has ended."""

        async def look() -> int | None:
            return self._process.poll()

        return await until(look, lambda code: code is not None, within_s)

    async def code_or_address(self) -> int | None:
        """Its exit code; None if it listens instead."""
        try:
            await self.address()
        except DidNotStart:
            return await self.code()
        return None

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait()


def last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "it said nothing"


@dataclass
class Stage:
    """What a check finds."""

    project: Project
    folder: Path
    env: dict[str, str]
    sandbox: Sandbox
    service: Service
    children: dict[str, Child]

    @property
    def plan(self) -> dict[str, int]:
        return plan(self.project.tier)

    async def calm(self) -> dict[str, Any]:
        """Nothing is under way, and the sandbox is well; its state."""
        await self.sandbox.set(mode="refuse", latency_s=0, faults=[], limits=self.plan)
        await until(self.sandbox.state, lambda state: not any(state["in_flight"].values()))
        if self.children["service"].alive:
            await until(self.service.usage, lambda usage: not usage["now"]["flights"])
        return await self.sandbox.state()

    async def close_gate(self, pool: str) -> None:
        """From now on calls of *pool* wait at the sandbox, for as long as we like: counted, and never answered."""
        await self.sandbox.set(mode="queue", limits={pool: 0})

    async def open_gate(self, pool: str, slots: int) -> None:
        await self.sandbox.set(mode="refuse", limits={pool: slots})

    def start(self, name: str, *argv: str, **env: str) -> Child:
        """``python -m <package>.speech ARGV``; ended with this stage."""
        return self._child(name, ["-m", f"{self.project.package}.speech", *argv], env)

    def drive(self, name: str) -> Child:
        return self._child(name, ["-P", str(DRIVER), self.project.package], {})

    def _child(self, name: str, argv: list[str], env: Mapping[str, str]) -> Child:
        child = Child([self.project.python, *argv], {**self.env, **env}, self.folder, name)
        self.children[name] = child
        return child


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for everything that is written, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="verify-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment(project: Project, folder: Path) -> dict[str, str]:
    """Ours but for what would steer the service: that comes from here, and nothing from the project's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    kept = {name: value for name, value in kept.items() if name not in NOT_PASSED_ON}
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    keys = {name: f"{name}-{secrets.token_hex(16)}" for name in CALLERS}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(project.imports), os.environ.get("PYTHONPATH")))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "*",
        "no_proxy": "*",
        "TMPDIR": str(folder / "tmp"),
        "SPEECH_CACHE_DIR": str(folder / "kept"),
        "SPEECH_ENV": "development",
        "ELEVENLABS_BASE_URL": NOWHERE,
        "ELEVENLABS_API_KEY": f"sk_{secrets.token_hex(24)}",
        "SPEECH_CLIENT_KEYS": ",".join(f"{name}:{key}" for name, key in keys.items()),
    }


def client_keys(env: Mapping[str, str]) -> dict[str, str]:
    return dict(pair.split(":", 1) for pair in env["SPEECH_CLIENT_KEYS"].split(","))


@asynccontextmanager
async def staged(project: Project, act: Act, folder: Path, redis_url: str = "") -> AsyncIterator[Stage]:
    """Raises DidNotStart."""
    import httpx

    folder.mkdir()
    env = environment(project, folder) | dict(act.environment)
    env |= {"REDIS_URL": redis_url} if redis_url else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(timeout=2 * PATIENCE_S, limits=limits, trust_env=False) as http:
        stage = Stage(project, folder, env, Sandbox(http, ""), Service(http, "", client_keys(env)), {})
        try:
            if act.starts:
                await _start(stage, act)
            yield stage
        finally:
            for child in stage.children.values():
                child.kill()
            if redis_url and redis_url == os.environ.get("REDIS_URL"):
                _forget(stage)


async def _start(stage: Stage, act: Act) -> None:
    sandbox = stage.start("sandbox", "sandbox", "--tier", stage.project.tier, SPEECH_ENV="development")
    stage.sandbox.url = stage.env["ELEVENLABS_BASE_URL"] = await sandbox.address()
    if stage.project.routes and not act.driven:
        service = stage.start("service", "serve", "--port", "0", "--workers", str(act.workers))
    else:
        service = stage.drive("service")
    stage.service.url = await service.address()
    ready = await until(
        lambda: stage.service.ask("GET", "/readyz"), lambda said: said.status == 200 or not service.alive
    )
    if ready.status != 200:
        raise DidNotStart(f"the service is not ready: {ready}; {last_words(service.said())}")


def _forget(stage: Stage) -> None:
    """A Redis that is not ours keeps nothing of this: what each key's account left there is removed."""
    argv = [stage.project.python, "-P", str(DRIVER), stage.project.package, "forget"]
    for env in {child.env["ELEVENLABS_API_KEY"]: child.env for child in stage.children.values()}.values():
        subprocess.run(argv, env=env, cwd=stage.folder, capture_output=True, check=False)


@asynccontextmanager
async def redis_for(project: Project, folder: Path) -> AsyncIterator[str]:
    """Where the stages find Redis: as REDIS_URL says, else a server of our own; empty where none is needed."""
    if project.backend != "redis" or os.environ.get("REDIS_URL"):
        yield os.environ.get("REDIS_URL", "") if project.backend == "redis" else ""
        return
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if not server:
        raise ValueError("cache_backend is redis: set REDIS_URL, or put redis-server (or valkey-server) on the PATH")
    folder.mkdir()
    socket = folder / "redis.sock"
    argv = [server, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    child = Child(argv, os.environ, folder, "redis")
    try:
        yield f"unix://{socket}" if await _is_there(socket, child) else ""
    finally:
        child.kill()


async def _is_there(socket: Path, child: Child) -> bool:
    async def look() -> bool:
        return socket.exists()

    if not await until(look, bool, 20):
        raise ValueError(f"redis did not start: {last_words(child.said())}")
    await asyncio.sleep(0)
    return True
