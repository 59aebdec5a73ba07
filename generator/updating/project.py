"""Which project is updated, and whether it may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..copying import load
from ..git import git, listed, succeeds

PATTERN = ".copier-answers*.y*ml"
OURS = {"pricing_tier", "framework", "cache_backend", "born"}


class Project(NamedTuple):
    """A folder that this template rendered, or rendered into."""

    top: Path
    """Of the repository."""
    folder: Path
    answers_file: str
    recorded: Mapping[str, Any]
    """All that the answers file says."""

    @property
    def inside(self) -> str:
        """The folder, as seen from the repository's top."""
        return self.folder.relative_to(self.top).as_posix()

    @property
    def source(self) -> str:
        return str(self.recorded["_src_path"])

    @property
    def commit(self) -> str:
        return str(self.recorded["_commit"])

    @property
    def home(self) -> str:
        """The folder of the Python package that speech/ is in, as seen from the project's."""
        return str(self.recorded["born"]).split()[1]


def find(dest: Path) -> Project:
    """The project in *dest*.  Raises ValueError where there is none of ours, or none that may be updated now."""
    if not dest.is_dir():
        raise ValueError(f"{dest} is not a folder")
    folder = dest.resolve()
    name, recorded = ours_in(folder, dest)
    if not succeeds(folder, "rev-parse", "--is-inside-work-tree"):
        raise ValueError(f"{dest} is not under git: git init, git add -A and git commit first, so that you can go back")
    if not succeeds(folder, "rev-parse", "-q", "--verify", "HEAD"):
        raise ValueError(f"nothing is committed in {dest} yet: commit first, so that you can go back")
    if missing := {"_src_path", "_commit"} - recorded.keys():
        raise ValueError(f"{dest / name} records no {min(missing)}: it was not rendered from a git repository")
    refuse_what_is_open(folder, dest, name)
    return Project(Path(git(folder, "rev-parse", "--show-toplevel").rstrip("\n")).resolve(), folder, name, recorded)


def ours_in(folder: Path, dest: Path) -> tuple[str, dict[str, Any]]:
    """Name and content of our answers file; other templates have theirs beside it."""
    every = {path.name: load(path) for path in sorted(folder.glob(PATTERN))}
    ours = {name: recorded for name, recorded in every.items() if recorded.keys() >= OURS}
    if len(ours) > 1:
        raise ValueError(f"{' and '.join(ours)} in {dest} are both ours: say which by copier update -a")
    if not ours:
        raise ValueError(not_ours(folder, dest, every))
    return next(iter(ours.items()))


def not_ours(folder: Path, dest: Path, every: Mapping[str, dict[str, Any]]) -> str:
    """Why there is nothing to update, and what to say instead."""
    near = [found for found in elsewhere(folder) if load(found).keys() >= OURS]
    if near:
        return (
            f"nothing of ours right in {dest}; say copier-elevenlabs update {' or '.join(str(f.parent) for f in near)}"
        )
    if every:
        source = next(iter(every.values())).get("_src_path", "another template")
        return f"{dest} comes of {source}, not of this template; copier-elevenlabs add {dest} adds ours"
    return f"{dest} was not rendered by this template; copier-elevenlabs add {dest} adds it"


def elsewhere(folder: Path) -> list[Path]:
    """Answers files of the same repository."""
    if not succeeds(folder, "rev-parse", "--is-inside-work-tree"):
        return []
    top = Path(git(folder, "rev-parse", "--show-toplevel").rstrip("\n"))
    return [top / name for name in listed(top, "ls-files", "-z", "--", f":(glob)**/{PATTERN}") if (top / name).exists()]


def refuse_what_is_open(folder: Path, dest: Path, answers_file: str) -> None:
    """An update on top of uncommitted changes could not be told from them, nor undone without them."""
    lines = listed(folder, "status", "--porcelain", "--no-renames", "-uall", "-z", "--", ".")
    if any("U" in line[:2] or line[:2] in ("AA", "DD") for line in lines):
        raise ValueError(f"{dest} has unresolved conflicts ({some(lines)}): resolve and commit them first")
    if lines:
        raise ValueError(f"{dest} has uncommitted changes ({some(lines)}): commit or stash them first")
    if not succeeds(folder, "ls-files", "--error-unmatch", "--", answers_file):
        raise ValueError(f"{dest / answers_file} is ignored by git: git add -f it and commit")


def some(status: list[str]) -> str:
    more = f" and {len(status) - 3} more" if len(status) > 3 else ""
    return ", ".join(line[3:] for line in status[:3]) + more
