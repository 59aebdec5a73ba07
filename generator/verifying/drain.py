"""Told to end, it ends in order: what is under way is served whole, what comes new is refused, nothing is held."""

import asyncio
import json
import signal

from .checks import Act, Saw, Theme, check
from .shape import complaints
from .stage import Stage
from .talking import FLASH, until

STALL_S = 6  # how long the stream is silent: time to tell it, and to look around
QUEUED = 3
TEXT = "A stream that is under way while the service is told to end, and that has to be heard to its last word."


@check("SIGTERM: the stream under way and what is queued are served whole, new work is 503 draining", "web/, client.py")
async def drains(on: Stage) -> Saw:
    words = len(await on.sandbox.speak(TEXT, FLASH))
    await on.sandbox.set(faults=[f"stall;after=3;s={STALL_S}"], limits={"flash": 1}, reset=True)
    stream = asyncio.create_task(on.service.speak(TEXT, FLASH, stream=True))
    await until(on.sandbox.state, lambda state: state["calls"] > 0)
    queued = [asyncio.create_task(on.service.speak(f"Queued {number}.", FLASH)) for number in range(QUEUED)]
    await until(lambda: on.service.under_way("flash"), lambda count: count > QUEUED)
    on.children["service"].tell(signal.SIGTERM)
    await until(lambda: on.service.ask("GET", "/readyz"), lambda said: said.status != 200)
    newcomer = await on.service.speak("Too late.", FLASH)
    in_time = not stream.done()
    said, code = await asyncio.gather(stream, *queued), await on.children["service"].code()
    whole = len(said[0].body) == words
    served = sum(heard.status == 200 for heard in said[1:])
    held = sum((await on.sandbox.state())["in_flight"].values())
    late = complaints(on, newcomer, 503, "draining", later=True) if in_time else []
    if code is None:
        return Saw(False, "it did not end", "exit 0")
    seen = f"stream {'whole' if whole else 'not whole'}, {served} of {QUEUED} queued served, newcomer {newcomer}"
    right = whole and served == QUEUED and not late and not held and code == 0
    return Saw(
        right, "; ".join([f"{seen}, exit {code}, {held} held upstream", *late]), "whole, all served, draining, exit 0"
    )


@check("what was spent outlives the process", "ledger.py, stores/")
async def outlives(on: Stage) -> Saw:
    if on.project.backend == "memory":
        return Saw(None, "cache_backend is memory: its ledger ends with the process")
    child = on.start("usage", "usage", "--json")
    code, said = await child.code(), child.said()
    bill = (await on.sandbox.state())["bill_credits"]
    kept = json.loads(said[said.index("{\n") :])["totals"]["credits"] if code == 0 else None
    return Saw(kept == bill, f"usage says {kept}, the bill {bill}", f"{bill}, as the bill")


ENVIRONMENT = {"SPEECH_LIMITS": '{"flash": 1}', "SPEECH_ATTEMPT_TIMEOUT_S": "120", "SPEECH_GRACE_S": "120"}
THEME = Theme("drain", "drain", (Act((drains, outlives), ENVIRONMENT),))
