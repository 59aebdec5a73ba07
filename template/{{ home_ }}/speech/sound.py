"""How long a recording is, about, without decoding it. Never used for the bill."""

import io
import os
from typing import BinaryIO

SLOWEST = 500  # bytes a second: nothing that is spoken is packed tighter, so a header that claims more time lies
USUAL = 8000  # bytes a second, where no header tells


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
