"""Rate limiting under load: at the plan's limit, neither above nor below it, and a truthful no to what is too much.

The sandbox's gate makes it exact: while it is closed, calls arrive there and wait, so that they can be counted at
leisure.  Nothing here depends on how fast this machine is.
"""

import asyncio
from typing import Any

from .checks import Act, Check, Saw, Theme, check
from .shape import complaints
from .stage import Stage
from .talking import FLASH, POOLS, Heard, recording, until

LOAD = 4  # times the limit
LONG = {"x-deadline-ms": "300000"}
TIGHT, TIGHT_QUEUE = 2, 3
SHED_S = 20.0  # for what is said at once


def burst(on: Stage, pool: str, count: int, word: str, **headers: str) -> list[asyncio.Task[Heard]]:
    """So many different calls at once."""
    return [asyncio.create_task(_one(on, pool, number, word, LONG | headers)) for number in range(count)]


async def _one(on: Stage, pool: str, number: int, word: str, headers: dict[str, str]) -> Heard:
    if pool == "stt":
        return await on.service.hear(recording(1, number), headers=headers)
    return await on.service.speak(f"{word} {pool} {number}.", POOLS[pool], headers=headers)


async def calls_since(on: Stage, before: dict[str, Any], least: int) -> int:
    """How many have come to the sandbox, once it is *least*, or has been less for long."""
    state = await until(on.sandbox.state, lambda state: state["calls"] - before["calls"] >= least)
    await asyncio.sleep(0.3)  # for one too many to come as well
    state = await on.sandbox.state()
    return int(state["calls"] - before["calls"])


def _burst_on(pool: str) -> Check:
    @check(f"{pool}: {LOAD} times the plan at once keeps exactly to the plan", "limiter.py")
    async def keeps_to_the_plan(on: Stage) -> Saw:
        limit = on.plan[pool]
        before = await on.sandbox.set(reset=True)
        await on.close_gate(pool)
        calls = burst(on, pool, LOAD * limit, "Burst")
        await until(lambda: on.service.under_way(pool), lambda count: count >= LOAD * limit)
        held = await calls_since(on, before | {"calls": 0}, limit)
        await on.open_gate(pool, limit)
        said, state = await asyncio.gather(*calls), await on.sandbox.state()
        served, peak, refused = sum(heard.status == 200 for heard in said), state["peak"][pool], state["refused"]
        return Saw(
            (held, peak, refused, served) == (limit, limit, 0, LOAD * limit),
            f"limit {limit}: {max(held, peak)} at once, {refused} upstream 429s, {served} of {LOAD * limit} served",
            f"{limit} at once, 0 upstream 429s, all served",
        )

    return keeps_to_the_plan


@check("interactive calls pass the batch that came before them", "limiter.py")
async def interactive_first(on: Stage) -> Saw:
    limit = on.plan["flash"]
    before = await on.sandbox.state()
    await on.close_gate("flash")
    calls = burst(on, "flash", limit, "Before")
    await calls_since(on, before, limit)
    for at, priority in enumerate(("batch", "interactive"), 2):
        calls += burst(on, "flash", limit, priority, **{"x-priority": priority})
        await until(lambda: on.service.under_way("flash"), lambda count, at=at: count >= at * limit)  # type: ignore[misc]
    await on.sandbox.set(latency_s=0.5)
    await on.open_gate("flash", limit)
    passed = 0
    while not all(call.done() for call in calls):
        queued = (await on.service.pool("flash"))["queued"]
        passed += queued["interactive"] > 0 and queued["batch"] < limit
    served = sum(call.result().status == 200 for call in calls)
    seen = f"{served} of {len(calls)} served, batch let in before interactive {'yes' if passed else 'never'}"
    return Saw(not passed and served == len(calls), seen, "all served, interactive first")


@check("the limit follows what ElevenLabs' headers say, down at once and up again", "allowance.py")
async def follows_headers(on: Stage) -> Saw:
    limit = on.plan["flash"]
    lower = max(1, limit // 2)
    seen = []
    for said in (lower, limit):
        await on.sandbox.set(limits={"flash": said})
        for number in range(4):  # three in a row are believed
            await on.service.speak(f"Header {said} {number}.", FLASH)
        seen.append((await on.service.pool("flash"))["limit"])
    return Saw(
        seen == [lower, limit], f"told {lower}, then {limit}: {seen[0]}, then {seen[1]}", f"{lower}, then {limit}"
    )


@check("SPEECH_LIMITS goes before plan and headers", "settings.py")
async def own_limits(on: Stage) -> Saw:
    await on.service.speak("What do the headers say?", FLASH)
    before = await on.sandbox.state()
    await on.close_gate("flash")
    calls = burst(on, "flash", TIGHT + TIGHT_QUEUE, "Own")
    await until(lambda: on.service.under_way("flash"), lambda count: count >= TIGHT + TIGHT_QUEUE)
    held = await calls_since(on, before, TIGHT)
    await on.open_gate("flash", on.plan["flash"])
    served = sum(heard.status == 200 for heard in await asyncio.gather(*calls))
    seen = f"SPEECH_LIMITS {TIGHT}: {held} at once, {served} of {len(calls)} served"
    return Saw((held, served) == (TIGHT, len(calls)), seen, f"{TIGHT} at once, all served")


@check("a full queue says 429 queue_full with Retry-After, at once", "limiter.py")
async def queue_full(on: Stage) -> Saw:
    return await _shed(on, TIGHT + TIGHT_QUEUE, LONG, "queue_full")


@check("a deadline that can't be met is refused on arrival, with Retry-After", "limiter.py")
async def unreachable(on: Stage) -> Saw:
    return await _shed(on, TIGHT, {"x-deadline-ms": "400"}, "deadline_unreachable")


async def _shed(on: Stage, waiting: int, headers: dict[str, str], code: str) -> Saw:
    """One more than *waiting*, while the gate is closed: so whatever it hears, it hears before anybody is served."""
    before = await on.sandbox.state()
    await on.close_gate("flash")
    calls = burst(on, "flash", waiting, f"Wait {code}")
    await until(lambda: on.service.under_way("flash"), lambda count: count >= waiting)
    asked = await calls_since(on, before, TIGHT)
    one_more = asyncio.create_task(on.service.speak(f"One more: {code}.", FLASH, headers=headers))
    in_time = bool((await asyncio.wait([one_more], timeout=SHED_S))[0])
    asked = (await on.sandbox.state())["calls"] - before["calls"] - asked
    await on.open_gate("flash", on.plan["flash"])
    heard, served = await one_more, sum(call.status == 200 for call in await asyncio.gather(*calls))
    wrong = [*complaints(on, heard, 429, code, later=True), *([] if in_time else ["it had to wait"])]
    seen = f"{heard}, {asked} asked upstream for it, {served} of {waiting} others served"
    return Saw(not wrong and not asked and served == waiting, "; ".join([seen, *wrong]), f"429 {code}, others served")


PATIENT = {"SPEECH_ATTEMPT_TIMEOUT_S": "300"}  # the gate may be closed for a while
AT_PLAN = Act((*map(_burst_on, POOLS), interactive_first, follows_headers), PATIENT)
AT_OWN = Act(
    (unreachable, own_limits, queue_full),  # in this order: what calls take isn't measured yet, so it is guessed
    PATIENT | {"SPEECH_LIMITS": f'{{"flash": {TIGHT}}}', "SPEECH_QUEUE_SIZE": str(TIGHT_QUEUE)},
)
THEME = Theme("limits", "rate limiting under load", (AT_PLAN, AT_OWN))
