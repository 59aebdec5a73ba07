"""``check``: what would break in production, found without spending anything. A line each: ok, warn or FAIL."""

import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from .answers import CACHE_BACKEND, GATEWAY, store
from .catalogue import CATALOGUE, DEFAULT_MODEL, DEFAULT_STT_MODEL, HTTP_POOLS, QUALITIES
from .clock import today
from .settings import Settings, SettingsError

Finding = tuple[str, str]
COLOURS = {"ok": "\033[32m", "warn": "\033[33m", "FAIL": "\033[31m"}


async def check(online: bool) -> int:
    """Print every finding; 1 if one of them is a FAIL. ``online``: ask ElevenLabs about the account too."""
    levels, colourful = set(), sys.stdout.isatty() and "NO_COLOR" not in os.environ
    async for level, line in _findings(online):
        print(f"{COLOURS[level]}{level:4}\033[0m {line}" if colourful else f"{level:4} {line}")
        levels.add(level)
    return int("FAIL" in levels)


async def _findings(online: bool) -> AsyncIterator[Finding]:
    try:
        settings = Settings.from_env()
        settings.check(CACHE_BACKEND)
    except SettingsError as error:
        for line in str(error).splitlines():
            yield "FAIL", line
        return
    for finding in (*_environment(settings), *_plan(settings), *_voice(settings), *_files(Path(__file__).parent)):
        yield finding
    async for finding in _backend(settings):
        yield finding
    if online and settings.api_key:
        yield await _account(settings)


def _environment(settings: Settings) -> Iterator[Finding]:
    rehearsal = settings.env == "development" or settings.mode == "observe"
    yield "warn" if rehearsal else "ok", f"SPEECH_ENV is {settings.env}, SPEECH_MODE {settings.mode}"
    if settings.api_key:
        yield "ok", f"ELEVENLABS_API_KEY is set, for {settings.base_url}"
    else:
        still = "still the placeholder" if os.environ.get("ELEVENLABS_API_KEY") else "not set"
        yield "FAIL", f"ELEVENLABS_API_KEY is {still}; make one at https://elevenlabs.io/app/settings/api-keys"
    if GATEWAY and not settings.client_keys:
        yield "warn" if settings.env == "development" else "FAIL", "SPEECH_CLIENT_KEYS is not set: serve will not start"


def _plan(settings: Settings) -> Iterator[Finding]:
    plan = CATALOGUE["plans"][settings.tier]
    limits = ", ".join(f"{settings.plan[pool]} {pool}" for pool in HTTP_POOLS)
    yield "warn" if "retired" in plan else "ok", f"SPEECH_TIER is {settings.tier}: {limits} at once"
    row = plan["concurrency"]["standard"]
    if not settings.limits and (row["limit"] is None or row["sure"] == "assumed"):
        yield "warn", f"the limits of {settings.tier} are not published, these are a guess; SPEECH_LIMITS sets yours"


def _voice(settings: Settings) -> Iterator[Finding]:
    rows = {row["voice_id"]: row for row in (*CATALOGUE["voices"]["retiring"], *CATALOGUE["voices"]["legacy"])}
    if row := rows.get(settings.voice_id):
        ends = f"ends on {row['retires']}" if "retires" in row else f"is {row['state']}"
        level = "FAIL" if row.get("retires", "later") <= today() else "warn"
        yield (
            level,
            f"SPEECH_VOICE_ID {settings.voice_id} ({row['name']}) {ends}; use {row.get('successor') or 'another'}",
        )
    else:
        yield "ok", f"SPEECH_VOICE_ID is {settings.voice_id}"
    chosen = {name for names in QUALITIES.values() for name in names} | {DEFAULT_MODEL, DEFAULT_STT_MODEL}
    yield from _models(chosen, "chosen where none is named")


def _models(names: set[str], why: str) -> Iterator[Finding]:
    for name in sorted(names):
        row = CATALOGUE["models"].get(name, {})
        if "successor" in row:
            level = "FAIL" if row["status"] == "retired" else "warn"
            yield level, f"{name}, {why}, is {row['status']}; use {row['successor']}"


def _files(here: Path) -> Iterator[Finding]:
    """Whether what the template keeps was edited here: not wrong, but an update has to merge it."""
    manifest: dict[str, str] = json.loads((here / "MANIFEST.json").read_text("utf-8"))
    edited = [name for name, known in manifest.items() if (here / name).is_file() and _hash(here / name) != known]
    yield "warn" if edited else "ok", f"changed by hand, for an update to merge: {', '.join(edited) or 'nothing'}"


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


async def _backend(settings: Settings) -> AsyncIterator[Finding]:
    stores = store.open(settings)
    try:
        kept, rows = await stores.audio.stats(), await stores.ledger.rows()
    except Exception as error:  # whatever a backend raises is the finding
        yield "FAIL", f"cache_backend {CACHE_BACKEND} can't be used: {error}"
    else:
        yield "ok", f"cache_backend {CACHE_BACKEND}: {kept['entries']} entries, {kept['bytes'] / 1e6:.1f} MB"
        for finding in _models({row.model_id for row in rows}, "which your callers used"):
            yield finding
    stores.close()


async def _account(settings: Settings) -> Finding:
    """A key that may only speak can't be asked about its account, and is a good key."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=10, headers={"xi-api-key": settings.api_key}) as http:
            answer = await http.get(f"{settings.base_url}/v1/user/subscription")
    except httpx.HTTPError as error:
        return "FAIL", f"{settings.base_url} can't be reached ({type(error).__name__})"
    if answer.status_code == 401 and "missing_permissions" in answer.text:
        return "ok", "the key is good; it may not read its account, so the plan can't be compared"
    if answer.status_code != 200:
        return "FAIL", f"ElevenLabs answers {answer.status_code} to this key"
    tier = answer.json().get("tier")
    return "ok" if tier == settings.tier else "warn", f"the account's plan is {tier}, SPEECH_TIER is {settings.tier}"
