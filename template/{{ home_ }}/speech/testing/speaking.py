"""From a request to speak to the pieces of its answer: audio bytes, one JSON, or JSON lines."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from .audio import seconds_of, speak
from .calls import Job, split
from .faults import Fault
from .refusals import new_id
from .rules import FORMATS, MODELS, Speech
from .transcripts import Memory


def speaking(speech: Speech, endpoint: str, memory: Memory) -> Job:
    """The job behind one of the four endpoints (what follows the voice in the path)."""
    timed, streamed = "with-timestamps" in endpoint, "stream" in endpoint
    shape = (_json_lines if streamed else _whole_json) if timed else _bare

    def pieces(fault: Fault) -> list[bytes]:
        audio = _audio(speech, fault)
        memory.keep(audio, speech.text)
        return shape(speech, audio)

    return Job(
        pool=MODELS[speech.model_id]["pool"],
        weight=1,
        price=speech.price,
        media_type="application/json" if timed else FORMATS[speech.output_format]["mime"],
        streamed=streamed,
        pieces=pieces,
        headers={"history-item-id": new_id() if speech.stored else "not_stored"},
    )


def _audio(speech: Speech, fault: Fault) -> bytes:
    """All the bytes that are to be heard, as the fault leaves them."""
    if fault.name == "empty":
        return b""
    seconds = seconds_of(speech.text, speech.speed)
    audio = speak(speech.output_format, seconds, speech.identity, silent=fault.name == "silence")
    return b"".join(split(audio)[: fault.after]) if fault.name == "early_end" else audio


def _bare(speech: Speech, audio: bytes) -> list[bytes]:
    return split(audio)


def _whole_json(speech: Speech, audio: bytes) -> list[bytes]:
    return split(json.dumps(_timed(speech, audio, 0, len(speech.text))).encode())


def _json_lines(speech: Speech, audio: bytes) -> list[bytes]:
    """A line for each piece of audio, with the characters that fall into it."""
    return list(_lines(speech, audio))


def _lines(speech: Speech, audio: bytes) -> Iterator[bytes]:
    pieces = split(audio)
    count = len(speech.text)
    for number, piece in enumerate(pieces):
        first, last = count * number // len(pieces), count * (number + 1) // len(pieces)
        yield json.dumps(_timed(speech, piece, first, last)).encode() + b"\n"


def _timed(speech: Speech, audio: bytes, first: int, last: int) -> dict[str, Any]:
    each = seconds_of(speech.text, speech.speed) / max(1, len(speech.text))
    alignment = {
        "characters": list(speech.text[first:last]),
        "character_start_times_seconds": [round(at * each, 3) for at in range(first, last)],
        "character_end_times_seconds": [round((at + 1) * each, 3) for at in range(first, last)],
    }
    encoded = base64.b64encode(audio).decode()
    return {"audio_base64": encoded, "alignment": alignment, "normalized_alignment": alignment}
