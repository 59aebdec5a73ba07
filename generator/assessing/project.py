"""What is read of a project: every small text for keys, and as code those modules alone that ElevenLabs can reach."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from . import files, ignoring, notebooks
from .findings import Unread
from .names import Names
from .syntax import Module, parse

IMPORT = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(\.*)([\w.]*)(?:[ \t]+import[ \t]+([^\n]*))?", re.MULTILINE)
SPEAKS = (b"elevenlabs", b"eleven_labs", b"xi-api-key")  # in small letters
# What says who may come in, or how many processes there are, wherever it stands.
SETS_UP = (
    b"INSTALLED_APPS",
    b"urlpatterns",
    b"add_middleware",
    b"before_request",
    b"include_router",
    b"register_blueprint",
)
KEY = re.compile(rb"\bsk_[a-f0-9]{48}\b")
TESTS = re.compile(r"(^|/)(tests?|testing_utils|__tests__)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")
ROUNDS = 4  # who imports who imports ... what speaks


@dataclass
class Project:
    """*texts* are the files whose text the rules look through; *modules* the ones that were parsed."""

    root: Path
    names: list[str]
    texts: list[files.Source] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    @cached_property
    def meaning(self) -> Names:
        return Names(self.modules)

    @property
    def served(self) -> Iterator[Module]:
        """Modules whose calls are paid for: not the tests."""
        return (module for module in self.modules if not TESTS.search(module.source.name))

    def text(self, name: str) -> files.Source | None:
        return next((source for source in self.texts if source.name == name), None)

    def line(self, name: str, line: int) -> str:
        source = self._sources.get(name)
        lines = source.lines if source else []
        return lines[line - 1] if 0 < line <= len(lines) else ""

    @cached_property
    def _sources(self) -> dict[str, files.Source]:
        return {source.name: source for source in self.texts}


def read(path: Path) -> Project:
    """Raises FileNotFoundError where there is nothing at *path*."""
    path = path.absolute()
    if not path.exists():
        raise FileNotFoundError(2, "no such file or folder", str(path))
    root, names = (path.parent, [path.name]) if path.is_file() else (path, list(ignoring.listing(path)))
    project = Project(root, names)
    contents = dict(contents_of(project))
    wanted = reached({name: data for name, data in contents.items() if files.suffix(name) in files.CODE})
    for name, data in contents.items():
        notebook = files.suffix(name) == files.NOTEBOOK
        if name in wanted or (notebook and speaks(data)):
            add_code(project, name, files.decode(data, name), notebook=notebook)
        elif of_interest(name, data):
            project.texts.append(files.Source(name, files.decode(data, name)))
    return project


def contents_of(project: Project) -> Iterator[tuple[str, bytes]]:
    for name in project.names:
        if not files.worth_reading(name):
            continue
        content = files.read(project.root / name)
        if isinstance(content, bytes):
            yield name, content
        elif files.suffix(name) in files.CODE | {files.NOTEBOOK} and content != "not a plain file":
            project.unread.append(Unread(name, content))


def add_code(project: Project, name: str, text: str, *, notebook: bool) -> None:
    source = files.Source(name, text)
    project.texts.append(source)
    try:
        if notebook:
            code = notebooks.code(text)
            project.modules.append(parse(files.Source(name, code.text), code.lines))
        else:
            project.modules.append(parse(source))
    except ValueError as error:
        project.unread.append(Unread(name, str(error)))


WORTH_TEXT = ("setup.py", "gunicorn.conf.py", "gunicorn_config.py", "gunicorn_conf.py")
SMALL = (b"sk_", b"ELEVEN", b"eleven", b"Eleven", b"xi-api-key", b"workers", b"replicas", b"-w ", b"COPY", b"ADD")


def speaks(data: bytes) -> bool:
    small = data.lower()
    return any(word in small for word in SPEAKS)


def of_interest(name: str, data: bytes) -> bool:
    """May a rule find something in this text?"""
    if files.suffix(name) in files.CODE and not name.endswith(WORTH_TEXT):
        return bool(KEY.search(data))
    return files.is_env(name) or any(word in data for word in SMALL)


def reached(sources: dict[str, bytes]) -> set[str]:
    """Modules that mention ElevenLabs, those that import them, those that import these, and what sets up the app."""
    speaking = {name for name, data in sources.items() if speaks(data)}
    if not speaking:
        return speaking
    places = Places(sources)
    found = latest = speaking
    for _ in range(ROUNDS):
        latest = places.importing(latest, found)
        found = found | latest
    setting_up = {name for name, data in sources.items() if any(word in data for word in SETS_UP)}
    return found | setting_up | places.imported_by(found)


class Places:
    """Who imports whom, as far as the lines of the imports say it."""

    def __init__(self, sources: dict[str, bytes]) -> None:
        self.sources, self._of = sources, dict[str, set[str]]()

    def of(self, name: str) -> set[str]:
        if name not in self._of:
            self._of[name] = set(imports(name, self.sources[name]))
        return self._of[name]

    def importing(self, names: set[str], known: set[str]) -> set[str]:
        targets = {ending for name in names for ending in endings(name)}
        return {name for name in self.sources if name not in known and not targets.isdisjoint(self.of(name))}

    def imported_by(self, names: set[str]) -> set[str]:
        """Limiters, settings and guards are often in a module of their own."""
        wanted = {place for name in names for place in self.of(name)}
        return {name for name in self.sources if not wanted.isdisjoint(endings(name))}


def imports(name: str, data: bytes) -> Iterator[str]:
    """Where the modules that this one imports may be: ends of paths without suffix."""
    folder = name.rpartition("/")[0]
    for found in IMPORT.finditer(data):
        dots, dotted = found[1].decode(), found[2].decode()
        names = [one.decode() for one in re.findall(rb"\w+", found[3] or b"")]
        home = "/".join([*folder.split("/")[: len(folder.split("/")) - len(dots) + 1], ""]).lstrip("/") if dots else ""
        place = home + dotted.replace(".", "/")
        yield place.rstrip("/")
        yield from (f"{place}/{one}".strip("/") for one in names)
        if not dots and "." not in dotted:
            yield f"{folder}/{dotted}".lstrip("/")


def endings(name: str) -> set[str]:
    parts = name.rsplit(".", 1)[0].removesuffix("/__init__").split("/")
    return {"/".join(parts), *("/".join(parts[-length:]) for length in range(2, len(parts)))}
