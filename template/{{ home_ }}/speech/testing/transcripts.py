"""What was said in an upload.

Audio that this sandbox spoke is heard as the text it came from; anything else as as many words as fit its length.
"""

import hashlib
import json
from collections import OrderedDict
from typing import Any

from .calls import Job, split
from .faults import Fault
from .hearing import Hearing
from .refusals import new_id

REMEMBERED_MAX = 256
WORDS = ("this", "is", "what", "the", "sandbox", "heard", "while", "it", "listened", "and", "took", "its", "time")


class Memory:
    """The last few hundred things that were spoken, by the hash of their sound."""

    def __init__(self) -> None:
        self._texts: OrderedDict[bytes, str] = OrderedDict()

    def keep(self, audio: bytes, text: str) -> None:
        self._texts[hashlib.sha256(audio).digest()] = text
        if len(self._texts) > REMEMBERED_MAX:
            self._texts.popitem(last=False)

    def recall(self, audio: bytes) -> str | None:
        return self._texts.get(hashlib.sha256(audio).digest())


def transcribing(hearing: Hearing, memory: Memory) -> Job:
    def pieces(fault: Fault) -> list[bytes]:
        silent = hearing.silent or fault.name in ("silence", "empty")
        text = "" if silent else memory.recall(hearing.audio) or _invented(hearing)
        words = text.split()[: fault.after if fault.name == "early_end" else None]
        return split(json.dumps(_transcript(hearing, words)).encode())

    return Job("stt", hearing.weight, hearing.price, "application/json", streamed=False, pieces=pieces, headers={})


def _transcript(hearing: Hearing, words: list[str]) -> dict[str, Any]:
    """The vendor's answer; where nothing was said it tells no length."""
    answer = {
        "language_code": "eng",
        "language_probability": 0.98,
        "text": " ".join(words),
        "words": _timed(hearing, words),
        "transcription_id": new_id(),
    }
    return {**answer, "audio_duration_secs": round(hearing.seconds, 3)} if words else answer


def _timed(hearing: Hearing, words: list[str]) -> list[dict[str, Any]]:
    """Words and the spaces between them, as the vendor lists both."""
    lasts = hearing.seconds / max(1, len(words))
    entries = []
    for number, word in enumerate(words):
        if number:
            entries.append(_entry(hearing, " ", number * lasts, 0.0) | {"type": "spacing"})
        entries.append(_entry(hearing, word, number * lasts, lasts))
    return entries


def _invented(hearing: Hearing) -> str:
    count = max(1, round(2.5 * hearing.seconds))
    return " ".join(WORDS[number % len(WORDS)] for number in range(count))


def _entry(hearing: Hearing, text: str, start: float, lasts: float) -> dict[str, Any]:
    granularity = hearing.fields.get("timestamps_granularity", ["word"])[0]
    entry: dict[str, Any] = {"text": text, "type": "word", "logprob": -0.1}
    if granularity == "none":
        return entry
    entry |= {"start": round(start, 3), "end": round(start + lasts, 3)}
    if granularity == "character":
        each = lasts / len(text)
        spans = ((char, start + at * each) for at, char in enumerate(text))
        entry["characters"] = [{"text": c, "start": round(at, 3), "end": round(at + each, 3)} for c, at in spans]
    return entry
