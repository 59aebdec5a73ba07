"""Which tool keeps a project's dependencies: by its lock file, its table in pyproject.toml, its build backend, in that
order, in the nearest folder that has any."""

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm", "Pipfile": "Pipfile"}
BACKENDS = {"poetry": "poetry", "pdm": "pdm", "hatchling": "hatch", "setuptools": "setuptools", "uv_build": "uv"}
REQUIREMENTS = ("requirements.in", "requirements.txt", "requirements/base.txt")


class Kept(NamedTuple):
    """*kind* is poetry, uv, pdm, hatch, setuptools, pyproject (another backend), requirements.txt, setup.py, Pipfile
    or none; *folder* is where its file is, ``.`` for the project's own."""

    kind: str
    folder: str
    why: str
    names: frozenset[str]


def kept(root: Path, package_dir: str) -> Kept:
    """Of the package in *package_dir*, which may be a member of a workspace."""
    folders = [".", *(parent.as_posix() for parent in reversed(Path(package_dir).parents) if parent != Path("."))]
    for folder in reversed(folders):
        if kind := _kind(root / folder):
            return Kept(_of_workspace(root, folders, *kind), folder, kind[1], names(root / folder))
    return Kept("none", ".", "no file of dependencies", frozenset())


def _kind(folder: Path) -> tuple[str, str] | None:
    """The kind and the reason, if this folder has any."""
    lock = next((name for name in LOCKS if (folder / name).is_file()), None)
    if lock:
        return LOCKS[lock], lock
    pyproject = read(folder / "pyproject.toml")
    tools, backend = pyproject.get("tool", {}), str(pyproject.get("build-system", {}).get("build-backend", ""))
    if table := next((name for name in ("uv", "poetry", "pdm") if _declares(pyproject, name)), None):
        return table, f"[tool.{table}] in pyproject.toml"
    required = next((name for name in REQUIREMENTS if (folder / name).is_file()), None)
    project = pyproject.get("project", {})
    if "dependencies" in project or (project and not required and not project.get("dynamic")):
        kind = next((kind for name, kind in BACKENDS.items() if backend.startswith(name)), "pyproject")
        kind = "hatch" if "hatch" in tools else kind if backend else "setuptools"
        return kind, f"[project] in pyproject.toml, built by {backend or 'setuptools'}"
    if required:
        return "requirements.txt", required
    if "options" in _sections(folder / "setup.cfg"):
        return "setuptools", "setup.cfg"
    if (folder / "setup.py").is_file():
        return "setup.py", "setup.py"
    return ("setuptools", "[project] in pyproject.toml") if project else None


def _declares(pyproject: dict[str, Any], tool: str) -> bool:
    """``[tool.poetry]`` holds a project by itself; the others only say how ``[project]`` is worked on."""
    return tool in pyproject.get("tool", {}) and (tool == "poetry" or "project" in pyproject)


def _of_workspace(root: Path, folders: list[str], kind: str, why: str) -> str:
    """A member's own pyproject.toml, but the lock of the workspace above it."""
    above = [*(root / folder for folder in folders), *_above(root.resolve())]
    locked = next((LOCKS[n] for n in LOCKS for f in above if n != "Pipfile" and (f / n).is_file()), None)
    return locked if locked and "pyproject" in why else kind


def _above(root: Path) -> list[Path]:
    """Up to the top of the repository that *root* is a part of."""
    folders = [root, *root.parents]
    top = next((index for index, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    return folders[1 : top + 1]


def setuptools_file(folder: Path) -> str:
    """Where setuptools, if it builds this project, is told of package data, which it leaves out of a wheel by default;
    else empty."""
    pyproject = read(folder / "pyproject.toml")
    backend = str(pyproject.get("build-system", {}).get("build-backend", ""))
    if backend and not backend.startswith("setuptools"):
        return ""
    if "options" in _sections(folder / "setup.cfg"):
        return "setup.cfg"
    if backend and "project" in pyproject:
        return "pyproject.toml"
    return "setup.py" if (folder / "setup.py").is_file() else ""


def read(pyproject: Path) -> dict[str, Any]:
    """Empty for a file that is not there or is not TOML."""
    try:
        return tomllib.loads(pyproject.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}


def _sections(cfg: Path) -> list[str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(cfg, "utf-8")
    except (configparser.Error, ValueError):
        return []
    return parser.sections()


def names(folder: Path) -> frozenset[str]:
    """What the files of *folder* require, by name, in lower case."""
    pyproject = read(folder / "pyproject.toml")
    project, poetry = pyproject.get("project", {}), pyproject.get("tool", {}).get("poetry", {})
    lines = [*project.get("dependencies", ()), *poetry.get("dependencies", ())]
    lines += _lines(folder / "requirements.txt") + _lines(folder / "setup.cfg") + _lines(folder / "Pipfile")
    return frozenset(found[0].lower() for line in lines if (found := re.match(r"\s*([A-Za-z0-9._-]+)", line)))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
