"""How long an upload is: WAV, MP3 and Ogg to the frame, other containers by their size."""

import io
import re
import wave
from dataclasses import dataclass

from .mp3 import KBPS, RATES, SAMPLES
from .ogg import PRE_SKIP

UNREAD = re.compile(rb"fLaC|.{4}ftyp|\x1aE\xdf\xa3", re.DOTALL)  # FLAC, MP4 and WebM: taken for 64 kbit/s


@dataclass(frozen=True)
class Sound:
    seconds: float
    silent: bool
    channels: int = 1


def measure(audio: bytes) -> Sound | None:
    """None where this is no audio that one of us can tell the length of."""
    if audio[:4] == b"RIFF":
        return _wav(audio)
    if audio[:4] == b"OggS":
        return _ogg(audio)
    if UNREAD.match(audio):
        return Sound(len(audio) / 8000, silent=False)
    return _mp3(audio)


def raw_pcm(audio: bytes) -> Sound:
    """16 kHz, 16 bit, one channel."""
    return Sound(len(audio) / 32000, _is_zero(audio))


def _is_zero(sound: bytes) -> bool:
    return not sound.strip(b"\0")


def _wav(audio: bytes) -> Sound | None:
    try:
        with wave.open(io.BytesIO(audio)) as file:
            frames, channels = file.readframes(file.getnframes()), file.getnchannels()
            count = len(frames) // (channels * file.getsampwidth())  # a recorder that streams leaves the header's blank
            return Sound(count / file.getframerate(), _is_zero(frames), channels)
    except (wave.Error, EOFError, ZeroDivisionError, RuntimeError):
        return None


def _ogg(audio: bytes) -> Sound | None:
    last = audio[audio.rfind(b"OggS") :]
    if len(last) < 27:
        return None
    samples = int.from_bytes(last[6:14], "little", signed=True) - PRE_SKIP
    return Sound(max(0, samples) / 48000, silent=False)


def _mp3(audio: bytes) -> Sound | None:
    at = 0
    if audio[:3] == b"ID3" and len(audio) > 10:
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(audio[6:10], (21, 14, 7, 0), strict=True))
    seconds, silent = 0.0, True
    while frame := _frame(audio, at):
        size, lasts = frame
        silent = silent and _is_zero(audio[at + 4 : at + size])
        seconds, at = seconds + lasts, at + size
    return Sound(round(seconds, 6), silent) if seconds else None


def _frame(audio: bytes, at: int) -> tuple[int, float] | None:
    """Size and seconds of the MPEG layer III frame that starts here."""
    head = int.from_bytes(audio[at : at + 4].ljust(4, b"\0"), "big")
    version = {0b11: 1, 0b10: 2}.get(head >> 19 & 3)
    if head >> 21 != 0x7FF or version is None or head >> 17 & 3 != 1 or not 0 < head >> 12 & 15 < 15:
        return None
    rates = [rate for rate, key in RATES.items() if key == (version, head >> 10 & 3)]
    if not rates:
        return None
    kbps = KBPS[version][(head >> 12 & 15) - 1]
    size = SAMPLES[version] // 8 * 1000 * kbps // rates[0] + (head >> 9 & 1)
    return size, SAMPLES[version] / rates[0]
