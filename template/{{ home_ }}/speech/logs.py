"""Logs: one JSON line a record, of which only the names in ``FIELDS`` are printed, and no configured secret is.

Nothing here runs at import, and nothing configures a host's logging: ``serve`` and the commands call ``configure``, and
so may you. Other people's libraries may quote a request at any level, so they are heard from WARNING on, whatever level
their loggers are set to, and then by the first line of their own format string. Exceptions that aren't ours are printed
as their type and where they came from: their words may quote the text that was to be spoken.
"""

import base64
import datetime
import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from .errors import SpeechError
from .faults import Fault
from .settings import Settings, SettingsError

FIELDS = frozenset(
    "event host port workers backend tier mode id upstream_id kind outcome status code caller priority model cache "
    "degraded characters credits cost_usd queue_s first_byte_s total_s attempts".split()
)
QUIET = frozenset("httpx httpcore websockets urllib3 fern elevenlabs aiohttp python_multipart hpack asyncio".split())


def configure(settings: Settings) -> None:
    """Let this process's logs be JSON lines on standard error. For whoever owns the process."""
    handler = logging.StreamHandler()
    handler.addFilter(is_fit)
    handler.setFormatter(JsonLines(settings))
    logging.basicConfig(force=True, handlers=[handler], level=settings.log_level.upper())


def is_fit(record: logging.LogRecord) -> bool:
    """On the handler, because a logger's own level may be set to anything, and filters of parents aren't inherited."""
    return record.levelno >= logging.WARNING or not _is_theirs(record)


def _is_theirs(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in QUIET


class JsonLines(logging.Formatter):
    """A record as one line. Secrets are replaced in whatever spelling they come."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._spellings = sorted({s for secret in settings.secrets for s in spellings(secret)}, key=len, reverse=True)
        self._env = {"env": "staging"} if settings.env == "staging" else {}

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "logger": record.name, **self._env}
        line["message"] = str(record.msg).partition("\n")[0] if _is_theirs(record) else record.getMessage()
        if isinstance(fields := getattr(record, "fields", None), dict):
            line |= {name: fields[name] for name in fields if name in FIELDS}
        if record.exc_info and (error := record.exc_info[1]):
            ours = isinstance(error, SpeechError | Fault | SettingsError)
            frames = traceback.extract_tb(error.__traceback__)[-8:]
            line["error"] = f"{type(error).__name__}: {error}" if ours else type(error).__name__
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        text = json.dumps(line, ensure_ascii=False, default=str)
        for spelling in self._spellings:
            text = text.replace(spelling, "[secret]")
        return text


def spellings(secret: str) -> Iterator[str]:
    """The ways in which it may be written: as it is, escaped, in a URL, in base64 at each of three offsets."""
    yield from (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""))
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret.encode()).rstrip(b"=").decode()
        inner = encoded[(0, 2, 3)[shift] : len(encoded) - (len(secret.encode()) + shift > 2)]
        yield from (inner, inner.translate(str.maketrans("+/", "-_")))
