"""What differs between two folders: files added, changed, removed, and how.

The diff is the one that ``git apply`` takes: every byte of a line is in it, a carriage return and a missing final
newline too, modes and links as Git writes them, and what is not text by its name alone.
"""

import difflib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["added", "changed", "removed"]


class File(NamedTuple):
    """What Git knows of a file: its bytes (of a link: where it leads) and its mode."""

    content: bytes
    mode: str = "100644"


class Change(NamedTuple):
    """One path, with forward slashes, before and after; None is no file."""

    path: str
    before: File | None
    after: File | None

    @property
    def kind(self) -> Kind:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def read(path: Path) -> File | None:
    """The file or link there; None where there is neither."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return File(os.fsencode(os.readlink(path)), "120000")
    if not stat.S_ISREG(mode):
        return None
    return File(path.read_bytes(), "100755" if mode & stat.S_IXUSR else "100644")


def tree(root: Path) -> dict[str, File]:
    """All files below *root* by path, but for Git's own."""
    found: dict[str, File] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if ".git" not in name.parts and (file := read(path)):
            found[name.as_posix()] = file
    return found


def between(old: Path, new: Path, names: Iterable[str]) -> list[Change]:
    """What becomes of *names* from one folder to the other, in order; what stays the same is left out."""
    pairs = [(name, read(old / name), read(new / name)) for name in sorted(set(names))]
    return [Change(*pair) for pair in pairs if pair[1] != pair[2]]


def unified(change: Change) -> str:
    """As ``git diff`` says it; bytes that are not UTF-8 are kept as surrogates, for an output that escapes them so."""
    return "".join([*_head(change), *_body(change)])


def count(change: Change) -> tuple[int, int]:
    """Lines added and removed."""
    lines = [line[0] for line in _body(change)][2:]
    return lines.count("+"), lines.count("-")


def _head(change: Change) -> Iterator[str]:
    yield f"diff --git {_quoted('a/', change.path)} {_quoted('b/', change.path)}\n"
    match change.before, change.after:
        case None, File(mode=mode):
            yield f"new file mode {mode}\n"
        case File(mode=mode), None:
            yield f"deleted file mode {mode}\n"
        case File(mode=old), File(mode=new) if old != new:
            yield f"old mode {old}\nnew mode {new}\n"


def _body(change: Change) -> Iterator[str]:
    before, after = (file.content if file else b"" for file in change[1:])
    if before == after:
        return
    old = _quoted("a/", change.path) if change.before else "/dev/null"
    new = _quoted("b/", change.path) if change.after else "/dev/null"
    if is_binary(before) or is_binary(after):
        yield f"Binary files {old} and {new} differ\n"
        return
    for line in difflib.unified_diff(_lines(before), _lines(after), old, new):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def is_binary(content: bytes) -> bool:
    """By Git's own test."""
    return b"\0" in content[:8000]


def _lines(content: bytes) -> list[str]:
    """By line feeds alone: a lone carriage return or a form feed ends no line for Git either."""
    return re.findall(r"[^\n]*\n|[^\n]+", content.decode("utf-8", "surrogateescape"))


def _quoted(prefix: str, path: str) -> str:
    """A path that a patch could misread stands in quotes, as Git writes it."""
    if not re.search(r'["\\\x00-\x1f\x7f]', path):
        return prefix + path
    escaped = re.sub(r'["\\]', r"\\\g<0>", path)
    return '"' + prefix + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\{ord(c[0]):03o}", escaped) + '"'
