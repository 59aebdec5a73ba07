"""Cost tracking: the ledger against the sandbox's bill and the catalogue's prices, to the credit."""

import asyncio
import json
from typing import NamedTuple

from .checks import Act, Saw, Theme, check
from .errors import HANG_S, well
from .shape import complaints
from .stage import Stage
from .talking import CATALOGUE, FLASH, HEARS, SPEAKING, STANDARD, credits, recording, usd

ROUNDED = 3e-6  # USD: what is told is rounded to a millionth
PRICES = ("credits_per_character", "usd_per_1000_characters", "usd_per_hour", "pool")
LINE = "What a sentence of some forty letters costs."
CAP_USD = 1.5 * usd(LINE, STANDARD)


class Books(NamedTuple):
    """Our ledger's totals, and the bill: since the start, or between two looks."""

    credits: float
    uncertain: float
    usd: float
    bill: float
    bill_usd: float
    calls: float

    def since(self, before: "Books") -> "Books":
        return Books(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def balance(self) -> bool:
        return self.credits == self.bill and abs(self.usd - self.bill_usd) <= ROUNDED

    @property
    def bounded(self) -> bool:
        return self.credits <= self.bill <= self.credits + self.uncertain and self.usd <= self.bill_usd + ROUNDED

    def __str__(self) -> str:
        unsure = f" and {self.uncertain:g} uncertain" if self.uncertain else ""
        return f"ledger {self.credits:g}{unsure}, {self.usd:.6f} USD; bill {self.bill:g}, {self.bill_usd:.6f} USD"


async def books(on: Stage) -> Books:
    """When nothing is under way any more."""
    state = await on.calm()
    totals = (await on.service.usage())["totals"]
    ours = (totals["credits"], totals["uncertain_credits"], totals["cost_usd"])
    return Books(*ours, state["bill_credits"], state["bill_usd"], state["calls"])


@check("every price is the catalogue's", "catalogue.json")
async def prices(on: Stage) -> Saw:
    theirs = json.loads((on.project.speech / "catalogue.json").read_text("utf-8"))
    wrong = [
        f"{model} {name} is {theirs['models'].get(model, {}).get(name)}, not {row[name]}"
        for model, row in CATALOGUE["models"].items()
        for name in PRICES
        if name in row and theirs["models"].get(model, {}).get(name) != row[name]
    ]
    if theirs["prices"]["stt_addons"] != CATALOGUE["prices"]["stt_addons"]:
        wrong.append("what is ordered on top of speech to text")
    count = len(CATALOGUE["models"])
    seen = "; ".join(wrong) if wrong else f"{count} of {count} models"
    return Saw(not wrong, seen, "the prices of this release: copier-elevenlabs update brings them")


@check("each model costs what its price says: ledger, bill and catalogue agree", "ledger.py, catalogue.py")
async def each_model(on: Stage) -> Saw:
    models = [name for name, row in SPEAKING.items() if row["status"] == "active"]
    before, wrong = await books(on), []
    for model in models:
        last = before
        heard = await on.service.speak(f"{LINE} {model}", model)
        before, own = await books(on), f"{LINE} {model}"
        spent = before.since(last)
        right = spent.balance and spent.credits == credits(own, model) and abs(spent.usd - usd(own, model)) <= ROUNDED
        if not right or heard.status != 200:
            wrong.append(f"{model}: {heard}, {spent}; the catalogue says {credits(own, model)}, {usd(own, model):.6f}")
    return Saw(not wrong, "; ".join(wrong) or f"{len(models)} of {len(models)} models", "ledger = bill = catalogue")


@check("a recording costs its seconds: ledger, bill and catalogue agree", "ledger.py, catalogue.py")
async def recordings(on: Stage) -> Saw:
    before = await books(on)
    heard = [await on.service.hear(recording(seconds)) for seconds in (3, 60)]
    spent = (await books(on)).since(before)
    price = 63 / 3600 * float(CATALOGUE["models"][HEARS]["usd_per_hour"])
    right = spent.balance and abs(spent.usd - price) <= ROUNDED and {said.status for said in heard} == {200}
    return Saw(right, f"63 s: {spent}", f"{price:.6f} USD, as the bill")


@check("the same words again are a hit: the same audio, and it costs nothing", "cache.py")
async def hit(on: Stage) -> Saw:
    first = await on.service.speak("Say it twice.", STANDARD)
    before = await books(on)
    again = await on.service.speak("Say it twice.", STANDARD)
    spent = (await books(on)).since(before)
    kept, cost = again.headers.get("x-cache"), again.headers.get("character-cost")
    right = (kept, cost, spent.calls, spent.credits) == ("hit", "0", 0, 0) and first.body == again.body
    return Saw(right, f"{again}, X-Cache {kept}, character-cost {cost}, {spent.calls:g} asked", "hit, 0, 0 asked")


@check("equal requests at once are one call, paid once", "flight.py")
async def coalesced(on: Stage) -> Saw:
    before = await books(on)
    await on.close_gate("standard")
    calls = [asyncio.create_task(on.service.speak("All at once.", STANDARD)) for _ in range(5)]
    await asyncio.sleep(0.5)
    await on.open_gate("standard", on.plan["standard"])
    said = await asyncio.gather(*calls)
    spent = (await books(on)).since(before)
    how = sorted(heard.headers.get("x-cache", str(heard)) for heard in said)
    right = spent.calls == 1 and how.count("miss") == 1 and spent.balance and {heard.status for heard in said} == {200}
    return Saw(right, f"{spent.calls:g} asked, {', '.join(how)}; {spent}", "1 asked, 1 miss, the others along with it")


@check("other voice settings, seeds or formats are other audio: never one for the other", "request.py")
async def in_the_key(on: Stage) -> Saw:
    variants = [
        {"voice_settings": {"stability": 0.3}},
        {"voice_settings": {"stability": 0.7}},
        {"seed": 1},
        {"seed": 2},
        {"language_code": "en"},
    ]
    before = await books(on)
    said = [await on.service.speak("Another voice.", FLASH, fields=fields) for fields in variants]
    spent = (await books(on)).since(before)
    how = [heard.headers.get("x-cache", str(heard)) for heard in said]
    seen = f"{spent.calls:g} of {len(variants)} asked: {', '.join(how)}"
    return Saw(spent.calls == len(variants) and set(how) == {"miss"}, seen, f"{len(variants)} asked, all miss")


@check("a budget refuses before the money is spent", "ledger.py")
async def budget(on: Stage) -> Saw:
    first = await on.service.speak(LINE, STANDARD, caller="capped")
    before = await books(on)
    second = await on.service.speak(LINE[::-1], STANDARD, caller="capped")
    spent = (await books(on)).since(before)
    wrong = complaints(on, second, 402, "budget_exceeded")
    right = first.status == 200 and not wrong and spent.calls == 0
    return Saw(right, "; ".join([f"{first}, then {second}, {spent.calls:g} asked", *wrong]), "200, then 402, 0 asked")


@check("a refusal of ElevenLabs' is free, a call broken off is paid", "faults.py, ledger.py")
async def free_and_paid(on: Stage) -> Saw:
    before = await books(on)
    await on.service.speak(LINE, STANDARD, voice="unknown00000000000AA")
    free = (await books(on)).since(before)
    await on.sandbox.set(faults=["cut"])
    text = "Broken off in the middle."
    await on.service.speak(text, STANDARD)
    paid = (await books(on)).since(before)
    right = (
        free.bill == free.credits == free.uncertain == 0 and paid.balance and paid.credits == credits(text, STANDARD)
    )
    return Saw(right and not paid.uncertain, f"refused: {free}; broken off: {paid}", "0, and what the bill says")


@check("what timed out stays uncertain: no refund of what may have been billed", "faults.py, ledger.py")
async def timed_out(on: Stage) -> Saw:
    before = await books(on)
    await on.sandbox.set(faults=["timeout"])
    text = "Nobody answers this."
    heard = await on.service.speak(text, STANDARD)
    spent, price = (await books(on)).since(before), credits(text, STANDARD)
    right = heard.status == 200 and spent.bounded and (spent.credits, spent.uncertain) == (price, price)
    return Saw(right, f"tried again: {heard}; {spent}", f"ledger {price} and {price} uncertain")


@check("under load with faults: billed <= bill <= billed + uncertain", "ledger.py, flight.py")
async def load(on: Stage) -> Saw:
    await well(on, FLASH)
    before = await books(on)
    names = ("503", "429;kind=busy", "500", "reset", "cut", "empty", "html")
    await on.sandbox.set(faults=[{"fault": name, "share": 0.02} for name in names], seed=11, latency_s=[0.01, 0.1])
    calls = (on.service.speak(f"Load number {number}.", FLASH) for number in range(80))
    said = await asyncio.gather(*calls)
    spent, served = (await books(on)).since(before), sum(heard.status == 200 for heard in said)
    return Saw(
        spent.bounded, f"{served} of 80 served, {spent.calls:g} asked; {spent}", "ledger <= bill <= with uncertain"
    )


BOOKS = (each_model, recordings, hit, coalesced, in_the_key, budget, free_and_paid, timed_out, load)
ENVIRONMENT = {
    "SPEECH_CALLERS": json.dumps({"capped": {"daily_usd": CAP_USD}}),
    "SPEECH_ATTEMPT_TIMEOUT_S": str(HANG_S),
}
THEME = Theme("cost", "cost tracking", (Act((prices,), starts=False), Act(BOOKS, ENVIRONMENT)))
