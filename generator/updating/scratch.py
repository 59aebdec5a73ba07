"""A scratch worktree of the project's repository: an update is tried there, and read off."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..changes import Change, File, between
from ..git import git, listed, succeeds
from ..source import SOURCE
from .origin import Origin
from .project import Project

WE = ("-c", "user.name=copier-elevenlabs", "-c", "user.email=copier-elevenlabs@localhost")


@contextmanager
def worktree(project: Project) -> Iterator[Path]:
    """What is committed, checked out somewhere else, and gone afterwards: the project's folder in it."""
    with tempfile.TemporaryDirectory(prefix="copier-elevenlabs.") as scratch:
        top = Path(scratch).resolve() / project.top.name
        try:
            git(project.top, "worktree", "add", "-q", "--detach", str(top), "HEAD")
            yield top / project.inside
        finally:
            succeeds(project.top, "worktree", "remove", "--force", str(top))


def prepare(folder: Path, project: Project, place: Origin, rendered: Callable[[], Mapping[str, File]]) -> None:
    """Bring in what an update has to know and no commit of the project says; committed in *folder* alone."""
    if place.lost:
        rewrite_source(folder / project.answers_file)
    names = ignored(project)
    ours = [name for name in names if name in rendered()] if names else []
    for name in ours:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project.folder / name, folder / name)
    if ours or place.lost:
        git(folder, "add", "-f", "--", project.answers_file, *ours)
        git(folder, *WE, "commit", "-q", "--no-verify", "-m", "what an update stands on")


def rewrite_source(answers_file: Path) -> None:
    """Only that entry, be it folded over several lines: the rest is Copier's own writing."""
    written = answers_file.read_text("utf-8")
    answers_file.write_text(re.sub(r"(?m)^_src_path:.*\n(?:[ \t].*\n)*", f"_src_path: {SOURCE}\n", written), "utf-8")


def ignored(project: Project) -> list[str]:
    """Files in our folders that git is told to ignore: it can't tell which of them the template rendered."""
    places = (f"{project.home}/speech", "tests/speech", ".env.example", ".gitignore")
    names = listed(project.folder, "ls-files", "-oi", "--exclude-standard", "-z", "--", *places)
    return [name for name in names if not name.endswith(".pyc") and "/.speech/" not in name]


def changes(folder: Path, project: Project, head: str) -> list[Change]:
    """What the update made of *folder*, against the project's own files."""
    names = listed(folder, "diff", "--name-only", "--no-renames", "--relative", "-z", head, "--", ".")
    found = between(project.folder, folder, [*names, *listed(folder, "ls-files", "-oz", "--", ".")])
    refuse_what_is_in_the_way(folder, found)
    return found


def refuse_what_is_in_the_way(folder: Path, found: Iterable[Change]) -> None:
    """What git ignores, git can't bring back."""
    new = set(listed(folder, "ls-files", "-oz", "--", "."))
    for change in found:
        if change.before and change.path in new:
            raise ValueError(f"{change.path} is ignored by git, and in the way of a new file: move it elsewhere")


def conflicts(folder: Path) -> list[str]:
    """Files that have conflict markers now."""
    return sorted(set(listed(folder, "diff", "--name-only", "--relative", "--diff-filter=U", "-z", "--", ".")))


def unmerged(folder: Path, project: Project) -> str:
    """What `git update-index --index-info` takes, so that git status knows of the conflicts too."""
    tracked = set(listed(project.top, "ls-files", "-z", "--full-name"))
    stages = [entry.split("\t") for entry in listed(folder, "ls-files", "-uz", "--full-name", "--", ".")]
    known = [(entry, path) for entry, path in stages if path in tracked]
    gone = [f"0 {'0' * 40}\t{path}" for path in dict.fromkeys(path for _, path in known)]
    return "".join(f"{line}\0" for line in [*gone, *(f"{entry}\t{path}" for entry, path in known)])


def head(where: Path) -> str:
    return git(where, "rev-parse", "HEAD").strip()
