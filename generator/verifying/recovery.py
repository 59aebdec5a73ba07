"""After a failure it is back by itself, and when it said."""

import asyncio
import os
import signal
import time

from .checks import Act, Saw, Theme, check, without_routes
from .shape import complaints
from .stage import Stage
from .talking import FLASH, STANDARD, Heard, until

WORKERS = 2
BREAKER_S = 90.0  # it opens for 5 s, twice as long each time, 60 at most


async def break_it(on: Stage, most: int = 4) -> tuple[Heard, int]:
    """Call until the breaker opens: what was heard last, and how many were tried."""
    for number in range(most):
        heard = await on.service.speak(f"Outage {number}.", FLASH)
        if heard.code == "circuit_open":
            return heard, number + 1
    return heard, most


async def back_when_said(on: Stage, heard: Heard) -> tuple[Heard, float]:
    """Come back when the refusal said, and again when the next one says."""
    began = time.monotonic()

    async def again() -> Heard:
        nonlocal heard
        await asyncio.sleep(float(heard.detail.get("retry_after_s", 0.5)) + 0.05)
        heard = await on.service.speak("Is it over?", FLASH)
        return heard

    return await until(again, lambda said: said.status == 200, BREAKER_S), time.monotonic() - began


@check(
    "an outage opens the breaker at 5 failures; it says circuit_open, lets nothing through, and closes", "breaker.py"
)
async def breaker(on: Stage) -> Saw:
    before = await on.sandbox.set(faults=[{"fault": "503", "share": 1}])
    opened, tried = await break_it(on)
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    if opened.code != "circuit_open":
        return Saw(
            False, f"{tried} calls failed, {asked} asked upstream, no circuit_open", "circuit_open after 5 asked"
        )
    began = time.monotonic()
    shut = await asyncio.gather(*(on.service.speak(f"Open {number}.", FLASH) for number in range(5)))
    through = (await on.sandbox.state())["calls"] - before["calls"] - asked
    probes = int((time.monotonic() - began) / 5)  # half open by then, on a very busy machine
    await on.sandbox.set(faults=[])
    other = await on.service.speak("Another pool goes on.", STANDARD)
    back, after_s = await back_when_said(on, opened)
    wrong = complaints(on, shut[0], 503, "circuit_open", later=True) if not probes else []
    right = asked == 5 and through <= probes and other.status == back.status == 200
    seen = f"opened at {asked}, {through} let through, the other pool {other}, back after {after_s:.1f} s: {back}"
    return Saw(right and not wrong, "; ".join([seen, *wrong]), "opened at 5, 0 let through, other pool 200, back 200")


@check("upstream dies and comes back: so does the service, when it said", "breaker.py, upstream.py")
async def upstream_dies(on: Stage) -> Saw:
    port = on.sandbox.url.rpartition(":")[2]
    first = await on.service.speak("Before it dies.", FLASH)
    on.children["sandbox"].kill()
    opened, tried = await break_it(on)
    sandbox = on.start("sandbox again", "sandbox", "--tier", on.project.tier, "--port", port, SPEECH_ENV="development")
    await sandbox.address()
    back, after_s = await back_when_said(on, opened)
    right = (first.status, opened.status, back.status) == (200, 503, 200)
    return Saw(right, f"{opened} after {tried} calls, back {after_s:.1f} s after it was: {back}", "503, then 200")


@check(f"a worker of {WORKERS} that is killed is replaced, and the service goes on", "web/server_*.py", routes=True)
async def worker_killed(on: Stage) -> Saw:
    before = await until(lambda: _workers(on), lambda pids: len(pids) == WORKERS)
    if len(before) != WORKERS:
        return Saw(False, f"{len(before)} workers", f"{WORKERS} workers")
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    after = await until(lambda: _workers(on), lambda pids: killed not in pids and len(pids) == WORKERS)
    said = await asyncio.gather(*(on.service.speak(f"Who is there {number}?", FLASH) for number in range(8)))
    served = sum(heard.status == 200 for heard in said)
    on.children["service"].tell(signal.SIGTERM)
    code = await on.children["service"].code()
    seen = f"{len(after - before)} new of {len(after)} workers, {served} of 8 served, exit {code}"
    return Saw((len(after - before), served, code) == (1, 8, 0), seen, f"1 new of {WORKERS}, 8 served, exit 0")


async def _workers(on: Stage) -> set[int]:
    """By the files in which they tell each other what they know: SPEECH_RUN_DIR."""
    return {int(file.stem) for file in (on.folder / "tmp").glob("speech-*/*.json") if file.stem.isdecimal()}


ROOM = {"SPEECH_LIMITS": '{"standard": 4, "flash": 4, "stt": 4}'}  # for memory: a share for each worker
THEME = Theme(
    "recovery",
    "recovery",
    (Act((breaker, upstream_dies)), Act((worker_killed,), ROOM, workers=WORKERS, unless=without_routes)),
)
