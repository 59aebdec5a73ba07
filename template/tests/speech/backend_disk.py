"""What the tests need for cache_backend disk: a folder that is not the working directory's, and other processes."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECH_CACHE_DIR", str(tmp_path / "speech-cache"))


class Child:
    """Another process that runs ``code`` in a loop of its own; ``{speech}`` in it is the package. It prints lines."""

    def __init__(self, code: str) -> None:
        import speech  # it has this name once conftest.py has run

        body = textwrap.indent(textwrap.dedent(code).replace("{speech}", speech.__name__), "    ")
        source = f"import asyncio, os, sys, time\nasync def main():\n{body}\nasyncio.run(main())\n"
        environ = os.environ | {"PYTHONPATH": str(Path(speech.__file__).parents[2])}
        self.process = subprocess.Popen(
            [sys.executable, "-uc", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True
        )

    def says(self) -> str:
        """Its next line; empty at its end."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    async def said(self) -> str:
        """The same, while our loop goes on."""
        return await asyncio.to_thread(self.says)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.process.stdin, self.process.stdout):
            if end:
                end.close()


@contextmanager
def processes() -> Iterator[Callable[[str], Child]]:
    """Starts them, and leaves none behind."""
    started: list[Child] = []

    def start(code: str) -> Child:
        started.append(Child(code))
        return started[-1]

    yield start
    for child in started:
        child.resume()
        child.kill()


async def eventually(holds: Callable[[], object], within_s: float = 10.0) -> None:
    """Until it holds. The machine may be busy: so generous, and quick where it is not."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it never came to that"
        await asyncio.sleep(0.005)
