"""Time comes in through here: the loop's clock for durations, UTC for the ledger's days. Tests replace both."""

import asyncio
import datetime


def now() -> float:
    """Seconds on the running loop's clock. An instant has no unit of its own: only differences mean anything."""
    return asyncio.get_running_loop().time()


def today() -> str:
    """The day in UTC that a cost is booked under, as ``2026-11-24``."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
