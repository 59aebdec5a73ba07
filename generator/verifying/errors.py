"""Every error path: what upstream does, and what the caller hears; how often upstream is asked, and when no more.

The faults are set at the sandbox in order, one a call; before each, calls that go well empty the breaker's memory.
"""

import asyncio
import time
from collections.abc import Sequence

from .checks import Act, Check, Saw, Theme, check
from .shape import complaints
from .stage import Stage
from .talking import FLASH, HEARS, STANDARD, VOICE, Heard, recording, until

WELL = 9  # calls that a breaker of 10 forgets nearly everything over
HANG_S = 5.0
BREAKER_S = 90.0  # it opens for 5 s, twice as long each time, 60 at most


async def well(on: Stage, model: str) -> None:
    await asyncio.gather(*(_call(on, model, f"Well {number} {time.monotonic_ns()}.") for number in range(WELL)))


async def _call(on: Stage, model: str, text: str, *, stream: bool = False) -> Heard:
    if model == HEARS:
        return await on.service.hear(recording(1))
    return await on.service.speak(text, model, stream=stream)


def _said(faults: Sequence[str], status: int, code: str = "", *, asks: int, model: str = FLASH, about: str) -> Check:
    """Strike one call with *faults*; it is answered so, and upstream was asked that often."""
    name = f"{about}: {status} {code}".strip()

    @check(f"{name}, asked {'once' if asks == 1 else f'{asks} times'}", "faults.py, retry.py")
    async def answers(on: Stage) -> Saw:
        await well(on, model)
        before = await on.sandbox.set(faults=list(faults))
        began = time.monotonic()
        heard = await _call(on, model, f"Strike {about}.")
        took = time.monotonic() - began
        asked = (await on.sandbox.state())["calls"] - before["calls"]
        wrong = [] if status == 200 else complaints(on, heard, status, code, later=code == "upstream_unavailable")
        if any("retry_after=1" in fault for fault in faults) and took < 1:
            wrong.append("Retry-After was not waited for")
        seen = f"{heard}, asked {asked}"
        right = heard.status == status and asked == asks and not wrong
        return Saw(right, "; ".join([seen, *wrong]), f"{status} {code}".strip() + f", asked {asks}")

    return answers


@check("a stream that breaks is broken visibly, and not asked for again", "flight.py, web/")
async def broken_stream(on: Stage) -> Saw:
    await well(on, FLASH)
    before = await on.sandbox.set(faults=["cut;after=3"])
    heard = await on.service.speak("A stream that breaks.", FLASH, stream=True)
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    return Saw((heard.status, asked) == (0, 1), f"{heard}, asked {asked}", "a broken connection, asked 1")


@check("an unknown voice is 404 not_found, an unknown model 400 invalid_request", "faults.py, request.py")
async def callers_mistakes(on: Stage) -> Saw:
    voice = await on.service.speak("Who speaks?", FLASH, voice="unknown00000000000AA")
    before = await on.sandbox.state()
    model = await on.service.speak("By what?", "no_such_model")
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    wrong = [*complaints(on, voice, 404, "not_found"), *complaints(on, model, 400, "invalid_request")]
    return Saw(not wrong and not asked, "; ".join([f"{voice}, {model}, {asked} asked for the latter", *wrong]), "both")


@check("what can't be read or isn't offered is 422 or 404 in ElevenLabs' shape", "web/", routes=True)
async def malformed(on: Stage) -> Saw:
    before = await on.sandbox.state()
    speak, ask = f"/v1/text-to-speech/{VOICE}", on.service.ask
    form = {"data": {"model_id": HEARS, "webhook": "true"}, "files": {"file": ("a.wav", recording(1), "audio/wav")}}
    wrong = [
        *complaints(on, await ask("POST", speak, body=b"{no json"), 422, "malformed"),
        *complaints(on, await ask("POST", speak, body={"model_id": FLASH}), 422, "malformed"),
        *complaints(on, await ask("POST", speak, body={"text": "x"}, headers={"x-deadline-ms": "no"}), 422, "malformed"),
        *complaints(on, await ask("POST", "/v1/speech-to-text", form=form), 422, "not_offered"),
        *complaints(on, await ask("GET", "/v1/history"), 404, "not_offered"),
    ]
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    return Saw(not wrong and not asked, "; ".join(wrong) or "5 of 5, none asked upstream", "5 of 5, none asked upstream")


@check("no credits left: 402 insufficient_credits, then at once, without asking", "faults.py, breaker.py")
async def out_of_credits(on: Stage) -> Saw:
    before = await on.sandbox.set(faults=["401;kind=quota"])
    said = [await on.service.speak(f"No credits {number}.", FLASH) for number in range(3)]
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    wrong = complaints(on, said[0], 402, "insufficient_credits")
    right = not wrong and {heard.status for heard in said} == {402} and asked == 1
    return Saw(right, "; ".join([f"{', '.join(map(str, said))}, asked {asked}", *wrong]), "402 thrice, asked 1")


ANSWERS = (
    _said(["503"] * 3, 503, "upstream_unavailable", asks=3, model=STANDARD, about="away for good"),
    _said(["500"], 200, asks=2, about="a failure of theirs"),
    _said(["429;kind=busy;retry_after=1"], 200, asks=2, about="busy, with a Retry-After"),
    _said(["429"], 200, asks=2, model=STANDARD, about="a concurrency refusal"),
    _said(["reset"], 200, asks=2, about="a lost connection"),
    _said(["html"], 200, asks=2, model=STANDARD, about="a web page for audio"),
    _said(["empty"], 200, asks=2, about="no audio, once"),
    _said(["empty"] * 2, 503, "upstream_unavailable", asks=2, model=STANDARD, about="no audio, twice"),
    _said(["cut"], 503, "upstream_unavailable", asks=1, about="broken off after it was billed"),
    _said(["429;kind=busy"], 200, asks=2, model=HEARS, about="a recording, and they are busy"),
    _said(["500"], 200, asks=2, model=HEARS, about="a recording, and they fail"),
    _said(["timeout"], 200, asks=2, model=STANDARD, about="a hang"),
    broken_stream,
    callers_mistakes,
    malformed,
    _said(["401;kind=key"], 502, "upstream_refused", asks=1, about="our key is refused"),
    out_of_credits,  # last: for a minute nothing else is answered
)


# ---------------------------------------------------------------------------------------------------------- the breaker


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


@check("an outage opens the breaker at 5 failures; it says circuit_open, lets nothing through, and closes", "breaker.py")
async def breaker(on: Stage) -> Saw:
    before = await on.sandbox.set(faults=[{"fault": "503", "share": 1}])
    opened, tried = await break_it(on)
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    if opened.code != "circuit_open":
        return Saw(False, f"{tried} calls failed, {asked} asked upstream, no circuit_open", "circuit_open after 5 asked")
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


@check("requests with our own hop header are refused", "web/wire.py", routes=True)
async def hop(on: Stage) -> Saw:
    before = await on.sandbox.state()
    heard = await on.service.ask(
        "POST", f"/v1/text-to-speech/{VOICE}", body={"text": "Round and round."}, headers={"x-speech-hop": "1"}
    )
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    wrong = complaints(on, heard, 422, "malformed")
    return Saw(not wrong and not asked, "; ".join([str(heard), *wrong]), "422 malformed")


IN_PRODUCTION = {"SPEECH_ENV": "production", "SPEECH_ATTEMPT_TIMEOUT_S": str(HANG_S)}
THEME = Theme(
    "errors", "every error path", (Act(ANSWERS, IN_PRODUCTION), Act((breaker, hop), {"SPEECH_ENV": "production"}))
)
