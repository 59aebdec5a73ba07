"""Copier's work, in process: the only module that imports it.  Only committed states of the template are rendered."""

import shutil
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from .changes import Change, File, between, tree
from .source import SOURCE, offline


def load(answers: Path) -> dict[str, Any]:
    """All that a YAML file of answers says, what Copier recorded beside them too."""
    import yaml

    try:
        loaded = yaml.safe_load(answers.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"{answers} is not a YAML file") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{answers} does not hold answers, such as pricing_tier: pro")
    return {str(name): value for name, value in loaded.items()}


def read(answers: Path) -> dict[str, Any]:
    """The answers of a YAML file, be it one that Copier recorded: what is not an answer there is left out."""
    return {name: value for name, value in load(answers).items() if not name.startswith("_") and name != "born"}


def render(dest: Path, answers: dict[str, Any], *, ask: bool, quiet: bool) -> dict[str, Any]:
    """Render into *dest*, wholly or not at all."""
    refuse_what_is_there(dest)
    kept = set(dest.iterdir()) if dest.exists() else None
    made = next((parent for parent in reversed((dest, *dest.parents)) if not parent.exists()), dest)
    try:
        with offline(), warnings.catch_warnings(action="ignore"):
            worker = copier().run_copy(SOURCE, dest, data=answers, vcs_ref="HEAD", defaults=not ask, quiet=quiet)
    except BaseException:
        for leftover in [made] if kept is None else set(dest.iterdir()) - kept:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        raise
    files = sorted(
        f.relative_to(dest).as_posix()
        for f in dest.rglob("*")
        if f.is_file() and ".git" not in f.relative_to(dest).parts
    )
    return {
        "path": str(dest.resolve()),
        "version": worker.template.commit,
        "answers": read(dest / worker.answers_relpath),
        "files": files,
    }


def rehearse(dest: Path, answers: dict[str, Any], *, ask: bool) -> tuple[dict[str, Any], list[Change]]:
    """What `render` would say, and what it would write; *dest* is only looked at."""
    refuse_what_is_there(dest)
    with tempfile.TemporaryDirectory(prefix="copier-elevenlabs.") as scratch:
        copy = Path(scratch, dest.resolve().name)  # a default may follow the folder's name
        rendered = render(copy, answers, ask=ask, quiet=True)
        return rendered | {"path": str(dest.resolve())}, between(dest, copy, rendered["files"])


def as_recorded(address: str, commit: str, answers: Mapping[str, Any]) -> dict[str, File]:
    """What the template rendered then: *answers* as recorded, `born` among them.  Call it inside `offline`."""
    with tempfile.TemporaryDirectory(prefix="copier-elevenlabs.") as scratch, warnings.catch_warnings(action="ignore"):
        copier().run_copy(address, scratch, data=dict(answers), vcs_ref=commit, defaults=True, quiet=True)
        return tree(Path(scratch))


def update(project: Path, answers_file: str, answers: dict[str, Any], *, ref: str | None) -> None:
    """What `copier update --defaults` does, to the newest release, or to *ref*.  Call it inside `offline`.

    Where the project is ahead of that, its own state is answered anew; without *answers* that is a ValueError.
    """
    with warnings.catch_warnings(action="ignore"):
        say: dict[str, Any] = {"answers_file": answers_file, "data": answers, "defaults": True}
        try:
            copier().run_update(project, vcs_ref=ref, overwrite=True, quiet=True, **say)
        except Exception as error:
            if "downgrading" not in str(error):
                raise
            if not answers:
                raise ValueError(
                    f"nothing newer to update to: {str(error).removesuffix(' Downgrades are not supported.')}"
                ) from None
            copier().run_update(project, vcs_ref=copier().VcsRef.CURRENT, overwrite=True, quiet=True, **say)


def copier() -> ModuleType:
    """Imported late, for it takes most of a second; and made to do its work once, for an update renders three times."""
    import copier
    import jinja2
    import yaml

    if hasattr(yaml, "CSafeLoader"):  # the catalogue's YAML is a third of a render
        yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[assignment, misc]
    if not hasattr(jinja2.Environment.compile, "cache_info"):  # it compiles every part of every path anew: a third too
        jinja2.Environment.compile = cache(jinja2.Environment.compile)  # type: ignore[assignment]
    return copier


def refuse_what_is_there(dest: Path) -> None:
    """Copier would stop at the first file that differs, with half of its own already written."""
    if dest.exists() and not dest.is_dir():
        raise ValueError(f"{dest} is a file")
    there = sorted(f.name for f in dest.iterdir() if f.name != ".git") if dest.exists() else []
    if there:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        hint = f"for a project that exists: copier-elevenlabs add {dest}"
        raise ValueError(f"{dest} is not empty ({', '.join(there[:3])}{more}); {hint}")
