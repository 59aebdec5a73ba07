"""Where the next state of the template is taken from."""

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from ..git import git, succeeds
from ..source import ADDRESS, SOURCE, here, is_shallow
from .project import Project


class Origin(NamedTuple):
    address: str
    ref: str | None
    """What is updated to; None is the newest release, as everywhere in Copier."""
    lost: str | None = None
    """What the project records, where that is not to be reached any more."""


class Held(NamedTuple):
    """What this copier-elevenlabs knows of a commit of the template."""

    version: str
    """Of what it would render now."""
    known: bool
    newest: bool


def origin(project: Project, *, unasked: bool) -> Origin:
    """The recorded place if it can be reached, else this very copier-elevenlabs.  Call it inside `offline`.

    A path that is gone will not come back; an address may, tomorrow.  So without a person to ask (*unasked*) that is a
    ValueError: the project may come of a fork.
    """
    source = as_address(project.source)
    if source == ADDRESS:
        return Origin(project.source, "HEAD")
    if succeeds(project.folder, "ls-remote", "-q", "--", source, "HEAD"):
        return Origin(project.source, None)
    if unasked and not is_path(source):
        raise ValueError(f"{project.source} does not answer; without --yes you are asked whether to leave it")
    return Origin(SOURCE, "HEAD", lost=project.source)


def as_address(source: str) -> str:
    """Copier's short forms in full."""
    source = re.sub(r"^gh:/?(.*?)(\.git)?/?$", r"https://github.com/\1.git", source)
    source = re.sub(r"^gl:/?(.*?)(\.git)?/?$", r"https://gitlab.com/\1.git", source)
    source = re.sub(r"^(https://git(?:hub|lab)\.com/.*?)(\.git)?/?$", r"\1.git", source)
    return str(Path(source).expanduser()) if source.startswith("~") else source.removeprefix("git+")


def is_path(source: str) -> bool:
    """A place on this machine, not on the network."""
    return not re.match(r"[a-z+]+:|[^/]+@[^/]+:", source)


def held(commit: str) -> Held:
    """What is here, asked in a clone: a bundle answers no questions."""
    with tempfile.TemporaryDirectory(prefix="copier-elevenlabs.") as scratch:
        clone = Path(scratch)
        git(clone, "clone", "-q", "--bare", str(here()), ".")
        version = git(clone, "describe", "--tags", "--always").strip()
        known = succeeds(clone, "rev-parse", "-q", "--verify", f"{commit}^{{commit}}")
        older = known and commit != version and not succeeds(clone, "merge-base", "--is-ancestor", commit, "HEAD")
        return Held(version, known and not older, commit == version)


def check(project: Project, place: Origin, holds: Held) -> None:
    """Raises ValueError where the project is ahead of what is here."""
    if not holds.known:
        lost = f"{place.lost} is not to be reached, and " if place.lost else ""
        mend = "this is a shallow clone, git fetch --unshallow --tags" if is_shallow() else "upgrade it"
        raise ValueError(
            f"{lost}this project comes of {project.commit}, this copier-elevenlabs holds {holds.version}: {mend}"
        )
