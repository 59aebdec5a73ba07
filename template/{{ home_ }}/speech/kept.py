"""Commands over what outlives the process: what was spent, and audio that is kept. Not rendered for memory."""

import argparse
import asyncio
import json

from .clock import today
from .commands import CantDo, say
from .errors import InvalidRequest
from .listening import Listening
from .usage import report as usage_of
from .wiring import SpeechClient


async def usage(speech: SpeechClient, options: argparse.Namespace) -> None:
    ledger = speech.policies.ledger
    rows, now = await ledger.rows(), speech.snapshot()
    report = usage_of(rows, budgets=ledger.budgets, day=today(), snapshot=now)
    lines = [f"{name:31} {value:12g}" for name, value in report["totals"].items()]
    for kind, sums in report["by"].items():
        lines += [f"{kind:6} {s[kind]:24} {s['cost_usd']:12.5f} USD {s['credits']:10} credits" for s in sums]
    print(json.dumps(report, indent=1) if options.json else "\n".join([*lines, *report["advice"]]))


async def purge(speech: SpeechClient, options: argparse.Namespace) -> None:
    print(f"{await speech.policies.cache.purge(options.voice)} entries removed")


async def warm(speech: SpeechClient, options: argparse.Namespace) -> None:
    """Speak what isn't cached yet; so a run that was cut short is simply repeated."""
    phrases = dict.fromkeys(map(str.strip, options.file.read_text("utf-8", "replace").splitlines()))
    wanted = {phrase: asked for phrase in phrases if phrase and (asked := await _missing(speech, phrase))}
    charges = [asked.call().charge("warm") for asked in wanted.values()]
    say(
        f"{len(wanted)} phrases to speak, {sum(c.characters for c in charges)} characters, "
        f"at most {sum(c.credits for c in charges)} credits, {sum(c.usd for c in charges):.4f} USD"
    )
    if wanted and (options.yes or input("Speak them? [y/N] ").strip().lower() in ("y", "yes")):
        await _fill(speech, wanted)


async def _missing(speech: SpeechClient, phrase: str) -> Listening | None:
    """None if it is cached. Raises CantDo for a phrase that can't be spoken, before anything is spent."""
    asked = speech.stream(phrase, priority="batch", caller="warm")  # entered by nobody: it only knows its price
    try:
        asked.request.validate(speech.house.rules)
    except InvalidRequest as error:
        raise CantDo(f"a phrase of {len(phrase)} characters can't be spoken: {error}") from None
    return None if asked.key and await speech.policies.cache.get(asked.key) else asked


async def _fill(speech: SpeechClient, wanted: dict[str, Listening]) -> None:
    """As many at once as the plan has slots for, so that nothing waits long enough to be refused."""
    slots = asyncio.Semaphore(min(speech.settings.plan[pool] for pool in ("standard", "flash")))

    async def fill(phrase: str) -> None:
        async with slots:
            await speech.synthesize(phrase, model_id=wanted[phrase].model_id, priority="batch", caller="warm")

    outcomes = await asyncio.gather(*map(fill, wanted), return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    say(f"{len(wanted) - len(failures)} of {len(wanted)} are in the cache")
    if failures:
        raise CantDo(f"run it again for the rest: {failures[0]}")
