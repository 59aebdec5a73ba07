"""Commands over what outlives the process: what was spent, and audio that is kept. Not rendered for memory."""

import argparse
import json

from . import reconciling
from .clock import today
from .commands import CantDo, say
from .reconciling import CantRead
from .usage import About, table
from .usage import report as usage_of
from .wiring import SpeechClient


async def usage(speech: SpeechClient, options: argparse.Namespace) -> None:
    ledger, settings = speech.policies.ledger, speech.settings
    if options.reconcile:
        await _reconcile(speech)
    rows = await ledger.rows()
    if options.csv:
        return print(table(rows), end="")
    days, account = await speech.diary.days(), await speech.diary.account.state()
    about = About(settings.tier, days, account, speech.house.rules.models, settings.mode == "observe")
    report = usage_of(rows, budgets=ledger.budgets, day=today(), snapshot=speech.snapshot(), about=about)
    if options.json:
        return print(json.dumps(report, indent=1))
    lines = [f"{name:31} {value:12g}" for name, value in report["totals"].items()]
    for kind, sums in report["by"].items():
        lines += [f"{kind:6} {s[kind]:24} {s['cost_usd']:12.5f} USD {s['credits']:10} credits" for s in sums]
    shown = {**report["forecast"], **{f"account {name}": value for name, value in account.items()}}
    lines += [f"{name:31} {value}" for name, value in shown.items() if name != "method" and value is not None]
    print("\n".join([*lines, *report["advice"]]))


async def _reconcile(speech: SpeechClient) -> None:
    """Ask the account, and clear what it proves of the uncertain. Raises CantDo."""
    account, rows = speech.diary.account, await speech.policies.ledger.rows()
    try:
        reading = await account.read(speech.settings, rows)
    except CantRead as error:
        raise CantDo(f"nothing was reconciled: {error}") from None
    finding = reconciling.judge(await account.readings())
    await reconciling.clear(speech.stores.ledger, rows, finding)
    await account.correct(reconciling.after(reading, finding))
    state = await account.state()
    say(f"the account: {reading.used:,} of {reading.limit:,} credits used, renewed {state['resets_at']}")
    say(
        f"the books: {reading.billed:,} billed, {reading.uncertain:,} uncertain; drift {state['drift_credits'] or 0:+,}"
    )
    say(f"{finding.free:,} uncertain credits given back, {finding.billed:,} booked as billed: {finding.why}")


async def purge(speech: SpeechClient, options: argparse.Namespace) -> None:
    print(f"{await speech.policies.cache.purge(options.voice)} entries removed")
