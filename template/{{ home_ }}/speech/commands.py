"""What the commands do. Results go to standard output, words about them to standard error.

``check`` finds what would break in production, without spending anything. ``kept.py`` has what needs a store.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .answers import CACHE_BACKEND, GATEWAY, store
from .catalogue import CATALOGUE, DEFAULT_MODEL, DEFAULT_STT_MODEL, HTTP_POOLS, QUALITIES
from .clock import today
from .settings import Settings, SettingsError
from .wiring import SpeechClient

NO_KEY = "ELEVENLABS_API_KEY is not set, or still the placeholder"
CHOSEN = {DEFAULT_MODEL, DEFAULT_STT_MODEL, *(name for names in QUALITIES.values() for name in names)}

Finding = tuple[str, str]


class CantDo(Exception):
    """One line for whoever typed the command."""


def say(line: str) -> None:
    print(line, file=sys.stderr)


async def speak(speech: SpeechClient, options: argparse.Namespace) -> None:
    audio = await speech.synthesize(options.text, voice_id=options.voice, priority="interactive")
    options.out.write_bytes(audio.data)
    say(f"{options.out}: {len(audio.data)} bytes of {audio.media_type} by {audio.model_id}")
    say(f"{audio.characters} characters, {audio.credits} credits, {audio.cost_usd:.5f} USD, cache {audio.cache}")


async def transcribe(speech: SpeechClient, options: argparse.Namespace) -> None:
    transcript = await speech.transcribe(options.file, priority="interactive")
    print(transcript.text)
    say(f"{transcript.seconds or 0:g} s by {transcript.model_id}, {transcript.cost_usd:.5f} USD")


def check(_: argparse.Namespace) -> int:
    """Print every finding, a line each: ok, warn or FAIL; 1 if one of them is a FAIL."""
    try:
        settings = Settings.from_env()
        settings.check(CACHE_BACKEND)
        findings = [*_of_settings(settings), _of_files(Path(__file__).parent), *asyncio.run(_of_backend(settings))]
    except SettingsError as error:
        findings = [("FAIL", line) for line in str(error).splitlines()]
    for level, line in findings:
        print(f"{level:4} {line}")
    return int(any(level == "FAIL" for level, _ in findings))


def _of_settings(settings: Settings) -> Iterator[Finding]:
    development, url = settings.env == "development", "https://elevenlabs.io/app/settings/api-keys"
    rehearsal = development or settings.mode == "observe"
    yield "warn" if rehearsal else "ok", f"SPEECH_ENV is {settings.env}, SPEECH_MODE {settings.mode}"
    yield ("ok", "ELEVENLABS_API_KEY is set") if settings.api_key else ("FAIL", f"{NO_KEY}; make one at {url}")
    if GATEWAY and not settings.client_keys:
        yield "warn" if development else "FAIL", "SPEECH_CLIENT_KEYS is not set: serve will not start"
    pools = ", ".join(f"{settings.plan[pool]} {pool}" for pool in HTTP_POOLS)
    yield "ok", f"SPEECH_TIER is {settings.tier}: {pools} at once"
    row = CATALOGUE["plans"][settings.tier]["concurrency"]["standard"]
    if not settings.limits and (row["limit"] is None or row["sure"] == "assumed"):
        yield "warn", f"the limits of {settings.tier} are not published, these are a guess; SPEECH_LIMITS sets yours"
    voices = (*CATALOGUE["voices"]["legacy"], *CATALOGUE["voices"]["retiring"])
    known: dict[str, Any] = next((row for row in voices if row["voice_id"] == settings.voice_id), {})
    yield _ending(f"SPEECH_VOICE_ID is {settings.voice_id}", known)
    yield from (_ending(f"model {name}", CATALOGUE["models"][name]) for name in sorted(CHOSEN))


def _ending(what: str, row: dict[str, Any]) -> Finding:
    """Of a voice or a model, by its row in the catalogue."""
    state, date = row.get("state") or row.get("status", "active"), row.get("retires")
    if state == "active" and not date:
        return "ok", what
    over = state == "retired" or (date and date <= today())
    ends = f"ends on {date}" if date else f"is {state}"
    return "FAIL" if over else "warn", f"{what}, which {ends}; use {row.get('successor') or 'another'}"


def _of_files(here: Path) -> Finding:
    """Whether what the template keeps was edited here: not wrong, but an update has to merge it."""
    manifest = json.loads((here / "MANIFEST.json").read_text("utf-8"))
    edited = [name for name, known in manifest.items() if (here / name).is_file() and _hash(here / name) != known]
    return "warn" if edited else "ok", f"changed by hand, for an update to merge: {', '.join(edited) or 'nothing'}"


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


async def _of_backend(settings: Settings) -> list[Finding]:
    """Whether it works here."""
    stores = store.open(settings.room)
    try:
        kept, _ = await stores.audio.stats(), await stores.ledger.rows()
        await stores.check()
    except Exception as error:  # whatever a backend raises is the finding
        return [("FAIL", f"cache_backend {CACHE_BACKEND} can't be used: {error}")]
    finally:
        await stores.close()
    return [("ok", f"cache_backend {CACHE_BACKEND}: {kept['entries']} entries")]
