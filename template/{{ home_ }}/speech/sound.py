"""What can be told of a recording without decoding it: whether it is one, and about how long. Never used for the bill."""

import io
import os
import wave
from pathlib import Path
from typing import BinaryIO

SLOWEST = 500  # bytes a second: nothing that is spoken is packed tighter, so a header that claims more time lies
USUAL = 8000  # bytes a second, where no header tells

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


def measure(audio: bytes | Path | BinaryIO) -> tuple[float, int]:
    """Seconds and channels, estimated. A file is left where it was found."""
    if isinstance(audio, Path):
        with audio.open("rb") as file:
            return _measure(file)
    return _measure(io.BytesIO(audio) if isinstance(audio, bytes) else audio)


def _measure(file: BinaryIO) -> tuple[float, int]:
    at = file.tell()
    size = file.seek(0, os.SEEK_END) - at
    file.seek(at)
    try:
        seconds, channels = _by_header(file)
    finally:
        file.seek(at)
    return (min(seconds, size / SLOWEST) if seconds > 0 else size / USUAL), max(1, channels)


def _by_header(file: BinaryIO) -> tuple[float, int]:
    """By the file's own word; (0, 1) where it has none that can be read."""
    at = file.tell()
    try:
        with wave.open(file) as header:
            return header.getnframes() / header.getframerate(), header.getnchannels()
    except (wave.Error, EOFError, RuntimeError, ZeroDivisionError):
        file.seek(at)
    from tinytag import TinyTag, TinyTagException

    try:
        tag = TinyTag.get(file_obj=file)
    except (TinyTagException, OSError, ValueError):
        return 0.0, 1
    return tag.duration or 0.0, tag.channels or 1
