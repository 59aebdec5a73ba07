"""What is left to do by hand after ``add``: dependencies, the lines for the app, a first word."""

import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from .apps import App
from .dependencies import setuptools_file
from .detect import Host
from .modules import import_root, module


class Step(NamedTuple):
    """*lines* to run, or to paste into *file* after line *after* (0: where it fits)."""

    what: str
    lines: list[str]
    file: str = ""
    after: int = 0


# In a route, per framework, as docs/frameworks.md has it.
ROUTES = {
    "fastapi": [
        "from typing import Annotated",
        "from fastapi import Depends, Response",
        "from {m}.speech import SpeechClient",
        "from {m}.speech.web import get_speech",
        "async def hello(speech: Annotated[SpeechClient, Depends(get_speech)]) -> Response:",
        '    audio = await speech.synthesize("Hello")',
        "    return Response(audio.data, media_type=audio.media_type)",
    ],
    "litestar": [
        "from litestar import Response, get",
        "from litestar.di import Provide",
        "from {m}.speech import SpeechClient",
        "from {m}.speech.web import get_speech",
        '@get("/hello", dependencies={{"speech": Provide(get_speech)}})',
        "async def hello(speech: SpeechClient) -> Response[bytes]:",
        '    audio = await speech.synthesize("Hello")',
        "    return Response(audio.data, media_type=audio.media_type)",
    ],
    "flask": ["from {m}.speech.web import get_speech", 'audio = get_speech().synthesize("Hello")'],
    "django": [
        "from {m}.speech.web import get_speech",
        'audio = await get_speech().synthesize("Hello")  # a sync view: get_speech.blocking().synthesize("Hello")',
    ],
    "none": [
        "from {m}.speech import SpeechClient",
        "with SpeechClient.from_env().blocking() as speech:  # or: async with SpeechClient.from_env() as speech",
        '    audio = speech.synthesize("Hello")',
    ],
}


# catalogue.json and the like: tried with setuptools' own wheels.
PACKAGE_DATA = {
    "": [],
    "pyproject.toml": ["[tool.setuptools.package-data]", '"*" = ["*.json", "*.lua", "*.html"]'],
    "setup.cfg": ["[options.package_data]", "* = *.json, *.lua, *.html"],
    "setup.py": ['package_data={"": ["*.json", "*.lua", "*.html"]},'],
}


def steps(dest: Path, host: Host, answers: dict[str, Any], needs: list[str]) -> list[Step]:
    """In the order they are done; *needs* are the lines of the rendered requirements.txt."""
    name, root = module(dest, answers["package_dir"]), import_root(dest, answers["package_dir"])
    framework = answers["framework"]
    found = [install_dependencies(host, answers["package_dir"], needs)]
    if data := PACKAGE_DATA[built_by := setuptools_file(dest / host.dependencies_in)]:
        found.append(Step(f"If you build a wheel, in {built_by}, for setuptools leaves data files out:", data))
    if framework != "none":
        found.append(_into_the_app(dest, host.app, framework, name))
    found.append(Step("In your code:" if framework == "none" else "In your routes:", _lines(ROUTES[framework], name)))
    speak = f'python -m {name}.speech speak "It works" --sandbox'
    redis = ["export REDIS_URL=redis://localhost:6379/0"] if answers["cache_backend"] == "redis" else []
    found.append(Step("A first word, without a key:", redis + [speak if root == "." else f"cd {root} && {speak}"]))
    update = f"copier-elevenlabs update {shlex.quote(str(dest))}"
    found.append(Step("Later versions, once this is committed:", [update]))
    return found


def _lines(templates: list[str], name: str) -> list[str]:
    return [line.format(m=name) for line in templates]


def install_dependencies(host: Host, package_dir: str, needs: list[str]) -> Step:
    """The command of the tool that keeps them, run in the folder where it does."""
    file = _from(host.dependencies_in, f"{package_dir}/speech/requirements.txt")
    there = host.dependencies.why
    line = _from(f"{host.dependencies_in}/{there}/..", f"{package_dir}/speech/requirements.txt")
    quoted = " ".join(f'"{need}"' for need in needs)
    what, command = {
        "uv": ("Dependencies:", f"uv add -r {file}"),
        "poetry": ("Dependencies:", f"poetry add {quoted}"),
        "pdm": ("Dependencies:", f"pdm add {quoted}"),
        "Pipfile": ("Dependencies:", f"pipenv install -r {file}"),
        "requirements.txt": (f"Dependencies, also as a line in {there}: -r {line}", f"pip install -r {file}"),
        "none": ("Dependencies:", f"pip install -r {file}"),
    }.get(host.dependencies.value, (_by_hand(host, file), f"pip install -r {file}"))
    return Step(what, [command if host.dependencies_in == "." else f"cd {host.dependencies_in} && {command}"])


def _from(folder: str, file: str) -> str:
    return os.path.relpath(file, folder).replace(os.sep, "/")


def _by_hand(host: Host, file: str) -> str:
    kept = {"setup.py": "install_requires of setup.py", "setup.cfg": "install_requires of setup.cfg"}
    where = kept.get(host.dependencies.why, "[project] dependencies of pyproject.toml")
    return f"Dependencies, also into {where}, as lines of {file}:"


def _into_the_app(dest: Path, app: App | None, framework: str, name: str) -> Step:
    """The two lines, indented as the place they go to."""
    install, variable = f"from {name}.speech.web import install", "app"
    if framework == "django":
        if app is None:
            return Step("At the end of your settings:", [install, "install(globals())"])
        return Step(f"At the end of {app.file}:", [install, "install(globals())"], app.file, app.end)
    if app is None:
        return Step(f"Where your {framework} application is made, and called app:", [install, f"install({variable})"])
    where = f"In {app.file}, after line {app.end}{f', inside {app.inside}()' if app.inside else ''}:"
    if not app.name:
        where = f"In {app.file}, give the application of line {app.line} a name, app, and after that:"
    lines = [indent(dest / app.file, app.line) + line for line in (install, f"install({app.name or variable})")]
    return Step(where, lines, app.file, app.end if app.name else 0)


def indent(file: Path, line: int) -> str:
    text = file.read_bytes().splitlines()[line - 1].decode("utf-8", errors="replace")
    return text[: len(text) - len(text.lstrip())]
