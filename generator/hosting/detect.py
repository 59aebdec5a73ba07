"""What a project is: its framework, where its package and its application are, and what keeps its dependencies.

Read from syntax and files; nothing of the project is run.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from .apps import FRAMEWORKS, WORDS, App, Seen, look
from .dependencies import kept
from .tree import by_weight, folders, is_allowed, package_of, packages, parsed, python_files

Sure = Literal["sure", "likely", "unsure"]
ENTRANCES = ("main", "app", "asgi", "wsgi", "server", "application", "__init__")


class Guess(NamedTuple):
    """*value* is empty where nothing was found; an unsure one should be asked about."""

    value: str
    sure: Sure
    why: str


class Host(NamedTuple):
    framework: Guess  # fastapi, flask, django, litestar, none
    package_dir: Guess  # a folder below the root, with slashes, as copier.yml wants it
    app: App | None
    dependencies: Guess  # a kind of dependencies.Kept
    dependencies_in: str  # the folder of their file
    candidates: tuple[str, ...]  # every folder that package_dir could be


def detect(root: Path, *, framework: str | None = None, package_dir: str | None = None) -> Host:
    """Look at the project in *root*; what is given narrows the search for the rest."""
    files = python_files(root)
    seen: dict[str, Seen] = {}
    for some in by_weight(files):
        seen |= {path: look(tree, path) for path in some if (tree := parsed(root / path, WORDS))}
        if package_dir:
            project = kept(root, package_dir).folder
            seen = {path: one for path, one in seen.items() if kept(root, path).folder == project}
        candidates = packages(some) or folders(some)
        apps = _ranked(seen, framework, package_dir)
        if apps or candidates:
            break
    place = _given(package_dir) or _package(apps, set(files), candidates, seen)
    keeper = kept(root, place.value or "app")
    found = _given(framework) or _framework(apps, seen, keeper.names)
    app = next((app for app in apps if app.framework == found.value), None)
    needs = Guess(keeper.kind, "likely" if keeper.kind in ("setuptools", "none") else "sure", keeper.why)
    could_be = {*candidates, place.value} if place.value != package_dir else {*candidates}
    return Host(found, place, app, needs, keeper.folder, tuple(sorted(could_be - {""})))


def _given(value: str | None) -> Guess | None:
    return Guess(value, "sure", "given") if value else None


def _ranked(seen: dict[str, Seen], framework: str | None, package_dir: str | None) -> list[App]:
    """The likeliest application first: named in a manage.py, then by the names of files, then by depth."""
    apps = [app for one in seen.values() for app in one.apps if framework in (None, app.framework)]
    apps = [app for app in apps if package_dir and app.file.startswith(f"{package_dir}/")] or apps
    named = {name for one in seen.values() for name in one.settings}
    return sorted(apps, key=lambda app: (not _is_named(app, named), not app.name, _entrance(app), app.file.count("/")))


def _is_named(app: App, named: set[str]) -> bool:
    """Split settings count too: ``config.settings.local`` stands for ``config/settings/base.py``."""
    module = app.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    beside = module.rpartition(".")[0]
    return app.framework == "django" and any(
        module.endswith(name) or (beside and beside.endswith(name.rpartition(".")[0] or "-")) for name in named
    )


def _entrance(app: App) -> int:
    stem = app.file.rpartition("/")[2].removesuffix(".py")
    return ENTRANCES.index(stem) if stem in ENTRANCES else len(ENTRANCES)


def _framework(apps: list[App], seen: dict[str, Seen], required: frozenset[str]) -> Guess:
    if apps:
        first = {app.framework: app for app in reversed(apps)}
        where = " and ".join(f"{name} in {app.file}:{app.line}" for name, app in sorted(first.items()))
        return Guess(apps[0].framework, "sure" if len(first) == 1 else "unsure", where)
    imported = {name.partition(".")[0] for one in seen.values() for name in one.imported} & set(FRAMEWORKS)
    for names, how in ((imported, "imported"), (required & set(FRAMEWORKS), "required")):
        if names:
            return Guess(min(names), "likely" if len(names) == 1 else "unsure", f"{' and '.join(sorted(names))} {how}")
    return Guess("none", "likely", "no web framework is made, imported or required")


def _package(apps: list[App], files: set[str], candidates: list[str], seen: dict[str, Seen]) -> Guess:
    if len({app.framework for app in apps}) > 1:
        return Guess("", "unsure", "there are several applications")
    app = apps[0] if apps else None
    if app and (package := package_of(app.file, files)) and is_allowed(package):
        return Guess(package, "sure", f"{app.file} is in it")
    if app and (inside := _without_init(app.file, seen)):
        return Guess(inside, "likely", f"{app.file} is in it, and it is imported by its name")
    if len(candidates) == 1 and f"{candidates[0]}/__init__.py" in files:
        return Guess(candidates[0], "sure" if app is None else "likely", "the only package here")
    near = [candidate for candidate in candidates if app and _imports(seen[app.file], candidate)]
    if app and len(near) == 1:
        return Guess(near[0], "likely", f"{app.file} imports it")
    if any(f"{candidate}/__init__.py" in files for candidate in candidates):
        return Guess("", "unsure", "there are several packages")
    return Guess("", "unsure", "no folder has an __init__.py")


def _without_init(file: str, seen: dict[str, Seen]) -> str:
    """``app`` of ``app/main.py`` without an ``__init__.py``, where somebody imports ``app.something``."""
    folder = file.rpartition("/")[0]
    name = folder.rpartition("/")[2]
    used = any(imported.startswith(f"{name}.") for one in seen.values() for imported in one.imported)
    return folder if name and used and is_allowed(folder) else ""


def _imports(seen: Seen, package: str) -> bool:
    name = package.rpartition("/")[2]
    return any(imported == name or imported.startswith(f"{name}.") for imported in seen.imported)
