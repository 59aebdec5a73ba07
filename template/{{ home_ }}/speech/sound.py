"""What can be told of a recording without decoding it: is it one, about how long? Never used for the bill."""

import io
import os
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


def measure(audio: bytes | BinaryIO) -> tuple[float, int]:
    """Seconds and channels, estimated. A file is left where it was found."""
    from tinytag import TinyTag, TinyTagException

    file = io.BytesIO(audio) if isinstance(audio, bytes) else audio
    at = file.tell()
    size = file.seek(0, os.SEEK_END) - at
    try:
        file.seek(at)
        tag = TinyTag.get(file_obj=file)
        seconds, channels = tag.duration or 0.0, tag.channels or 1
    except (TinyTagException, OSError, ValueError):
        seconds, channels = 0.0, 1
    file.seek(at)
    return (min(seconds, size / SLOWEST) if seconds > 0 else size / USUAL), channels
