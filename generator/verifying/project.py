"""What was rendered, as its answers file tells it, and which Python runs it."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple


class Project(NamedTuple):
    """``package`` is imported from the folder ``imports``; ``home`` is the folder that holds ``speech``."""

    path: Path
    home: Path
    imports: Path
    package: str
    layout: str
    framework: str
    backend: str
    metrics: str
    tier: str
    routes: bool
    python: str

    @property
    def speech(self) -> Path:
        return self.home / "speech"

    @property
    def about(self) -> str:
        said = [self.layout, self.framework if self.framework != "none" else "no framework", self.backend]
        return f"{', '.join(said)}, plan {self.tier}"


def find(path: Path) -> Project:
    """Raises ValueError for what we have not rendered, and for a Python that lacks what it needs."""
    answers = next(filter(None, map(_answers, sorted(path.glob(".copier-answers*.yml")))), None)
    if answers is None:
        raise ValueError(f"{path} is no project of copier-elevenlabs: no answers of it in {path}/.copier-answers*.yml")
    layout, _, home = str(answers["born"]).partition(" ")
    if not (path / home / "speech" / "answers.py").is_file():
        raise ValueError(f"{path} was rendered into {home}/speech, and that is not there")
    root, package = _imported_from(path.resolve(), home)
    framework = str(answers.get("framework", "fastapi"))
    project = Project(
        path=path.resolve(),
        home=path.resolve() / home,
        imports=root,
        package=package,
        layout=layout,
        framework=framework,
        backend=str(answers.get("cache_backend", "memory")),
        metrics=str(answers.get("metrics", "prometheus")),
        tier=str(answers.get("pricing_tier", "creator")),
        routes=framework != "none" and (layout == "service" or bool(answers.get("gateway"))),
        python=_python(path),
    )
    _check_needs(project)
    return project


def _answers(file: Path) -> dict[str, Any] | None:
    import yaml

    try:
        said = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return said if isinstance(said, dict) and "born" in said else None


def _imported_from(path: Path, home: str) -> tuple[Path, str]:
    """Imports start at the first folder with an ``__init__.py``, else at the last one."""
    parts = Path(home).parts
    for first in range(len(parts)):
        if (path.joinpath(*parts[: first + 1]) / "__init__.py").is_file() or first == len(parts) - 1:
            return path.joinpath(*parts[:first]), ".".join(parts[first:])
    raise ValueError(f"{path} was born nowhere")


def _python(path: Path) -> str:
    """The project's own, else that of the environment that is active, else ours."""
    places = [path / ".venv", *([Path(os.environ["VIRTUAL_ENV"])] if os.environ.get("VIRTUAL_ENV") else [])]
    inner = ("bin/python", "Scripts/python.exe")
    found = (place / name for place in places for name in inner if (place / name).is_file())
    return str(next(found, Path(sys.executable)).absolute())


# ------------------------------------------------------------------------------------------------------ what it needs

_ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
def has(name):
    try: return version(name)
    except PackageNotFoundError: return None
print(json.dumps({name: has(name) for name in sys.argv[1:]}))
"""


def _check_needs(project: Project) -> None:
    from packaging.requirements import Requirement

    needs = [need for line in _needs(project) if (need := Requirement(line)) and (not need.marker or _marked(need))]
    argv = [project.python, "-c", _ASK, *(need.name for need in needs)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{project.python} does not run: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    has = json.loads(done.stdout)
    lacking = [str(need) for need in needs if not (has[need.name] and has[need.name] in need.specifier)]
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise ValueError(f"{project.python} lacks {', '.join(lacking[:3])}{more}; {_remedy(project)}")


def _marked(need: Any) -> bool:
    return bool(need.marker.evaluate())


def _needs(project: Project) -> list[str]:
    """As they were rendered; none where the owner keeps them elsewhere."""
    listed = project.speech / "requirements.txt"
    if listed.is_file():
        lines = (line.partition("#")[0].strip() for line in listed.read_text("utf-8").splitlines())
        return [line for line in lines if line and not line.startswith("-")]
    declared = project.path / "pyproject.toml"
    if not declared.is_file():
        return []
    extras = tomllib.loads(declared.read_text("utf-8")).get("project", {}).get("optional-dependencies", {})
    return list(extras.get("speech", []))


def _remedy(project: Project) -> str:
    if project.layout == "package":
        return f"install them: pip install -r {(project.speech / 'requirements.txt').relative_to(project.path)}"
    return f"install them: cd {project.path} && python -m venv .venv && .venv/bin/pip install -e ."
