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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first, so that no process is left with it alone at the end."""
    items.sort(key=lambda item: "test_rendered_tests" not in item.name)


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
