"""From bytes and text to values: JSON bodies, queries and forms, as ElevenLabs reads them. Knows no framework.

What can't be read is *malformed* (422). A name that nobody knows keeps its text and goes upstream as it came.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import InvalidRequest

BODY_MAX = 2**20
DEPTH_MAX = 50
PARTS_MAX = 1100  # of a form: a thousand keyterms and all the rest

Pairs = Iterable[tuple[str, str]]


def malformed(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="malformed")


def too_large(most: int) -> InvalidRequest:
    return InvalidRequest(f"The request is larger than {most} bytes", code="too_large")


def json_object(body: bytes) -> dict[str, Any]:
    """A body's fields, without the nulls. What only Python would take (NaN, UTF-16, a million levels) is malformed."""
    try:
        parsed = _json(body.decode("utf-8"))
    except RecursionError:
        raise malformed("The body is nested too deeply") from None
    except ValueError:  # not UTF-8, not JSON, a number that is none
        raise malformed("The body is not JSON in UTF-8") from None
    if not isinstance(parsed, dict):
        raise malformed("The body is not a JSON object")
    return {name: value for name, value in parsed.items() if value is not None}


def wants_csv(pairs: Pairs, headers: Mapping[str, str]) -> bool:
    """``?format=csv``, or ``Accept: text/csv`` where the query says nothing."""
    wanted = dict(pairs).get("format") or ("csv" if headers.get("accept", "").startswith("text/csv") else "json")
    if wanted not in ("csv", "json"):
        raise malformed("format is csv or json")
    return wanted == "csv"


def query(pairs: Pairs) -> dict[str, Any]:
    """A query's parameters, by what they are."""
    return _values(pairs)


@dataclass(frozen=True, slots=True)
class Upload:
    """A form's file: it can seek, and its framework closes it."""

    file: BinaryIO
    filename: str
    content_type: str


Parts = Iterable[tuple[str, str | Upload]]


def form(parts: Parts) -> tuple[Upload | None, dict[str, Any]]:
    """A form's file, and its fields by what they are. The literal ``null`` is the SDK's way to leave a field out."""
    upload, fields = None, []
    for name, value in parts:
        if isinstance(value, str):
            fields += [(name, value)] if value != "null" else []
        elif name != "file" or upload:
            raise malformed("The form holds one file, as the part file")
        else:
            upload = value
    return upload, _values(fields)


def _values(pairs: Pairs) -> dict[str, Any]:
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        given.setdefault(name, []).append(text)
    return {name: _value(name, texts) for name, texts in given.items()}


def _value(name: str, texts: list[str]) -> Any:
    """What text means depends on the name."""
    read = _READERS.get(name)
    if name in _LISTS:
        return texts
    if read is None:
        return texts[0] if len(texts) == 1 else texts
    if len(texts) > 1:
        raise malformed(f"{name} is given more than once")
    try:
        return read(texts[0])
    except (ValueError, LookupError, RecursionError):
        raise malformed(f"{name} can't be read; it is {_WORDS[read]}") from None


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError
    return number


def _json_or_word(text: str) -> Any:
    """Lists, objects and quoted words are JSON in their part; a bare word is meant as it stands."""
    return _json(text) if text[:1] in ('"', "[", "{") else text


def _json(text: str) -> Any:
    parsed = json.loads(text, parse_constant=_finite, parse_float=_finite)
    _check(parsed, DEPTH_MAX)
    return parsed


def _check(value: Any, left: int) -> None:
    """Raise for what is too deep for whoever has to walk it later, and for half a character, which nobody can send."""
    if left == 0:
        raise RecursionError
    if isinstance(value, str):
        _check_unicode(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_unicode(name)
            _check(inner, left - 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, left - 1)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The body holds half a surrogate pair; send valid Unicode") from None


_LISTS = ("keyterms", "secondary_language_codes")
_READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("output_format", "model_id", "language_code", "file_format", "timestamps_granularity"), str),
    **dict.fromkeys(("enable_logging", "tag_audio_events", "diarize", "use_multi_channel", "no_verbatim"), _boolean),
    **dict.fromkeys(("use_speaker_library", "detect_speaker_roles", "webhook"), _boolean),
    **dict.fromkeys(("optimize_streaming_latency", "num_speakers", "seed"), _whole),
    **dict.fromkeys(("temperature", "diarization_threshold"), _finite),
    **dict.fromkeys(("additional_formats", "entity_detection", "entity_redaction", "webhook_metadata"), _json_or_word),
}
_WORDS = {
    str: "one text",
    _boolean: "true or false",
    _whole: "a whole number",
    _finite: "a number",
    _json_or_word: "JSON, or one word",
}


_NOT_AUDIO = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF", b"PK\x03\x04", b"\x7fELF", b"\x1f\x8b", b"MZ", b"SQLite")


def looks_like_audio(head: bytes) -> bool:
    """False only where the first bytes are surely something else: text, a picture, an archive, a program."""
    if head.startswith(_NOT_AUDIO):
        return False
    try:
        text = head[:512].decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        return error.start < len(head[:512]) - 3  # broken in the middle: no text
    return any(not c.isprintable() and not c.isspace() for c in text)
