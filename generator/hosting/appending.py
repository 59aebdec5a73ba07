"""Lines at the end of a file that somebody else owns: its bytes, line ends, encoding and last line stay as they are."""

import re
from pathlib import Path
from typing import NamedTuple

TITLE = "# --- ElevenLabs; every variable with its default: {file} ---"


class Appended(NamedTuple):
    """*tail* are the bytes of *lines* as *path* wants them, after *before*, which is None for a new file."""

    path: str
    lines: list[str]
    before: bytes | None
    tail: bytes


def append(dest: Path, path: str, lines: list[str]) -> Appended:
    """Raises ValueError for a link: what it leads to may not be the project's."""
    file = dest / path
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise ValueError(f"{path} is not a plain file: add to it yourself {', '.join(lines)}")
    before = file.read_bytes() if file.exists() else None
    return Appended(path, lines, before, tail(before or b"", lines))


def tail(before: bytes, lines: list[str]) -> bytes:
    """After a last line without an end comes one line break, and then ours ends without one too."""
    encoding = encoding_of(before)
    text = before.decode(encoding, errors="replace")
    end = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    ended = not text or text.endswith(("\n", "\ufeff"))
    ours = end.join(lines) + end if ended else end + end.join(lines)
    return ours.encode(encoding)


def encoding_of(content: bytes) -> str:
    """UTF-16 by its mark; else anything that ASCII fits into, which ours is."""
    marks = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
    return marks.get(content[:2], "utf-8")


def variables(before: bytes, rendered: str, path: str, wanted: list[str]) -> list[str]:
    """The block for .env.example: *wanted* with what the rendered example says of each, but for those already there."""
    there = before.decode(encoding_of(before), errors="replace").lstrip("\ufeff")
    lacking = [name for name in wanted if not re.search(rf"(?m)^[\s#]*(?:export\s+)?{name}\s*=", there)]
    lines = [line for name in lacking for line in _of(rendered, name)]
    return [TITLE.format(file=path), *lines] if lines else []


def _of(rendered: str, name: str) -> list[str]:
    """The line of a variable, and the first of the comment above it."""
    lines = rendered.splitlines()
    at = next(index for index, line in enumerate(lines) if re.match(rf"(# )?{name}=", line))
    first = at
    while re.match(r"# (?!---|[A-Z_]+=)", lines[first - 1]):
        first -= 1
    return [lines[first], lines[at]] if first < at else [lines[at]]
