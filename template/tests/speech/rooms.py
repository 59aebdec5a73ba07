"""What a store wants of the settings, for a folder of a test's own."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
