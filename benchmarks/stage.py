"""The stage: a rendered project, its sandbox and its service, each a process of its own on loopback."""

import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from generator.copying import render

PACKAGE = "bench_voice"


@dataclass(frozen=True)
class Stage:
    """URLs of what runs, and the rendered package."""

    sandbox: str
    service: str
    environment: dict[str, str]
    source: Path

    def client(self) -> Any:
        """A SpeechClient of the rendered project in this process, at the sandbox."""
        speech = importlib.import_module(f"{PACKAGE}.speech")
        return speech.SpeechClient.from_env(self.environment)

    def set(self, **fields: Any) -> dict[str, Any]:
        return dict(httpx.post(f"{self.sandbox}/__sandbox/set", json=fields).raise_for_status().json())

    def state(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.sandbox}/__sandbox/state").json())


@contextmanager
def stage(tier: str, *, serve: bool = True, more: Mapping[str, str] = {}, **answers: str) -> Iterator[Stage]:
    """Render, start both, and clean up; ``more`` joins the environment."""
    with TemporaryDirectory(prefix="bench.") as folder, ExitStack() as children:
        home = Path(folder) / "project"
        render(home, {"package_name": PACKAGE, "pricing_tier": tier, **answers}, ask=False, quiet=True)
        sys.path.insert(0, str(home / "src"))
        sandbox, service = _url(), _url()
        environment = {
            "ELEVENLABS_API_KEY": "benchmark-key-000001",
            "ELEVENLABS_BASE_URL": sandbox,
            "SPEECH_ENV": "development",
            "SPEECH_LOG_LEVEL": "warning",
            "SPEECH_DEFAULT_DEADLINE_S": "120",
            "SPEECH_CACHE_DIR": str(home / ".speech"),
            **more,
        }
        children.enter_context(_child(home, environment, "sandbox", sandbox, "--tier", tier))
        if serve:
            children.enter_context(_child(home, environment, "serve", service))
        yield Stage(sandbox, service, environment, home / "src")


@contextmanager
def _child(home: Path, environment: dict[str, str], command: str, url: str, *options: str) -> Iterator[None]:
    argv = [sys.executable, "-m", PACKAGE, command, "--port", url.rpartition(":")[2], *options]
    quiet = subprocess.DEVNULL
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("SPEECH_", "ELEVENLABS_"))}
    process = subprocess.Popen(
        argv, cwd=home, env=inherited | environment | {"PYTHONPATH": str(home / "src")}, stdout=quiet, stderr=quiet
    )
    try:
        _wait_for(url)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(url: str, patience_s: float = 30) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            httpx.get(f"{url}/healthz")
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
