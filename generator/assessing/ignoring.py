"""Which files are the project's: Git's own answer where there is a repository, else its rules by pathspec."""

import os
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

from ..git import asked

TOOLS = set(
    ".eggs .git .hg .hypothesis .idea .mypy_cache .nox .pytest_cache .ruff_cache .svn .tox .venv __pycache__ _vendor"
    " build dist node_modules site-packages third_party vendor vendored venv".split()
)


def git(root: Path, *argv: str) -> list[str] | None:
    """Git's answer, which ends each name with a NUL; None where it has none."""
    try:
        said = asked(root, *argv)
    except (OSError, ValueError):
        return None
    return None if said is None else [name for name in said.split("\0") if name]


def tracked(root: Path) -> set[str] | None:
    """What Git tracks below *root*; None where *root* is no part of a repository, or a part that it ignores."""
    names = git(root, "ls-files", "-z")
    if names is None or (not names and git(root, "check-ignore", "--", ".")):
        return None
    return set(names)


def ignored(root: Path, name: str) -> bool:
    """Would ``git add .`` leave *name* alone?  The file need not be there."""
    if tracked(root) is not None:
        return bool(git(root, "check-ignore", "--no-index", "--", name))  # -z is for --stdin alone
    return spec_ignores(root, name, {})


def listing(root: Path) -> Iterator[str]:
    """Every file below *root* that is the project's own, as a path relative to it with slashes."""
    known = tracked(root)
    if known is None:
        yield from walk(root)
        return
    untracked = git(root, "ls-files", "-z", "--others", "--exclude-standard") or []
    unwanted: dict[str, bool] = {}
    for name in sorted(known.union(untracked)):
        if name.endswith("/"):  # a repository of its own
            yield from (name + inner for inner in walk(root / name))
        elif not is_tools(root, name.rpartition("/")[0], unwanted):
            yield name


def is_tools(root: Path, folder: str, known: dict[str, bool]) -> bool:
    """Is *folder* in an environment, a cache, a build or somebody else's code?"""
    if not folder:
        return False
    if folder not in known:
        parent, _, last = folder.rpartition("/")
        here = last in TOOLS or os.path.exists(os.path.join(root, folder, "pyvenv.cfg"))
        known[folder] = here or is_tools(root, parent, known)
    return known[folder]


def walk(root: Path) -> Iterator[str]:
    """As Git would list it, without Git; symbolic links to folders are not followed, so there is no way round."""
    specs: dict[str, GitIgnoreSpec | None] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError:
            continue
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name in TOOLS or spec_ignores(root, name, specs, folder=entry.is_dir(follow_symlinks=False)):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)
            elif not entry.is_symlink() or os.path.isfile(entry.path):
                yield name


def spec_ignores(root: Path, name: str, specs: dict[str, GitIgnoreSpec | None], *, folder: bool = False) -> bool:
    """The .gitignore nearest to the file that says something decides."""
    parts = name.split("/")
    for depth in range(len(parts) - 1, -1, -1):
        above = "/".join(parts[:depth])
        if above not in specs:
            specs[above] = read_spec(root / above / ".gitignore")
        if spec := specs[above]:
            said = spec.check_file("/".join(parts[depth:]) + ("/" if folder else "")).include
            if said is not None:
                return said
    return False


def read_spec(file: Path) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines(file.read_text("utf-8", "replace").splitlines())
    except (OSError, ValueError):
        return None
