"""An update as it was previewed: all of it, or none."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..changes import File, read
from ..git import git, listed
from .preview import Preview
from .scratch import head


def apply(what: Preview) -> None:
    """Bring every file, and the index where there are conflicts, to what was previewed.

    Whatever stops it, Ctrl-C too, leaves files and index as they were.  Raises ValueError where the project is not what
    it was when the preview was made.
    """
    folder = what.project.folder
    refuse_what_changed(what)
    index = folder / git(folder, "rev-parse", "--git-path", "index").rstrip("\n")
    with all_or_nothing([*(folder / change.path for change in what.changes), index]):
        for change in what.changes:
            put(folder / change.path, change.after, below=folder)
        if what.stages:
            git(what.project.top, "update-index", "-z", "--index-info", stdin=what.stages)


def refuse_what_changed(what: Preview) -> None:
    """Somebody may have worked on while the question stood there."""
    folder = what.project.folder
    same = all(read(folder / change.path) == change.before for change in what.changes)
    if not same or head(folder) != what.head or listed(folder, "status", "--porcelain", "-z", "--", "."):
        raise ValueError("the project has changed since the preview: nothing was written, start again")


class Kept(NamedTuple):
    """A path as it was."""

    file: File | None
    permissions: int


@contextmanager
def all_or_nothing(paths: Iterable[Path]) -> Iterator[None]:
    """Whatever stops the block, what is at *paths* is as it was before."""
    before = {path: Kept(read(path), permissions(path)) for path in paths}
    missing = {folder for path in before for folder in path.parents if not folder.exists()}
    try:
        yield
    except BaseException:
        with undisturbed():
            for path, kept in before.items():
                restore(path, kept)
            for folder in sorted(missing, reverse=True):
                with suppress(OSError):
                    folder.rmdir()
        raise


def permissions(path: Path) -> int:
    return path.lstat().st_mode & 0o7777 if os.path.lexists(path) else 0


def restore(path: Path, kept: Kept) -> None:
    if read(path) != kept.file:
        put(path, kept.file, below=path.parent)
    if kept.file and kept.file.mode != "120000" and permissions(path) != kept.permissions:
        path.chmod(kept.permissions)


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not stop the undoing of what the first one stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def put(path: Path, file: File | None, *, below: Path) -> None:
    """Make *path* that file, in one step; without one it goes, and folders that it leaves empty up to *below*."""
    if file is None:
        path.unlink(missing_ok=True)
        prune(path.parent, below)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if file.mode == "120000":
            os.symlink(os.fsdecode(file.content), staged)
        else:
            write(staged, file, like=path)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def write(staged: Path, file: File, *, like: Path) -> None:
    """With the permissions of the one that it replaces, but for who may run it."""
    staged.write_bytes(file.content)
    usual = (permissions(like) if like.is_file() and not like.is_symlink() else staged.stat().st_mode) & 0o777
    readable = (usual & 0o444) >> 2
    staged.chmod(usual | readable if file.mode == "100755" else usual & ~0o111)


def prune(folder: Path, below: Path) -> None:
    while folder != below and below in folder.parents and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
