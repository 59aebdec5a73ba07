"""What the environment says, checked once at the start. ``Settings`` is the table: a line a variable, with its bounds.

A wrong value stops the start with one line that names the variable, what was given and what is allowed. Secrets are
read from the variable or from the file that its ``_FILE`` twin names; they are in no message and in no ``repr``.
"""

import difflib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from .answers import PRICING_TIER
from .catalogue import DEFAULT_VOICE, HOSTS, HTTP_POOLS, POOLS, QUALITIES, TIERS, VOICE_ID, Model, limits, models
from .client import CallerTerms
from .request import Priority

logger = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PLACEHOLDER = re.compile(r"your_(\w+_)?key_here")
_NAME = re.compile(r"[\w.-]{1,64}")


class SettingsError(ValueError):
    """Variables are wrong: one line for each, fit for whoever starts the service."""


class Wrong(ValueError):
    """Why a value can't be taken, without the value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a text is read (any ValueError: not at all), and the words for what is allowed."""

    read: Callable[[str], Any]
    allowed: str


def _number(of: type[int] | type[float], lowest: float, highest: float, *, times: int = 1) -> Kind:
    def read(text: str) -> float:
        if not lowest <= (number := of(text)) <= highest:
            raise Wrong
        return number * times

    return Kind(read, f"a {'whole ' if of is int else ''}number from {lowest} to {highest}")


def _words(words: Iterable[str]) -> Kind:
    known = tuple(words)
    return Kind(lambda text: known[known.index(text.lower())], ", ".join(known))


def _match(pattern: str | re.Pattern[str], allowed: str) -> Kind:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise Wrong
        return text

    return Kind(read, allowed)


def _base_url(text: str) -> str:
    url = urlsplit(text)
    private = url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)
    if not url.hostname or not private or url.query or url.fragment or "@" in url.netloc:
        raise Wrong
    return text.rstrip("/")


def _api_key(text: str) -> str:
    """The placeholder of ``.env.example`` is no key: as without one, the service starts and is never ready."""
    if not re.fullmatch(r"[!#-&(-~]+", text):
        raise Wrong
    return "" if _PLACEHOLDER.search(text) else text


def _client_keys(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [(name.strip(), key.strip()) for name, _, key in (part.partition(":") for part in text.split(","))]
    for nth, (name, key) in enumerate(pairs, 1):
        if not _NAME.fullmatch(name) or not re.fullmatch(r"[!-~]{16,}", key):
            raise Wrong(f"number {nth} is not a name and a key of at least 16 characters")
        if _PLACEHOLDER.search(key):
            raise Wrong(f"number {nth} is the placeholder, which everybody knows")
    if len(dict(pair[::-1] for pair in pairs)) < len(pairs):
        raise Wrong("a key stands there twice")
    return tuple(pairs)


def _rows(text: str) -> dict[str, Any]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, dict):
        raise Wrong("not a JSON object")
    return rows


def _row(row: object, whose: str, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    if not isinstance(row, dict) or row.keys() - kinds.keys():
        raise Wrong(f"{whose} takes {', '.join(kinds)}")
    values = {}
    for name, value in row.items():
        try:
            values[name] = kinds[name].read(str(value))
        except ValueError:
            raise Wrong(f"{name} of {whose} is {kinds[name].allowed}") from None
    return values


_USD = _number(float, 0, 10_000_000)
_SLOTS = _number(int, 1, 10_000)
_CALLER = {"daily_usd": _USD, "concurrency": _SLOTS, "max_priority": _words(p.name.lower() for p in Priority)}
_NEEDS = {
    "tts": {
        "max_characters": _number(int, 1, 1_000_000), "usd_per_1000_characters": _USD, "credits_per_character": _USD
    },
    "stt": {"usd_per_hour": _USD},
}  # fmt: skip
_MODEL = {"like": _words(models()), "pool": _words(HTTP_POOLS), **_NEEDS["tts"], **_NEEDS["stt"]}


def _limits(text: str) -> dict[str, int]:
    return _row(_rows(text), "it", dict.fromkeys(POOLS, _SLOTS))


def _callers(text: str) -> dict[str, CallerTerms]:
    callers = {name: _row(row, name, _CALLER) for name, row in _rows(text).items()}
    return {
        name: CallerTerms(**row | {"max_priority": Priority.parse(row.get("max_priority", "interactive"))})
        for name, row in callers.items()
    }


def _extra_models(text: str) -> dict[str, Model]:
    return {name: _extra_model(name, _row(row, name, _MODEL)) for name, row in _rows(text).items()}


def _extra_model(name: str, row: dict[str, Any]) -> Model:
    """As another one is, or as the catalogue has it, but for what is said otherwise."""
    known = models().get(row.pop("like", name))
    facts = {**(known.facts if known else {}), **row}
    kind = "stt" if facts.get("pool") == "stt" else "tts"
    if not _NAME.fullmatch(name):
        raise Wrong(f"{name!r} is no name of a model")
    if missing := [need for need in ("pool", *_NEEDS[kind]) if need not in facts]:
        raise Wrong(f"{name} needs {', '.join(missing)}")
    return Model(name, kind, facts["pool"], facts)


_PATH = Kind(lambda text: Path(text).expanduser(), "a path")
_LIMITS = Kind(_limits, 'JSON such as {"standard": 40}')
_MODELS = Kind(_extra_models, 'JSON such as {"eleven_v5": {"like": "eleven_v4"}}')
_CALLERS = Kind(_callers, 'JSON such as {"tenant-7": {"daily_usd": 5, "concurrency": 3, "max_priority": "normal"}}')
_URL = Kind(_base_url, "https://host, or http:// to this machine; no user, no query")
_REDIS = _match(r"(rediss?|unix)://\S+", "redis://, rediss:// or unix://")
_CLIENTS = Kind(_client_keys, "name:key,name:key")


def _var(name: str, kind: Kind, default: Any, *, secret: bool = False) -> Any:
    return field(
        default_factory=lambda: default, repr=not secret, metadata={"name": name, "kind": kind, "secret": secret}
    )


@dataclass(frozen=True)
class Settings:
    """Every variable. Units are in the names; None is "not set", or "no bound"."""

    api_key: str = _var("ELEVENLABS_API_KEY", Kind(_api_key, "the key alone, without quotes"), "", secret=True)
    base_url: str = _var("ELEVENLABS_BASE_URL", _URL, "")
    residency: str = _var("SPEECH_RESIDENCY", _words(HOSTS), "global")
    env: str = _var("SPEECH_ENV", _words(["development", "staging", "production"]), "production")
    mode: str = _var("SPEECH_MODE", _words(["enforce", "observe"]), "enforce")
    log_level: str = _var("SPEECH_LOG_LEVEL", _words(["debug", "info", "warning", "error"]), "info")

    tier: str = _var("SPEECH_TIER", _words(TIERS), PRICING_TIER)
    limits: dict[str, int] = _var("SPEECH_LIMITS", _LIMITS, {})
    extra_models: dict[str, Model] = _var("SPEECH_EXTRA_MODELS", _MODELS, {})
    quality: str | None = _var("SPEECH_QUALITY", _words(QUALITIES), None)
    voice_id: str = _var("SPEECH_VOICE_ID", _match(VOICE_ID, "20 letters and digits"), DEFAULT_VOICE)

    queue_size: int = _var("SPEECH_QUEUE_SIZE", _number(int, 0, 1_000_000), 1000)
    default_deadline_s: float = _var("SPEECH_DEFAULT_DEADLINE_S", _number(float, 0.1, 600), 30.0)
    attempt_timeout_s: float = _var("SPEECH_ATTEMPT_TIMEOUT_S", _number(float, 0.1, 600), 30.0)
    reserved_interactive: float = _var("SPEECH_RESERVED_INTERACTIVE", _number(float, 0, 10_000), 0.0)
    processes: int = _var("SPEECH_PROCESSES", _number(int, 1, 1000), 1)
    grace_s: float = _var("SPEECH_GRACE_S", _number(float, 0, 3600), 35.0)
    max_upload_bytes: int = _var("SPEECH_MAX_UPLOAD_MB", _number(int, 1, 5000, times=10**6), 100 * 10**6)
    degrade: str = _var("SPEECH_DEGRADE", _words(["none", "family"]), "none")

    cache_max_bytes: int = _var("SPEECH_CACHE_MAX_MB", _number(int, 0, 1_000_000, times=10**6), 256 * 10**6)
    cache_ttl_s: float = _var("SPEECH_CACHE_TTL_S", _number(float, 0, 1e9), 86400.0)
    cache_stale_s: float = _var("SPEECH_CACHE_STALE_S", _number(float, 0, 1e9), 86400.0)
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
        if backend == "memory" and self.env != "development" and self.has_budget:
            raise SettingsError(
                f"SPEECH_ENV is '{self.env}' and a budget is set, and the memory backend forgets at a restart what was "
                "spent; allowed: SPEECH_ENV=development, or another cache_backend"
            )
        pool = min(HTTP_POOLS, key=self.plan.__getitem__)
        if self.processes > self.plan[pool]:
            raise SettingsError(
                f"SPEECH_PROCESSES is {self.processes}, and pool {pool} has {self.plan[pool]} slots to share; "
                f"allowed: a whole number from 1 to {self.plan[pool]}"
            )

    @property
    def plan(self) -> dict[str, int]:
        """Requests at once by pool, before upstream says otherwise."""
        return limits(self.tier) | self.limits

    @property
    def has_budget(self) -> bool:
        """Whether money is bounded, so that what was spent must not be forgotten."""
        daily = (terms.daily_usd for terms in self.callers.values())
        return any(usd is not None for usd in (self.daily_budget_usd, self.monthly_budget_usd, *daily))

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
        for variable in fields(cls):
            try:
                if text := _given(variable, environ):
                    values[variable.name] = variable.metadata["kind"].read(text)
            except ValueError as error:
                complaints.append(_complaint(variable, environ, error))
        if complaints:
            raise SettingsError("\n".join(complaints))
        _look_for_typos(environ)
        return cls(**values)


VARIABLES: dict[str, Field[Any]] = {variable.metadata["name"]: variable for variable in fields(Settings)}
KNOWN = {*VARIABLES, *(f"{name}_FILE" for name, variable in VARIABLES.items() if variable.metadata["secret"])}


def _given(variable: Field[Any], environ: Mapping[str, str]) -> str:
    """The value, or what stands in the file that the twin of a secret names. Empty is not set."""
    name = variable.metadata["name"]
    text = environ.get(name, "").strip()
    if not variable.metadata["secret"] or not (file := environ.get(f"{name}_FILE", "").strip()):
        return text
    if text:
        raise Wrong(f"{name}_FILE is set too, and only one may be")
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise Wrong(f"{name}_FILE can't be read, {getattr(error, 'strerror', 'not UTF-8')}") from None


def _complaint(variable: Field[Any], environ: Mapping[str, str], error: ValueError) -> str:
    name, kind, secret = (variable.metadata[key] for key in ("name", "kind", "secret"))
    given = "wrong (not shown)" if secret else _shown(environ[name])
    reason = f": {error}" if isinstance(error, Wrong) and error.args else ""
    return f"{name} is {given}{reason}; allowed: {kind.allowed}"


def _shown(text: str) -> str:
    """On one line, and without a key or password that got into the wrong variable."""
    return repr(re.sub(r"sk_\w+|(?<=//)[^/@\s]+(?=@)", "…", text)[:80])


def _look_for_typos(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith("SPEECH_") and name not in KNOWN:
            _warn(name)


@cache  # once a process, which may read its settings more than once
def _warn(name: str) -> None:
    close = difflib.get_close_matches(name, KNOWN, 1)
    logger.warning("%s is no variable of this service%s", name, f"; did you mean {close[0]}?" if close else "")
