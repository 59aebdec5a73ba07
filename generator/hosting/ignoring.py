"""What a project's .gitignore files ignore, as git itself judges it, and the lines they lack.

Judged in a scratch repository laid over the files, so that neither the user's own excludes nor .git/info/exclude, which
his colleagues don't have, count.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ..git import asked, git

SECRETS, EXAMPLE, KEPT = ".env*", "!.env.example", ".speech/"


def top(dest: Path) -> Path:
    """The work tree that *dest* is in; *dest* itself where git knows nothing of it."""
    said = asked(dest, "rev-parse", "--show-toplevel")
    return Path(said.strip()) if said else dest.resolve()


def ignored(dest: Path, paths: Iterable[str]) -> set[str]:
    """Those of *paths* (below *dest*, which need not exist) that its .gitignore files ignore."""
    tree = top(dest)
    prefix = dest.resolve().relative_to(tree.resolve()).as_posix() + "/" if dest.resolve() != tree.resolve() else ""
    names = "".join(f"{prefix}{path}\0" for path in paths)
    with tempfile.TemporaryDirectory(prefix="copier-elevenlabs.") as scratch:
        git(Path(scratch), "init", "-q", "--template=", ".")
        over = (f"--git-dir={scratch}/.git", f"--work-tree={tree}", "-c", "core.excludesFile=")
        said = git(tree, *over, "check-ignore", "-z", "--stdin", stdin=names, no=1)
    return {path.removeprefix(prefix) for path in said.split("\0") if path}


def missing(dest: Path, package_dir: str, import_root: str) -> list[str]:
    """The lines to append to .gitignore; what it keeps out or lets in today stays so."""
    secrets = {f"{folder}{name}" for folder in ("", f"{package_dir}/") for name in (".env", ".env.local", ".env.prod")}
    examples = {".env.example", f"{package_dir}/speech/.env.example"}
    kept = {".speech/audio", f"{import_root}/.speech/audio".removeprefix("./")}
    now = ignored(dest, secrets | examples | kept)
    lines = []
    if not secrets <= now and SECRETS not in _lines(dest):
        lines = [SECRETS, EXAMPLE, *_exceptions(dest)]
    elif examples & now:
        lines = [EXAMPLE]
    return lines if kept <= now else [*lines, KEPT]


def _exceptions(dest: Path) -> Iterator[str]:
    """The last line that matches wins: what ``.env*`` would newly ignore has to be let in again after it."""
    lines = _lines(dest)
    yield from dict.fromkeys(line for line in lines if line.startswith("!") and ".env" in line and line != EXAMPLE)
    tracked = [path for path in (asked(dest, "ls-files", "-z") or "").split("\0") if ".env" in path]
    shared = {_of_env(path) for path in set(tracked) - ignored(dest, tracked)} - {"", ".env"}
    yield from sorted(f"!/{path}" for path in shared if not path.endswith(".env.example") and f"!{path}" not in lines)


def _lines(dest: Path) -> list[str]:
    file = dest / ".gitignore"
    return file.read_text("utf-8-sig", errors="replace").splitlines() if file.is_file() else []


def _of_env(path: str) -> str:
    """``.envoy`` of ``.envoy/a.yaml``: a file in a folder that is ignored can't be let in."""
    parts = PurePosixPath(path).parts
    first = next((index for index, part in enumerate(parts) if part.startswith(".env")), None)
    return "" if first is None else "/".join(parts[: first + 1])
