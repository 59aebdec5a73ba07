"""Copier's work, in process: the only module that imports it.  Only committed states of the template are rendered."""

import shutil
import warnings
from pathlib import Path
from typing import Any

from .source import SOURCE, offline


def read(answers: Path) -> dict[str, Any]:
    """The answers of a YAML file, be it one that Copier recorded: what is not an answer there is left out."""
    import yaml

    try:
        loaded = yaml.safe_load(answers.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"{answers} is not a YAML file") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{answers} does not hold answers, such as pricing_tier: pro")
    return {str(name): value for name, value in loaded.items() if not str(name).startswith("_") and name != "born"}


def render(dest: Path, answers: dict[str, Any], *, ask: bool, quiet: bool) -> dict[str, Any]:
    """Render into *dest*, wholly or not at all."""
    refuse_what_is_there(dest)
    kept = set(dest.iterdir()) if dest.exists() else None
    made = next((parent for parent in reversed((dest, *dest.parents)) if not parent.exists()), dest)
    try:
        with offline(), warnings.catch_warnings(action="ignore"):
            import copier

            worker = copier.run_copy(SOURCE, dest, data=answers, vcs_ref="HEAD", defaults=not ask, quiet=quiet)
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


def refuse_what_is_there(dest: Path) -> None:
    """Copier would stop at the first file that differs, with half of its own already written."""
    if dest.exists() and not dest.is_dir():
        raise ValueError(f"{dest} is a file")
    there = sorted(f.name for f in dest.iterdir() if f.name != ".git") if dest.exists() else []
    if there:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        hint = f"for a project that exists: copier-elevenlabs add {dest}"
        raise ValueError(f"{dest} is not empty ({', '.join(there[:3])}{more}); {hint}")
