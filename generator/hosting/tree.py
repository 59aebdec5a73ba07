"""A project's Python files and packages, found without following links and without what tools keep there."""

import ast
import os
import re
import warnings
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath

SKIPPED = {"__pycache__", "build", "dist", "node_modules", "site-packages", "vendor", "venv", "env"}
ASIDE = {"benchmarks", "demo", "docs", "docs_src", "example", "examples", "ops", "samples", "scripts"}
TESTS = re.compile(r"tests?|testing|conftest\.py|test_.*|.*_tests?\.py")
PACKAGE_DIR = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z_][A-Za-z0-9_]*")  # as copier.yml has it
LARGEST = 1_000_000


def python_files(root: Path) -> list[str]:
    """Paths below *root*, with slashes, in order of depth and name."""
    return sorted(_python_files(root, ""), key=lambda path: (path.count("/"), path))


def _python_files(folder: Path, prefix: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # not ours to read
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not _is_skipped(entry):
                yield from _python_files(Path(entry), f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
            yield prefix + entry.name


def _is_skipped(entry: "os.DirEntry[str]") -> bool:
    return entry.name in SKIPPED or entry.name.startswith(".") or os.path.exists(os.path.join(entry, "pyvenv.cfg"))


def parsed(file: Path, words: Set[bytes]) -> ast.Module | None:
    """The syntax of *file* if it holds one of *words*; None for what no Python of today reads."""
    try:
        content = file.read_bytes() if file.stat().st_size <= LARGEST else b""
        if not any(word in content for word in words):
            return None
        with warnings.catch_warnings(action="ignore"):  # of the project's own escapes
            return ast.parse(content)  # bytes: it minds the coding line
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def by_weight(files: list[str]) -> tuple[list[str], list[str]]:
    """The project proper; then with examples and the like, for where there is nothing else.  Never tests."""
    untested = [path for path in files if not any(TESTS.fullmatch(part) for part in path.split("/"))]
    return [path for path in untested if not ASIDE & set(path.split("/"))], untested


def packages(files: list[str]) -> list[str]:
    """Folders that imports start at: with an ``__init__.py``, below a folder without one."""
    folders = {path.rpartition("/")[0] for path in files if path.endswith("/__init__.py")}
    tops = [folder for folder in folders if folder.rpartition("/")[0] not in folders]
    return sorted(folder for folder in tops if is_allowed(folder))


def folders(files: list[str]) -> list[str]:
    """Where modules lie that are in no package: somebody may import them as one."""
    return sorted({folder for path in files if (folder := path.rpartition("/")[0]) and is_allowed(folder)})


def package_of(path: str, files: Set[str]) -> str | None:
    """The top package that holds *path*, or None for a module that is in no package."""
    top = None
    for folder in PurePosixPath(path).parents:
        if f"{folder}/__init__.py" not in files:
            break
        top = folder.as_posix()
    return top


def is_allowed(folder: str) -> bool:
    return bool(PACKAGE_DIR.fullmatch(folder)) and folder.split("/")[0] not in ("tests", "ops")
