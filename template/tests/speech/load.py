"""A load that moves every metric there is: hits, rides, faults, refusals, waits, a limit that changes."""

import asyncio
from typing import Any

from speech import SpeechClient, SpeechError
from speech.testing.audio import speak
from speech.testing.plugin import SandboxThread

FLASH = "eleven_flash_v2_5"
SECRET = "A sentence that nobody but the voice may know."
BOOKS = {
    "budget_limit_usd",
    "budget_spent_usd",
    "forecast_usd",
    "credits_left",
    "renewal_days",
}  # told by /metrics alone
OBSERVED = {"observed", "observed_saved_credits"}  # in that mode alone: test_diary
CALLER = "a-tenant-whose-name-is-nobodys-business"


async def outcome(speech: SpeechClient, text: str, **wishes: Any) -> str:
    try:
        return "ok" if (await speech.synthesize(text, **{"model_id": FLASH, "caller": CALLER} | wishes)).data else ""
    except SpeechError as error:
        return error.code


async def everything(speech: SpeechClient, sandbox: SandboxThread) -> None:
    """On a fresh client of the plan creator."""

    def each(*words: str, **wishes: Any) -> Any:
        return asyncio.gather(*(outcome(speech, f"{SECRET} {word}", **wishes) for word in words))

    speech.policies.retry.chance = lambda: 0.0  # no pauses
    assert await each("one", "one", "two") == ["ok"] * 3  # a call, a ride and another call
    assert await each("one") == ["ok"]  # a hit
    async with speech.stream(f"{SECRET} one", model_id=FLASH) as chunks:
        assert await chunks.read()
    sandbox.set(faults=["503"])
    assert await each("repeated") == ["ok"]
    sandbox.set(faults=["500"] * 3)
    assert await each("uncertain") != ["ok"]
    sandbox.set(faults=["early_end;after=1"])
    assert await each("word " * 600) == ["ok"]  # far too short for so long a text
    sandbox.set(faults=None, limits={"flash": 6}, latency_s=0.3)
    assert set(await each(*map(str, range(30)))) == {"ok"}
    assert await each(*(f"late {n}" for n in range(20)), deadline=0.4, priority="batch") != ["ok"] * 20
    sandbox.set(latency_s=0.01)
    wave = speak("wav_16000", 2.0, "somebody")
    assert (await speech.transcribe(wave, caller=CALLER)).text
    await _stale(speech, sandbox)


async def _stale(speech: SpeechClient, sandbox: SandboxThread) -> None:
    """What is kept is too old at once; then upstream is away."""
    cache = speech.policies.cache
    fresh_s, cache._ttl_s = cache._ttl_s, 0.0
    sandbox.set(faults=["502"] * 3)
    assert await outcome(speech, f"{SECRET} one") == "ok"
    cache._ttl_s = fresh_s
    sandbox.set(faults=None)
