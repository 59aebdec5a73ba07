"""What the commands do, each with an open client. Results go to standard output, words about them to standard error."""

import argparse
import asyncio
import json
import sys

from .answers import CACHE_BACKEND
from .errors import InvalidRequest
from .listening import Listening
from .wiring import SpeechClient


class CantDo(Exception):
    """One line for whoever typed the command."""


def say(line: str) -> None:
    print(line, file=sys.stderr)


def _needs_key(speech: SpeechClient) -> None:
    if not speech.ready:
        raise CantDo("ELEVENLABS_API_KEY is not set, or still the placeholder; without a key, try --sandbox")


def _needs_a_store() -> None:
    if CACHE_BACKEND == "memory":
        raise CantDo("cache_backend is memory: audio and ledger live in the service alone; ask it, with GET /usage")


async def speak(speech: SpeechClient, options: argparse.Namespace) -> None:
    _needs_key(speech)
    audio = await speech.synthesize(options.text, voice_id=options.voice, priority="interactive")
    options.out.write_bytes(audio.data)
    say(f"{options.out}: {len(audio.data)} bytes of {audio.media_type} by {audio.model_id}")
    say(f"{audio.characters} characters, {audio.credits} credits, {audio.cost_usd:.5f} USD, cache {audio.cache}")


async def transcribe(speech: SpeechClient, options: argparse.Namespace) -> None:
    _needs_key(speech)
    transcript = await speech.transcribe(options.file, priority="interactive")
    print(transcript.text)
    say(f"{transcript.seconds or 0:g} s by {transcript.model_id}, {transcript.cost_usd:.5f} USD")


async def usage(speech: SpeechClient, options: argparse.Namespace) -> None:
    _needs_a_store()
    report = await speech.usage()
    if options.json:
        print(json.dumps(report, indent=1))
        return
    for name, value in report["totals"].items():
        print(f"{name:18} {value:12g}")
    for kind, rows in report["by"].items():
        for row in rows:
            print(f"{kind:6} {row[kind]:24} {row['cost_usd']:12.5f} USD {row['credits']:10} credits")
    print(*report["advice"], sep="\n")


async def purge(speech: SpeechClient, options: argparse.Namespace) -> None:
    _needs_a_store()
    print(f"{await speech.policies.cache.purge(options.voice)} entries removed")


async def warm(speech: SpeechClient, options: argparse.Namespace) -> None:
    """Speak what isn't cached yet; so a run that was cut short is simply repeated."""
    _needs_a_store()
    _needs_key(speech)
    lines = options.file.read_text("utf-8", "replace").splitlines()
    wanted = await _missing(speech, dict.fromkeys(line.strip() for line in lines if line.strip()))
    charges = [listening.call().charge("warm") for listening in wanted.values()]
    say(
        f"{len(wanted)} phrases to speak, {sum(c.characters for c in charges)} characters, "
        f"at most {sum(c.credits for c in charges)} credits, {sum(c.usd for c in charges):.4f} USD"
    )
    if wanted and (options.yes or _agreed()):
        await _fill(speech, wanted)


async def _missing(speech: SpeechClient, phrases: dict[str, None]) -> dict[str, Listening]:
    """What has to be paid for. Raises CantDo for a phrase that can't be spoken, before anything is spent."""
    wanted = {}
    for phrase in phrases:
        listening = speech.stream(phrase, priority="batch", caller="warm")  # entered by nobody: it only knows its price
        try:
            listening.request.validate(speech.house.rules)
        except InvalidRequest as error:
            raise CantDo(f"a phrase of {len(phrase)} characters can't be spoken: {error}") from None
        if not listening.key or not await speech.policies.cache.get(listening.key):
            wanted[phrase] = listening
    return wanted


async def _fill(speech: SpeechClient, wanted: dict[str, Listening]) -> None:
    """As many at once as the plan has slots for, so that nothing waits long enough to be refused."""
    slots = asyncio.Semaphore(min(speech.settings.plan[pool] for pool in ("standard", "flash")))

    async def fill(phrase: str, model_id: str) -> None:
        async with slots:
            await speech.synthesize(phrase, model_id=model_id, priority="batch", caller="warm")

    work = (fill(phrase, listening.model_id) for phrase, listening in wanted.items())
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    say(f"{len(wanted) - len(failures)} of {len(wanted)} are in the cache")
    if failures:
        raise CantDo(f"run it again for the rest: {failures[0]}")


def _agreed() -> bool:
    try:
        return input("Speak them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        raise CantDo("nobody is there to ask; --yes answers") from None
