"""Which version of a distribution the project gets: from its lock, its pins, or what lies in its environment."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from . import facts, files
from .project import Project

LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
REQUIREMENT = re.compile(
    r"^[\s\"'-]*elevenlabs(?:\[[^\]]*\])?\s*([<>=!~][^;#\"'\\]*|@[^;]*)?[\s;#\"',\\]*", re.IGNORECASE
)
LOCKED = re.compile(r"""name = "elevenlabs"\s*\nversion = "([^"]+)"|"elevenlabs": \{[^}]*?"version": "==([^"]+)\"""")
# The releases that a range may choose from, by minor version; enough to tell what is in them.
RELEASES = [Version(f"0.2.{patch}") for patch in range(28)] + [Version(f"1.{minor}.0") for minor in range(60)]


class Pin(NamedTuple):
    version: Version
    where: str


def version_of_sdk(project: Project) -> Pin:
    """What an installation of today would get; the newest release where nothing is said."""
    newest = Version(str(facts.sdk("version")))
    for found in (*locked(project), *installed(project), *declared(project, newest)):
        return found
    return Pin(newest, "no version is pinned, so the newest is installed")


def locked(project: Project) -> Iterator[Pin]:
    for name in project.names:
        content = files.read(project.root / name) if name.rpartition("/")[2] in LOCKS else ""
        found = LOCKED.search(content.decode("utf-8", "replace")) if isinstance(content, bytes) else None
        if found and (version := parsed(found[1] or found[2])):
            yield Pin(version, f"{name} locks {version}")


def installed(project: Project) -> Iterator[Pin]:
    """In an environment inside the project: told by a folder's name."""
    for found in sorted(project.root.glob("*/lib/python3*/site-packages/elevenlabs-*.dist-info")) + sorted(
        project.root.glob("*/Lib/site-packages/elevenlabs-*.dist-info")
    ):
        if version := parsed(found.name.removeprefix("elevenlabs-").removesuffix(".dist-info")):
            yield Pin(version, f"{version} is installed in {found.relative_to(project.root).parts[0]}")


def declared(project: Project, newest: Version) -> Iterator[Pin]:
    for source in project.texts:
        last = source.name.rpartition("/")[2]
        if last == "pyproject.toml":
            said = of_pyproject(source.text)
        elif re.match(r"(requirements|constraints|reqs).*\.(txt|in)$", last) or "/requirements/" in f"/{source.name}":
            said = [match[1] or "" for line in source.lines if (match := REQUIREMENT.match(line))]
        elif last in ("setup.py", "setup.cfg", "Pipfile", "environment.yml"):
            said = re.findall(r"elevenlabs[\"']?\s*(?:=\s*\")?([<>=!~]=?[^\"'\n;#]+)", source.text)
        else:
            continue
        for one in said:
            if version := highest(one, newest):
                yield Pin(
                    version,
                    f"{source.name} asks for elevenlabs{one.strip()}"
                    if one.strip()
                    else f"{source.name} names no version: the newest",
                )


def of_pyproject(text: str) -> list[str]:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return []
    return list(requirements(content))


def requirements(node: Any) -> Iterator[str]:
    """Of every list of requirements, and of Poetry's tables."""
    if isinstance(node, list):
        for item in node:
            if isinstance(item, str) and (match := REQUIREMENT.match(item)):
                yield match[1] or ""
            elif isinstance(item, (dict, list)):
                yield from requirements(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "elevenlabs" and isinstance(value, (str, dict)):
                yield of_poetry(value if isinstance(value, str) else str(value.get("version", "")))
            else:
                yield from requirements(value)


def of_poetry(said: str) -> str:
    """``^1.2`` and ``1.2`` in today's words."""
    if match := re.match(r"\^(\d+)", said):
        major = int(match[1])
        return (
            f">={said[1:]},<{major + 1}" if major else f">={said[1:]},<0.{said.split('.')[1] if '.' in said else 1}.999"
        )
    return "" if said in ("*", "") else said if said[0] in "<>=!~" else f"=={said}"


def highest(said: str, newest: Version) -> Version | None:
    """The newest release that a range allows."""
    try:
        wanted = SpecifierSet(said.strip())
    except InvalidSpecifier:
        return None
    exact = [parsed(one.version) for one in wanted if one.operator in ("==", "===") and "*" not in one.version]
    if exact and exact[0]:
        return exact[0]
    known = [*RELEASES, *(Version(f"2.{minor}.0") for minor in range(newest.minor)), newest]
    return max(wanted.filter(known), default=None)


def parsed(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
