"""How many processes serve: by what starts them."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from . import files
from .project import Project
from .values import argument, number_of

SERVER = re.compile(r"\b(?:gunicorn|uvicorn|hypercorn|granian|daphne|fastapi run|uwsgi|litestar run|quart)\b")
WORKERS = re.compile(
    r"""(?:--workers|--processes|--worker-processes|(?<=\s)-w)["',]*[=\s]+["']?(\$\{?\w+(?::-(\d+))?\}?|\$\([^)]*\)|\d+)"""
)
CONCURRENCY = re.compile(r"""\bWEB_CONCURRENCY["']?\s*[:= ]\s*["']?(\d+)""")
REPLICAS = re.compile(r"^\s*(?:replicas|replicaCount|minReplicas|min_replicas|scale):\s*[\"']?(\d+)", re.MULTILINE)
CONFIG = re.compile(r"^\s*workers\s*=\s*(.+)$", re.MULTILINE)


class Processes(NamedTuple):
    """*number* is 0 where it is several, but the source does not say how many."""

    number: int
    where: str


def processes(project: Project) -> Processes | None:
    """What makes the most of them; None where nothing says that there is more than one."""
    found = [one for one in [*by_command(project), *by_code(project)] if one.number != 1]
    return max(found, key=lambda one: one.number, default=None)


def by_command(project: Project) -> Iterator[Processes]:
    for source in project.texts:
        if source.suffix in files.PROSE or source.suffix in (".ipynb", ".html"):
            continue
        last = source.name.rpartition("/")[2]
        if last.startswith("gunicorn") and source.suffix == ".py":
            yield from by_config(source)
        elif source.suffix not in files.CODE:
            for number, line in enumerate(source.lines, 1):
                yield from by_line(line, f"{source.name}:{number}")


def by_line(line: str, where: str) -> Iterator[Processes]:
    if line.lstrip().startswith(("#", "//")):
        return
    if SERVER.search(line) or "--workers" in line:
        if found := WORKERS.search(line):
            number = found[1] if found[1].isdigit() else found[2]
            yield Processes(int(number) if number else 0, where)
    for pattern in (CONCURRENCY, REPLICAS):
        if found := pattern.search(line):
            yield Processes(int(found[1]), where)


def by_config(source: files.Source) -> Iterator[Processes]:
    for found in CONFIG.finditer(source.text):
        where = f"{source.name}:{source.text.count(chr(10), 0, found.start(1)) + 1}"
        said = found[1].split("#")[0].strip()
        yield Processes(int(said) if said.isdigit() else 0, where)


def by_code(project: Project) -> Iterator[Processes]:
    for module in project.served:
        for scope in module.scopes.values():
            for call in scope.calls:
                if project.meaning.name(call.func, scope) in (
                    "uvicorn.run",
                    "uvicorn.Config",
                    "granian.Granian",
                    "sanic.Sanic().run",
                ):
                    if workers := argument(call, "workers"):
                        number = number_of(workers, scope, project.meaning)
                        cores = "cpu" in ast.unparse(workers)
                        if number or cores:
                            yield Processes(int(number or 0), f"{module.source.name}:{call.lineno}")
