"""Every error path: what upstream does, what the caller hears of it, and how often upstream is asked.

The faults are set at the sandbox in order, one a call; before each, calls that go well empty the breaker's memory.
"""

import asyncio
import time
from collections.abc import Sequence

from .checks import Act, Check, Saw, Theme, check
from .shape import complaints
from .stage import Stage
from .talking import FLASH, HEARS, STANDARD, VOICE, Heard, recording

WELL = 9  # calls that a breaker of 10 forgets nearly everything over
HANG_S = 5.0


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
        *complaints(
            on, await ask("POST", speak, body={"text": "x"}, headers={"x-deadline-ms": "no"}), 422, "malformed"
        ),
        *complaints(on, await ask("POST", "/v1/speech-to-text", form=form), 422, "not_offered"),
        *complaints(on, await ask("GET", "/v1/history"), 404, "not_offered"),
    ]
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    return Saw(
        not wrong and not asked, "; ".join(wrong) or "5 of 5, none asked upstream", "5 of 5, none asked upstream"
    )


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

IN_PRODUCTION = {"SPEECH_ENV": "production", "SPEECH_ATTEMPT_TIMEOUT_S": str(HANG_S)}
THEME = Theme("errors", "every error path", (Act(ANSWERS, IN_PRODUCTION),))
