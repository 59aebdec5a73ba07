"""``warm FILE``: phrases into the cache before anybody asks for them. Not rendered for memory, which would forget them.

A line is a phrase, or JSON with a ``text`` and whatever ``SpeechClient.stream`` takes: ``{"text": "Hello", "voice_id":
..., "model_id": ..., "voice_settings": {...}}``. Blank lines and lines that begin with # count for nothing.

What is cached is not asked for again: so a run that was cut short, by Ctrl-C or a budget, is simply repeated.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .client import Audio
from .commands import CantDo, say
from .errors import BudgetExceeded, InvalidRequest, QuotaExhausted, SpeechError, UpstreamRefused
from .ledger import Charge
from .listening import Listening
from .wiring import SpeechClient

STOPS = BudgetExceeded, QuotaExhausted, UpstreamRefused  # the next phrase would hear the same


class Phrase(NamedTuple):
    """One that is not cached: what was wished, by which model it will be spoken, what it costs at most."""

    wishes: dict[str, Any]
    charge: Charge


async def warm(speech: SpeechClient, options: argparse.Namespace) -> None:
    if speech.settings.cache_scope == "caller":
        raise CantDo("SPEECH_CACHE_SCOPE is caller: what is warmed for one caller is cached for nobody else")
    wanted, cached = await _wanted(speech, list(_read(options.file, options.voice)))
    say(f"{len(wanted)} phrases to speak, {_sum(wanted)}; {cached} are cached, and cost nothing")
    if wanted and (options.yes or input("Speak them? [y/N] ").strip().lower() in ("y", "yes")):
        await Run(speech, wanted).go()


def _read(file: Path, voice: str | None) -> Iterator[dict[str, Any]]:
    """Raises CantDo for a line that is none."""
    for number, line in enumerate(file.read_text("utf-8-sig", "replace").splitlines(), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        try:
            wishes = json.loads(line) if line.startswith("{") else {"text": line}
        except ValueError:
            raise CantDo(f"line {number} begins with {{ and is no JSON") from None
        if not isinstance(wishes.get("text"), str):
            raise CantDo(f"line {number} has no text")
        yield {"voice_id": voice, **wishes, "priority": "batch", "caller": "warm"}


async def _wanted(speech: SpeechClient, lines: list[dict[str, Any]]) -> tuple[list[Phrase], int]:
    """What is not cached, each once, and how many are. Raises CantDo for what can't be spoken, before any is paid."""
    wanted: dict[str, Phrase] = {}
    cached = set()
    for wishes in lines:
        asked = _ask(speech, wishes)
        if not asked.key:
            raise CantDo(f"a phrase of {len(wishes['text'])} characters can't be cached, for what is asked beside it")
        if asked.key not in wanted and await speech.policies.cache.get(asked.key):
            cached.add(asked.key)
        else:
            wanted[asked.key] = Phrase(wishes | {"model_id": asked.model_id}, asked.call().charge("warm"))
    return list(wanted.values()), len(cached)


def _ask(speech: SpeechClient, wishes: dict[str, Any]) -> Listening:
    """Entered by nobody: it only knows its price and its key."""
    try:
        asked = speech.stream(**wishes)
        asked.request.validate(speech.house.rules)
    except (InvalidRequest, TypeError) as error:
        raise CantDo(f"a phrase of {len(wishes['text'])} characters can't be spoken: {error}") from None
    return asked


def _sum(phrases: list[Phrase]) -> str:
    charges = [phrase.charge for phrase in phrases]
    return (
        f"{sum(c.characters for c in charges):,} characters, at most {sum(c.credits for c in charges):,} credits, "
        f"{sum(c.usd for c in charges):.4f} USD"
    )


@dataclass
class Run:
    """Speaks them, as many at once as the plan has slots for: so nothing waits long enough to be refused."""

    speech: SpeechClient
    left: list[Phrase]
    done: int = 0
    credits: int = 0
    usd: float = 0.0
    failure: SpeechError | None = None

    async def go(self) -> None:
        """Raises CantDo with what is left, and why."""
        self.left, number = self.left[::-1], len(self.left)
        slots = min(self.speech.settings.plan[pool] for pool in ("standard", "flash"))
        todo, failed = self.left, list[Phrase]()

        async def work() -> None:
            while todo and not isinstance(self.failure, STOPS):
                phrase = todo.pop()
                try:
                    self._paid(await self.speech.synthesize(**phrase.wishes))
                except SpeechError as error:
                    failed.append(phrase)
                    self.failure = error
                self._show(number)

        try:
            await asyncio.gather(*(work() for _ in range(min(slots, number))))
        finally:  # Ctrl-C too
            self._show(number, end="\n")
            under_way = self.speech.snapshot()["flights"]
            more = f"; {under_way} calls under way end there too, and are paid" if under_way else ""
            spent = f"{self.credits:,} credits, {self.usd:.4f} USD"
            say(f"{self.done} of {number} are in the cache now; spent {spent}{more}")
        if self.failure:
            left = [*failed, *todo]
            raise CantDo(f"{len(left)} phrases are left, {_sum(left)}; run it again for them: {self.failure}")

    def _paid(self, audio: Audio) -> None:
        self.done, self.credits, self.usd = self.done + 1, self.credits + audio.credits, self.usd + audio.cost_usd

    def _show(self, number: int, end: str = "") -> None:
        """On a terminal only."""
        if sys.stderr.isatty():
            print(f"\r{self.done} of {number}, {self.usd:.4f} USD", end=end, file=sys.stderr, flush=True)
