"""The pytest fixture ``speech_sandbox``: a sandbox of its own for each test, on a real socket.

In your conftest: ``pytest_plugins = ["<package>.speech.testing.plugin"]``.  Ask for the fixture before the application
is built: it sets the environment that the application reads.
"""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from .sandbox import Sandbox
from .server import listening

KEY = "a-key-of-the-tests-0001"
FAST_S = 0.01
STARTS_WITHIN_S = 10.0


class SandboxThread:
    """A running sandbox: ``url``, ``state()`` and ``set(...)`` (the fields are told in ``sandbox.py``)."""

    def __init__(self, tier: str = "creator", latency_s: float = FAST_S) -> None:
        self.url = ""
        self._sandbox = Sandbox(tier, latency_s)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(STARTS_WITHIN_S):
            raise RuntimeError("the sandbox did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def state(self) -> dict[str, Any]:
        return self._ask("state")

    def set(self, **fields: Any) -> dict[str, Any]:
        """Raises ValueError with the sandbox's line where a field is wrong; else the state."""
        return self._ask("set", fields)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with listening(self._sandbox.handle) as self.url:
            self._listening.set()
            await self._stop.wait()

    def _ask(self, what: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if fields is None else json.dumps(fields).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/__sandbox/{what}", data, timeout=10) as answer:
                state: dict[str, Any] = json.load(answer)
                return state
        except urllib.error.HTTPError as problem:
            raise ValueError(json.load(problem)["detail"]) from None


@pytest.fixture
def speech_sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SandboxThread]:
    """A sandbox of the plan creator that answers in 10 ms, and an environment that points at it.

    ``SPEECH_CLIENT_KEYS`` holds ``KEY``: what a request to the gateway's routes has to bring along.
    """
    with SandboxThread() as sandbox:
        monkeypatch.setenv("ELEVENLABS_BASE_URL", sandbox.url)
        monkeypatch.setenv("ELEVENLABS_API_KEY", "sandbox-accepts-any-key")
        monkeypatch.setenv("SPEECH_ENV", "development")
        monkeypatch.setenv("SPEECH_CLIENT_KEYS", f"tests:{KEY}")
        monkeypatch.setenv("SPEECH_CACHE_DIR", str(tmp_path / "speech"))
        yield sandbox
