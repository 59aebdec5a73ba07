"""What an update would do, found out by doing it beside the project."""

import json
from collections.abc import Callable, Mapping
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .. import copying
from ..changes import Change, File
from ..manifest import NAME, digest
from ..source import offline
from . import scratch
from .moves import moved
from .origin import Origin, check, held, origin
from .project import Project, find

Rendered = Callable[[], Mapping[str, File]]


class Answer(NamedTuple):
    """One answer before and after; None is a question that was not asked then, or is not any more."""

    before: Any
    after: Any


class Preview(NamedTuple):
    """All that an update is, in memory: nothing is left to be found out when it is applied."""

    project: Project
    version: str
    """Of the template, afterwards."""
    lost: str | None
    """The recorded source, where it is rewritten because it can't be reached."""
    changes: list[Change]
    edited: list[str]
    """Removed, though they are not as the template rendered them."""
    conflicts: list[str]
    stages: str
    answers: dict[str, Answer]
    """All that differ."""
    reset: dict[str, Answer]
    """Those among them that were recorded and that nobody gave anew."""
    moved: dict[str, str]
    head: str
    """What was committed when this was found out."""


def foresee(dest: Path, given: dict[str, Any], *, unasked: bool = False) -> Preview:
    """What an update with these answers would do to the project in *dest*.

    Raises ValueError where there is none that may be updated, or where it is ahead of what is here; and whatever
    Copier and git have against it.
    """
    project = find(dest)
    with offline(), chdir(project.folder):  # a relative source counts from there, as for `copier update`
        place = origin(project, unasked=unasked)
        if place.ref:
            holds = held(project.commit)
            check(project, place, holds)
            if holds.newest and not given and not place.lost:
                return Preview(project, project.commit, None, [], [], [], "", {}, {}, {}, "")
        return preview(project, given, place)


def preview(project: Project, given: dict[str, Any], place: Origin) -> Preview:
    """Update what is committed, in a scratch worktree; the project is only looked at."""

    @cache
    def rendered() -> Mapping[str, File]:
        return copying.as_recorded(place.address, project.commit, answers_of(project.recorded))

    head = scratch.head(project.folder)
    with scratch.worktree(project) as folder:
        scratch.prepare(folder, project, place, rendered)
        copying.update(folder, project.answers_file, given, ref=place.ref)
        recorded = copying.load(folder / project.answers_file)
        changes = scratch.changes(folder, project, head)
        conflicts, stages = scratch.conflicts(folder), scratch.unmerged(folder, project)
    answers = differing(answers_of(project.recorded), answers_of(recorded))
    reset = {name: a for name, a in answers.items() if name not in given and a.before is not None}
    return Preview(
        project=project,
        version=str(recorded["_commit"]),
        lost=place.lost,
        changes=changes,
        edited=edited(project, changes, rendered),
        conflicts=conflicts,
        stages=stages,
        answers=answers,
        reset=reset,
        moved=moved(project) if lacks_some(project) else {},
        head=head,
    )


def answers_of(recorded: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recorded.items() if not name.startswith("_")}


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Answer]:
    pairs = {name: Answer(before.get(name), after.get(name)) for name in [*before, *after]}
    return {name: pair for name, pair in pairs.items() if pair.before != pair.after}


def edited(project: Project, changes: list[Change], rendered: Rendered) -> list[str]:
    """Of the files that go, those that hold somebody's work.  MANIFEST clears most; only the rest needs a render."""
    speech = f"{project.home}/speech/"
    hashes = manifest(project)
    going = [(c.path, c.before.content) for c in changes if c.before and not c.after]
    unclear = [(path, content) for path, content in going if hashes.get(path.removeprefix(speech)) != digest(content)]
    return [path for path, content in unclear if not is_rendered(path, content, rendered)]


def is_rendered(path: str, content: bytes, rendered: Rendered) -> bool:
    then = rendered().get(path)
    return then is not None and digest(then.content) == digest(content)


def lacks_some(project: Project) -> bool:
    """Whether files of speech/ are not where they were rendered; asking git where they are can take long."""
    speech = project.folder / project.home / "speech"
    return not all((speech / name).exists() for name in (NAME, *manifest(project)))


def manifest(project: Project) -> dict[str, str]:
    """Hashes of the plain files of speech/ by path; nothing where it is gone or broken."""
    try:
        found = json.loads((project.folder / project.home / "speech" / NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
