"""What a store wants of the settings, for a folder of a test's own; and how to wait for what it shares."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import speech as package
from speech.settings import Settings


@dataclass(frozen=True)
class Room:
    cache_dir: Path
    cache_max_bytes: int = 1_000_000
    cache_ttl_s: float = 60.0
    cache_stale_s: float = 60.0
    redis_url: str = field(default_factory=lambda: os.environ.get("REDIS_URL", ""))
    account: str = "an-account"


def settings(**values: Any) -> Settings:
    """Settings that the rendered backend works with, wherever the tests have it."""
    return Settings(redis_url=os.environ.get("REDIS_URL", ""), **values)


def key(number: int) -> str:
    """As long as a sha256, and easier to tell apart."""
    return f"{number:064x}"


def environ() -> dict[str, str]:
    """Of a child process that imports the package, and has the same backend."""
    return os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[package.__name__.count(".") + 1])}


async def eventually(holds: Callable[[], bool], within_s: float = 10) -> None:
    """It comes true."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
