"""Files of ours that somebody moved: an update looks for them where they were rendered, and in vain."""

import itertools
from pathlib import PurePosixPath

from ..git import git, listed
from .project import Project


def moved(project: Project) -> dict[str, str]:
    """Old to new place, by folders where whole folders moved; as git remembers it, so only what was committed."""
    home = f"{project.home}/speech/"
    renames: dict[str, str] = {}
    places = {home}
    while places:
        step = dict(itertools.chain.from_iterable(renamed(project, commit) for commit in removals(project, *places)))
        places = {new for old, new in step.items() if old not in renames and not (project.folder / new).exists()}
        renames |= step
    found = {old: last(new, renames) for old, new in renames.items() if not (project.folder / old).exists()}
    return folded({o: n for o, n in found.items() if o.startswith(home) and (project.folder / n).exists()})


def removals(project: Project, *places: str) -> list[str]:
    """Commits that took files away from there, the oldest first."""
    log = git(project.folder, "log", "--diff-filter=D", "--no-renames", "--format=%H", "--reverse", "--", *places)
    return log.split()


def renamed(project: Project, commit: str) -> list[tuple[str, str]]:
    """Old and new names of one commit, as seen from the project's folder."""
    listing = ("diff-tree", "-r", "-m", "-z", "-M", "--diff-filter=R", "--name-status", "--no-commit-id", "--relative")
    fields = listed(project.folder, *listing, commit)
    return list(zip(fields[1::3], fields[2::3], strict=True))


def last(name: str, renames: dict[str, str]) -> str:
    """Where it is now."""
    seen = {name}
    while (onward := renames.get(name)) and onward not in seen:
        seen.add(name := onward)
    return name


def folded(moves: dict[str, str]) -> dict[str, str]:
    """Whole folders rather than each of their files."""
    return dict(sorted({parted(PurePosixPath(old), PurePosixPath(new)) for old, new in moves.items()}))


def parted(old: PurePosixPath, new: PurePosixPath) -> tuple[str, str]:
    """Both without the end that they have in common."""
    while old.name == new.name and old.parent.name and new.parent.name:
        old, new = old.parent, new.parent
    return str(old), str(new)
