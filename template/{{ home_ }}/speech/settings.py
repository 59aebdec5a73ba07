"""What the environment says, checked once at the start. ``Settings`` is the table: a line a variable, with its bounds.

A wrong value stops the start with one line that names the variable, what was given and what is allowed. Secrets are
read from the variable or from the file that its ``_FILE`` twin names; they are in no message and in no ``repr``.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from .answers import PRICING_TIER
from .catalogue import DEFAULT_VOICE, HOSTS, HTTP_POOLS, POOLS, QUALITIES, TIERS, VOICE_ID, Model, limits, models
from .client import CallerTerms
from .request import Priority
from .stores import Room

logger = logging.getLogger(__name__)

_URL = r"(https://([\w.-]+|\[[\da-fA-F:]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:\d+)?(/[\w./~%-]*)?"
_REDIS_URL = r"unix://\S+|rediss?://([^\s/@]*@)?([^\s/@:]+|\[[\da-fA-F:]+\])(:\d+)?(/[^\s@]*)?"
_PLACEHOLDER = re.compile(r"your_(\w+_)?key_here")
_SECRET = re.compile(r"sk_\w+|(?<=//)[^/@\s]+(?=@)")
_CLIENT = re.compile(r"\s*([\w.-]{1,64})\s*:\s*([!-~]{16,})\s*")


class SettingsError(ValueError):
    """Variables are wrong: one line for each, fit for whoever starts the service. No secret is quoted."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a text is read (if that raises anything: not at all), and the words for what is allowed."""

    read: Callable[[str], Any]
    allowed: str


def bounded(of: type[int] | type[float], lowest: float, highest: float, *, times: int = 1) -> Kind:
    def number(text: str) -> float:  # the name is what argparse calls it
        if not lowest <= (value := of(text)) <= highest:
            raise ValueError
        return value * times

    return Kind(number, f"a {'whole ' if of is int else ''}number from {lowest} to {highest}")


def _words(words: Iterable[str]) -> Kind:
    known = tuple(words)
    return Kind(lambda text: known[known.index(text.lower())], ", ".join(known))


def _match(pattern: str | re.Pattern[str], allowed: str, then: Callable[[str], Any] = str) -> Kind:
    def read(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return then(text)

    return Kind(read, allowed)


def _client_keys(text: str) -> tuple[tuple[str, str], ...]:
    names: dict[str, str] = {}
    for nth, part in enumerate(text.split(","), 1):
        if not (found := _CLIENT.fullmatch(part)) or _PLACEHOLDER.search(part) or found[2] in names:
            raise SettingsError(f"number {nth} is no name and key, or the placeholder, or its key stands there before")
        names[found[2]] = found[1]
    return tuple((name, key) for key, name in names.items())


def _row(row: dict[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    return {name: kinds[name].read(str(value)) for name, value in row.items()}


def _such_as(example: str, kinds: Mapping[str, Kind]) -> str:
    return f"JSON such as {example}, where " + "; ".join(f"{name} is {kind.allowed}" for name, kind in kinds.items())


def _extra_model(name: str, row: dict[str, Any]) -> Model:
    """As another one is, or as the catalogue has it, but for what is said otherwise."""
    like = models().get(row.pop("like", name))
    facts = {**(like.facts if like else {}), **row}
    kind, needs = ("stt", _STT) if facts["pool"] == "stt" else ("tts", _TTS)
    if needs.keys() - facts.keys() or " " in name:
        raise ValueError
    return Model(name, kind, facts["pool"], facts)


_USD = bounded(float, 0, 10_000_000)
_SLOTS = bounded(int, 1, 10_000)
_PRIORITY = _match("(?i)interactive|normal|batch", "interactive, normal, batch", Priority.parse)
_POOLS = dict.fromkeys(POOLS, _SLOTS)
_CALLER = {"daily_usd": _USD, "concurrency": _SLOTS, "max_priority": _PRIORITY}
_TTS = {"max_characters": bounded(int, 1, 10**6), "usd_per_1000_characters": _USD, "credits_per_character": _USD}
_STT = {"usd_per_hour": _USD}
_MODEL = {"like": _words(models()), "pool": _words(HTTP_POOLS), **_TTS, **_STT}

_PATH = Kind(lambda text: Path(text).expanduser(), "a path")
# The placeholder of ``.env.example`` is no key: as without one, the service starts and is never ready.
_KEY = _match(r"[!#-&(-~]+", "the key alone, without quotes", lambda key: "" if _PLACEHOLDER.search(key) else key)
_CLIENTS = Kind(_client_keys, "name:key,name:key with keys of 16 characters or more")
_HOST = _match(_URL, "https://host, or http:// to this machine; no user, no query", lambda text: text.rstrip("/"))
_REDIS = _match(_REDIS_URL, "redis://, rediss:// or unix://, any password percent-encoded")
_RESERVED = _match(r"\d{1,5}|0?\.\d+", "a number from 0: whole slots, or below 1 a share of the pool", float)
_LIMITS = Kind(lambda text: _row(json.loads(text), _POOLS), _such_as('{"standard": 40}', _POOLS))
_MODELS = Kind(
    lambda text: {name: _extra_model(name, _row(row, _MODEL)) for name, row in json.loads(text).items()},
    _such_as('{"eleven_v5": {"like": "eleven_v4"}}', _MODEL),
)
_CALLERS = Kind(
    lambda text: {name: CallerTerms(**_row(row, _CALLER)) for name, row in json.loads(text).items()},
    _such_as('{"tenant-7": {"daily_usd": 5, "concurrency": 3, "max_priority": "normal"}}', _CALLER),
)


def _var(name: str, kind: Kind, default: Any, *, secret: bool = False) -> Any:
    metadata = {"name": name, "kind": kind, "secret": secret}
    return field(default_factory=lambda: default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Every variable. Units are in the names; None is "not set", or "no bound"."""

    api_key: str = _var("ELEVENLABS_API_KEY", _KEY, "", secret=True)
    base_url: str = _var("ELEVENLABS_BASE_URL", _HOST, "")
    residency: str = _var("SPEECH_RESIDENCY", _words(HOSTS), "global")
    env: str = _var("SPEECH_ENV", _words(["development", "staging", "production"]), "production")
    mode: str = _var("SPEECH_MODE", _words(["enforce", "observe"]), "enforce")
    log_level: str = _var("SPEECH_LOG_LEVEL", _words(["debug", "info", "warning", "error"]), "info")

    tier: str = _var("SPEECH_TIER", _words(TIERS), PRICING_TIER)
    limits: dict[str, int] = _var("SPEECH_LIMITS", _LIMITS, {})
    extra_models: dict[str, Model] = _var("SPEECH_EXTRA_MODELS", _MODELS, {})
    quality: str | None = _var("SPEECH_QUALITY", _words(QUALITIES), None)
    voice_id: str = _var("SPEECH_VOICE_ID", _match(VOICE_ID, "20 letters and digits"), DEFAULT_VOICE)

    queue_size: int = _var("SPEECH_QUEUE_SIZE", bounded(int, 0, 1_000_000), 1000)
    default_deadline_s: float = _var("SPEECH_DEFAULT_DEADLINE_S", bounded(float, 0.1, 600), 30.0)
    attempt_timeout_s: float = _var("SPEECH_ATTEMPT_TIMEOUT_S", bounded(float, 0.1, 600), 30.0)
    reserved_interactive: float = _var("SPEECH_RESERVED_INTERACTIVE", _RESERVED, 0.0)
    processes: int = _var("SPEECH_PROCESSES", bounded(int, 1, 1000), 1)
    grace_s: float = _var("SPEECH_GRACE_S", bounded(float, 0, 3600), 35.0)
    max_upload_bytes: int = _var("SPEECH_MAX_UPLOAD_MB", bounded(int, 1, 5000, times=10**6), 100 * 10**6)
    degrade: str = _var("SPEECH_DEGRADE", _words(["none", "family"]), "none")

    cache_max_bytes: int = _var("SPEECH_CACHE_MAX_MB", bounded(int, 0, 1_000_000, times=10**6), 256 * 10**6)
    cache_ttl_s: float = _var("SPEECH_CACHE_TTL_S", bounded(float, 0, 1e9), 86400.0)
    cache_stale_s: float = _var("SPEECH_CACHE_STALE_S", bounded(float, 0, 1e9), 86400.0)
    cache_scope: str = _var("SPEECH_CACHE_SCOPE", _words(["shared", "caller"]), "shared")
    cache_dir: Path = _var("SPEECH_CACHE_DIR", _PATH, Path(".speech"))
    redis_url: str = _var("REDIS_URL", _REDIS, "", secret=True)
    run_dir: Path | None = _var("SPEECH_RUN_DIR", _PATH, None)

    client_keys: tuple[tuple[str, str], ...] = _var("SPEECH_CLIENT_KEYS", _CLIENTS, (), secret=True)
    callers: dict[str, CallerTerms] = _var("SPEECH_CALLERS", _CALLERS, {})
    daily_budget_usd: float | None = _var("SPEECH_DAILY_BUDGET_USD", _USD, None)
    monthly_budget_usd: float | None = _var("SPEECH_MONTHLY_BUDGET_USD", _USD, None)

    def __post_init__(self) -> None:
        if not self.base_url:
            object.__setattr__(self, "base_url", HOSTS[self.residency])

    def check(self, backend: str) -> None:
        """Raise SettingsError for values that are right alone and wrong together, or with this cache backend."""
        if backend == "redis" and not self.redis_url:
            raise SettingsError(f"REDIS_URL is not set; allowed: {_REDIS.allowed}")
        budgets = {self.daily_budget_usd, self.monthly_budget_usd, *(c.daily_usd for c in self.callers.values())}
        if backend == "memory" and self.env != "development" and budgets != {None}:
            why = f"SPEECH_ENV is '{self.env}' and a budget is set, which the memory backend forgets at a restart"
            raise SettingsError(f"{why}; allowed: SPEECH_ENV=development, or another cache_backend")
        slots, pool = min((self.plan[pool], pool) for pool in HTTP_POOLS)
        if backend == "memory" and self.processes > slots:
            why = f"SPEECH_PROCESSES is {self.processes}, and pool {pool} has {slots} slots to share"
            raise SettingsError(f"{why}; allowed: a whole number from 1 to {slots}")

    @property
    def plan(self) -> dict[str, int]:
        """Requests at once by pool, before upstream says otherwise."""
        return limits(self.tier) | self.limits

    @property
    def room(self) -> Room:
        """What a store takes of all this."""
        account = hashlib.sha256(f"{self.base_url} {self.api_key}".encode()).hexdigest()[:16]
        kept_s = self.cache_ttl_s + self.cache_stale_s
        return Room(self.cache_dir, self.cache_max_bytes, kept_s, self.redis_url, account)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may hold."""
        keys = (key for _, key in self.client_keys)
        return tuple(filter(None, (self.api_key, self.redis_url, urlsplit(self.redis_url).password, *keys)))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment. Raises SettingsError, a line for each variable that is wrong."""
        environ = os.environ if environ is None else environ
        values, complaints = {}, []
        for name, variable in VARIABLES.items():
            try:
                if text := _given(name, environ):
                    values[variable.name] = variable.metadata["kind"].read(text)
            except Exception as error:  # whatever a reader stumbles over
                complaints.append(_complaint(name, environ, error))
        if complaints:
            raise SettingsError("\n".join(complaints))
        return cls(**values)


VARIABLES: dict[str, Field[Any]] = {variable.metadata["name"]: variable for variable in fields(Settings)}
_TWINS = {name: f"{name}_FILE" for name, variable in VARIABLES.items() if variable.metadata["secret"]}


def _given(name: str, environ: Mapping[str, str]) -> str:
    """The value, or what stands in the file that the twin of a secret names. Empty is not set."""
    text, twin = environ.get(name, "").strip(), _TWINS.get(name, "")
    if not (file := environ.get(twin, "").strip()):
        return text
    if text:
        raise SettingsError(f"{twin} is set too, and only one may be")
    try:
        return Path(file).read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{twin} can't be read, {error.strerror}") from None


def _complaint(name: str, environ: Mapping[str, str], error: Exception) -> str:
    """On one line, and without a key or password that got into the wrong variable."""
    given = "wrong (not shown)" if name in _TWINS else _SECRET.sub("…", repr(environ[name]))[:80]
    reason = f": {error}" if isinstance(error, SettingsError) else ""
    return f"{name} is {given}{reason}; allowed: {VARIABLES[name].metadata['kind'].allowed}"
