"""What a store wants of the settings, for a folder of a test's own; and how to wait for what it shares."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import speech as package
from speech.settings import Settings
from speech.stores import Room


def a_room(
    folder: Path,
    bytes_max: int = 1_000_000,
    age_s_max: float = 120.0,
    redis_url: str | None = None,
    account: str = "an-account",
) -> Room:
    """Of a test's own; Redis is where the tests have it."""
    return Room(
        folder, bytes_max, age_s_max, os.environ.get("REDIS_URL", "") if redis_url is None else redis_url, account
    )


def settings(**values: Any) -> Settings:
    """Settings that the rendered backend works with, wherever the tests have it: not in the working directory."""
    where: dict[str, Any] = {
        "redis_url": os.environ.get("REDIS_URL", ""),
        "cache_dir": Path(os.environ.get("SPEECH_CACHE_DIR", Settings().cache_dir)),
    }
    return Settings(**(where | values))


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
