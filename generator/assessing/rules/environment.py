"""Files that hold keys, and whether Git or an image takes them along."""

import re
from collections.abc import Iterator
from pathlib import Path

from .. import files, ignoring
from ..findings import Severity
from ..rule import Case, Hit, Rule
from .keys import is_placeholder

SETS = re.compile(r"^\s*(?:export\s+)?(\w*(?:ELEVEN|XI_API)\w*KEY)\s*=\s*[\"']?([^\"'\s#]*)", re.MULTILINE)
LOADS = re.compile(r"\bload_dotenv\(|\bdotenv_values\(|env_file\s*=|\bread_env\b|\benviron\.Env\b")
TAKES_ALL = re.compile(r"^\s*(?:COPY|ADD)\s+(?:--\S+\s+)*\.\/?\s+\S", re.MULTILINE)


def exposed(case: Case) -> Iterator[Hit]:
    project = case.project
    tracked = ignoring.tracked(project.root)
    held = [source for source in project.texts if files.is_env(source.name) and SETS.search(source.text)]
    for source in held:
        yield from exposed_file(case, source, tracked)
    if not held and not ignoring.ignored(project.root, ".env"):
        yield from exposed_later(case)
    yield from in_image(case)


def exposed_file(case: Case, source: files.Source, tracked: set[str] | None) -> Iterator[Hit]:
    for found in SETS.finditer(source.text):
        line = source.text.count("\n", 0, found.start(1)) + 1
        value = found[2]
        full = len(value) >= 16 and not is_placeholder(value) and not value.startswith("$")
        how = "is tracked by Git" if tracked and source.name in tracked else "is not ignored by Git"
        mend = f"git rm --cached {source.name}, add it to .gitignore, and revoke the key" if "tracked" in how else ""
        what = f"{source.name} {how}, and holds {found[1]}" + ("" if full else " (empty here)")
        yield Hit(source.name, line, 1, what, mend=mend, severity=Severity.severe if full else Severity.warning)
        return


def exposed_later(case: Case) -> Iterator[Hit]:
    """Nothing is lost yet: but the code reads a .env that the next ``git add .`` would take along."""
    for source in case.project.texts:
        if source.suffix in files.CODE and source.name in {module.source.name for module in case.project.served}:
            if found := LOADS.search(source.text):
                line = source.text.count("\n", 0, found.start()) + 1
                column = found.start() - source.text.rfind("\n", 0, found.start())
                yield Hit(
                    source.name, line, column, "a .env is read, and no .gitignore names it", severity=Severity.warning
                )
                return


def in_image(case: Case) -> Iterator[Hit]:
    """``COPY . .`` takes a .env that Git ignores: an image is a copy that travels."""
    if not case.project.modules:
        return
    for source in case.project.texts:
        folder, _, last = source.name.rpartition("/")
        if not last.startswith(("Dockerfile", "Containerfile")) or not (found := TAKES_ALL.search(source.text)):
            continue
        beside = case.project.root / folder
        has_env = (beside / ".env").exists()
        if has_env and not keeps_out(read_lines(beside / ".dockerignore")):
            line = source.text.count("\n", 0, found.start()) + source.text[found.start() :].count("\n", 0, 1) + 1
            what = "the image takes .env along, and no .dockerignore keeps it out"
            yield Hit(source.name, line, 1, what, mend="add .env* to .dockerignore", severity=Severity.severe)


def read_lines(file: Path) -> list[str]:
    return file.read_text("utf-8", "replace").splitlines() if file.is_file() else []


def keeps_out(lines: list[str]) -> bool:
    return any(re.match(r"^(\*\*/|/)?(\.env\*?|\.\*|\*\.env|\*|\*\*)/?$", line.strip()) for line in lines)


RULES = [
    Rule(
        "env-not-ignored", "A file with keys is not kept out of Git", Severity.severe,
        "one push, and the key is in the history of every clone, for good",
        "add .env* to .gitignore (and !.env.example, if you ship one)",
        exposed,
    )
]  # fmt: skip
