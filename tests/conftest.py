"""What every test stands on: no settings of the developer's, and a template that is a commit of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

# Before Copier is imported: its git keeps the environment of that moment.
ISOLATED = Path(tempfile.mkdtemp(prefix="copier-elevenlabs.tests."))
(ISOLATED / "settings.yml").write_text("{}")
os.environ |= {
    "COPIER_SETTINGS_PATH": str(ISOLATED / "settings.yml"),
    "COPIER_CACHE_DIR": str(ISOLATED / "cache"),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
    **{f"GIT_{who}_{what}": "tests@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "PYTHONWARNINGS": "ignore",
}
for name in [n for n in os.environ if n.startswith(("ELEVENLABS_", "SPEECH_")) or n in ("GIT_DIR", "GIT_WORK_TREE")]:
    del os.environ[name]

# A run in the background starts with Ctrl-C switched off, and so would every child that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

from rendering import Renders, Template, snapshot  # noqa: E402 - Copier comes with it

TAKES_MINUTES = ("test_rendered_tests", "test_types_hold")


@pytest.hookimpl(trylast=True)  # after -m and -k have chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first, in each of the equal parts that xdist's workers begin with: none has it all."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    slow = [item for name in TAKES_MINUTES for item in items if item.name.startswith(name)]
    quick = [item for item in items if not item.name.startswith(TAKES_MINUTES)]
    parts: list[pytest.Item] = []
    for worker in range(workers):
        size, first = (len(items) - len(parts)) // (workers - worker), slow[worker::workers]
        parts += first + quick[: size - len(first)]
        del quick[: size - len(first)]
    items[:] = parts


def pytest_sessionfinish() -> None:
    shutil.rmtree(ISOLATED, ignore_errors=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def template(shared: Path) -> Template:
    """The working tree as a tagged commit; not to be changed."""
    return Template(snapshot(shared / "template"))


@pytest.fixture(scope="session")
def renders(template: Template, shared: Path) -> Renders:
    return Renders(template, shared / "renders")


@pytest.fixture
def changeable(template: Template, tmp_path: Path) -> Template:
    """A template that a test may change and release anew."""
    return Template(Path(shutil.copytree(template.path, tmp_path / "template")))


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Somebody's project: flat, under git, with files of the names that we render too."""
    root = tmp_path / "host"
    for name in ("app/__init__.py", "app/__main__.py", "app/app.py", "pyproject.toml", "README.md", ".gitignore"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("# the host's own\n")
    (root / "tests/speech").mkdir(parents=True)
    (root / "tests/speech/test_client.py").write_text("# the host's own\n")
    for argv in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "host"]):
        subprocess.run(["git", *argv], cwd=root, check=True)
    return root
