"""``check``: what would break in production, found without spending anything. One line a finding: ok, warn or FAIL."""

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
COLOURS = {"ok": "32", "warn": "33", "FAIL": "31"}


async def check(*, online: bool = False, read: int = 0) -> int:
    """Print every finding; 1 if one of them is a FAIL. ``read`` is how many variables came out of ``.env``."""
    worst = 0
    async for level, line in _findings(online, read):
        colour = COLOURS[level] if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ""
        print(f"\033[{colour}m{level:4}\033[0m {line}" if colour else f"{level:4} {line}")
        worst |= level == "FAIL"
    return int(worst)


async def _findings(online: bool, read: int) -> AsyncIterator[Finding]:
    if read:
        yield "ok", f".env: {read} variables read from it"
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
    yield (
        "ok" if settings.env != "development" else "warn",
        f"SPEECH_ENV is {settings.env}, SPEECH_MODE {settings.mode}",
    )
    if settings.api_key:
        yield "ok", f"ELEVENLABS_API_KEY is set, for {settings.base_url}"
    else:
        still = "still the placeholder" if any(map(os.environ.get, _KEY)) else "not set"
        yield "FAIL", f"ELEVENLABS_API_KEY is {still}; make one at https://elevenlabs.io/app/settings/api-keys"
    if GATEWAY and not settings.client_keys:
        yield "warn" if settings.env == "development" else "FAIL", "SPEECH_CLIENT_KEYS is not set: serve will not start"


_KEY = ("ELEVENLABS_API_KEY", "ELEVENLABS_API_KEY_FILE")


def _plan(settings: Settings) -> Iterator[Finding]:
    plan = CATALOGUE["plans"][settings.tier]
    limits = ", ".join(f"{settings.plan[pool]} {pool}" for pool in HTTP_POOLS)
    share = f", shared by {settings.processes} processes" if settings.processes > 1 else ""
    yield "ok", f"SPEECH_TIER is {settings.tier}: {limits} at once{share}"
    if "retired" in plan:
        yield "warn", f"the plan {settings.tier} is retired"
    elif settings.tier == "enterprise" and not settings.limits:
        yield (
            "warn",
            "the limits of an enterprise contract are not published: set SPEECH_LIMITS; until then, as business",
        )
    elif plan["concurrency"]["standard"]["sure"] == "assumed":
        yield "warn", f"the limits of {settings.tier} are assumed; SPEECH_LIMITS sets them"


def _voice(settings: Settings) -> Iterator[Finding]:
    voices, mine = CATALOGUE["voices"], settings.voice_id
    ends = next((row for row in voices["retiring"] if row["voice_id"] == mine), None)
    if ends:
        level = "FAIL" if ends["retires"] <= today() else "warn"
        instead = f"; use {ends['successor']}" if ends["successor"] else ""
        yield level, f"SPEECH_VOICE_ID {mine} ({ends['name']}) ends on {ends['retires']}{instead}"
    elif old := next((row for row in voices["legacy"] if row["voice_id"] == mine), None):
        yield "warn", f"SPEECH_VOICE_ID {mine} ({old['name']}) is {old['state']}"
    else:
        yield "ok", f"SPEECH_VOICE_ID is {mine}"
    chosen = {name for names in QUALITIES.values() for name in names} | {DEFAULT_MODEL, DEFAULT_STT_MODEL}
    yield from _models(chosen, "chosen where none is named")


def _models(names: set[str], why: str) -> Iterator[Finding]:
    rows = {name: CATALOGUE["models"].get(name, {}) for name in sorted(names)}
    for name, row in rows.items():
        if "successor" in row:
            yield (
                "FAIL" if row["status"] == "retired" else "warn",
                f"{name}, {why}, is {row['status']}: use {row['successor']}",
            )


def _files(here: Path) -> Iterator[Finding]:
    """Whether what the template keeps was edited here: not wrong, but an update has to merge it."""
    manifest: dict[str, str] = json.loads((here / "MANIFEST.json").read_text("utf-8"))
    edited = [name for name, known in manifest.items() if (here / name).is_file() and _hash(here / name) != known]
    if edited:
        yield "warn", f"changed by hand, so that an update has to merge: {', '.join(edited)}"
    else:
        yield "ok", "no file of the template was changed by hand"


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


async def _backend(settings: Settings) -> AsyncIterator[Finding]:
    if why := store.unsupported():
        yield "FAIL", why
        return
    stores = store.open(settings)
    try:
        kept = await stores.audio.stats()
        rows = await stores.ledger.rows()
    except Exception as error:  # whatever a backend raises is the finding
        yield "FAIL", f"cache_backend {CACHE_BACKEND} can't be used: {error}"
        return
    finally:
        stores.close()
    yield "ok", f"cache_backend {CACHE_BACKEND}: {kept['entries']} entries, {kept['bytes'] / 1e6:.1f} MB"
    for finding in _models({row.model_id for row in rows}, "which your callers used"):
        yield finding


async def _account(settings: Settings) -> Finding:
    """A key that may only speak can't be asked about its account, and is a good key."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=10) as http:
            headers = {"xi-api-key": settings.api_key}
            answer = await http.get(f"{settings.base_url}/v1/user/subscription", headers=headers)
    except httpx.HTTPError as error:
        return "FAIL", f"{settings.base_url} can't be reached ({type(error).__name__})"
    if answer.status_code == 401 and "missing_permissions" in answer.text:
        return "ok", "the key is good; it may not read its account, so the plan can't be compared"
    if answer.status_code != 200:
        return "FAIL", f"ElevenLabs answers {answer.status_code} to this key"
    tier = answer.json().get("tier")
    return "ok" if tier == settings.tier else "warn", f"the account's plan is {tier}, SPEECH_TIER is {settings.tier}"
