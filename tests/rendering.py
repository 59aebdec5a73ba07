"""Rendering for tests: a snapshot of the working tree, renders of it that are made once, and Git."""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from generator import copying

copier = copying.copier()  # as plain Copier, only that it doesn't do some work over and over
ROOT = Path(__file__).parent.parent
SPEECH = ROOT / "template/{{ home_ }}/speech"
Answers = Mapping[str, Any]

FRAMEWORKS = ("fastapi", "flask", "django", "litestar")
BACKENDS = ("memory", "disk", "redis")
# An exporter meets every framework and every backend, not every pair of them: it knows neither.
SERVICES: list[dict[str, Any]] = [
    {"layout": "service", "framework": framework, "cache_backend": backend, "metrics": metrics}
    for framework, backend, metrics in (
        *itertools.product((*FRAMEWORKS, "none"), BACKENDS, ("prometheus", "none")),
        *zip((*FRAMEWORKS, "none"), itertools.cycle(BACKENDS), itertools.repeat("opentelemetry"), strict=False),
    )
]
PACKAGES: list[dict[str, Any]] = [
    {"layout": "package", "framework": framework, "cache_backend": backend, "gateway": gateway, "metrics": metrics}
    for framework, gateway, backend, metrics in (
        *(
            (*which, backend, metrics)
            for which, backend, metrics in itertools.product(
                (*itertools.product(FRAMEWORKS, (False, True)), ("none", False)), BACKENDS, ("prometheus", "none")
            )
        ),
        ("fastapi", False, "memory", "opentelemetry"),
        ("flask", True, "redis", "opentelemetry"),
    )
]
OFFERED = SERVICES + PACKAGES


def pairwise(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those that bring two answers together which no row before has together."""
    met: set[tuple[Any, ...]] = set()
    for row in rows:
        pairs = set(itertools.combinations(row.items(), 2))
        if pairs - met:
            yield row
        met |= pairs


PAIRWISE = list(pairwise(OFFERED[::-1]))
PLANS: tuple[str, ...] = tuple(yaml.safe_load((ROOT / "generator/catalogue/plans.yaml").read_text())["plans"])


def run(*argv: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in argv],
        cwd=cwd,
        env=os.environ | env,
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )


def git(repo: Path, *argv: str | Path) -> str:
    done = run("git", *argv, cwd=repo)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout.strip()


def commit(repo: Path, message: str = "a step") -> None:
    if not (repo / ".git").exists():
        git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", message)


def copier_cli(*argv: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "copier", *argv, cwd=cwd)


def as_options(answers: Answers) -> list[str]:
    return list(itertools.chain.from_iterable(("-d", f"{name}={value}") for name, value in answers.items()))


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def files(root: Path) -> dict[str, bytes]:
    """Content by path, without what Git and Python keep for themselves."""
    return {
        f.relative_to(root).as_posix(): f.read_bytes()
        for f in sorted(root.rglob("*"))
        if f.is_file() and not {".git", "__pycache__"} & set(f.relative_to(root).parts)
    }


def once(target: Path, make: Any) -> Path:
    """*target*, made by whichever process of this run comes first."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as staging:
            made = Path(staging) / target.name
            make(made)
            with contextlib.suppress(OSError):  # another process was quicker
                made.rename(target)
    return target


def snapshot(target: Path) -> Path:
    """The working tree's files, but for what Git ignores, as the tagged commit of a repository of their own."""

    def make(repo: Path) -> None:
        for name in git(ROOT, "ls-files", "-co", "--exclude-standard", "-z").split("\0"):
            if name and (ROOT / name).is_file():
                (repo / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, repo / name)
        commit(repo, "snapshot")
        git(repo, "tag", "v1.0.0")

    return once(target, make)


class Template(NamedTuple):
    path: Path

    def copy(self, dest: Path, answers: Answers) -> Path:
        """In process, as `copier copy --defaults` does it: by data, without trust."""
        named = answers if answers.get("layout") == "package" else {"project_name": "Acme Voice"} | dict(answers)
        copier.run_copy(str(self.path), dest, data=dict(named), defaults=True, quiet=True, unsafe=False)
        return dest

    def release(self, version: str, changes: Mapping[str, tuple[str, str]]) -> None:
        """Replace a text in some files, and tag that."""
        for name, (old, new) in changes.items():
            text = (self.path / name).read_text("utf-8")
            assert old in text, f"{old!r} is not in {name}"
            (self.path / name).write_text(text.replace(old, new), "utf-8")
        commit(self.path, version)
        git(self.path, "tag", version)


class Renders(NamedTuple):
    template: Template
    folder: Path

    def of(self, answers: Answers) -> Path:
        """A render that is shared: not to be changed."""
        name = "-".join(str(value) for value in answers.values()) or "defaults"
        return once(self.folder / name, lambda dest: self.template.copy(dest, answers))

    def own(self, answers: Answers, dest: Path) -> Path:
        """A render, committed, for one test alone."""
        shutil.copytree(self.of(answers), dest, ignore=shutil.ignore_patterns("__pycache__"))
        commit(dest, "rendered")
        return dest


def run_rendered_tests(project: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """As its owner would, in this environment."""
    return run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *argv, cwd=project)


def update(project: Path, answers: Answers, *, ref: Any = copier.VcsRef.CURRENT) -> None:
    """In process, as `copier update --defaults` does it; VcsRef.CURRENT answers anew without a newer template."""
    recorded = next(project.glob(".copier-answers*.yml")).name
    copier.run_update(
        project, answers_file=recorded, data=dict(answers), defaults=True, overwrite=True, quiet=True, vcs_ref=ref
    )


def home(project: Path) -> Path:
    """The folder that holds speech/."""
    return next(found for found in (project / "src/acme_voice", project / "app") if found.exists())


def names(rows: Iterable[Answers]) -> list[str]:
    """Ids for pytest."""
    return ["-".join(str(value) for value in row.values()) for row in rows]


def edit_in_the_middle(file: Path) -> str:
    lines = file.read_text().splitlines(True)
    middle = next(i for i in range(len(lines) // 2, len(lines)) if lines[i] == "\n")
    return "".join([*lines[:middle], "\n# mine, in the middle\n", *lines[middle:]])


def append(file: Path, line: str) -> str:
    return file.read_text() + line
