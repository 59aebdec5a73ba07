"""The wheel: the template's tagged history comes with it, so that `new` and `update` need no network."""

import os
import shutil
import site
import sys
import tomllib
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pytest
import yaml
from rendering import ROOT, Template, commit, git, last_line, run

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "GIT_ALLOW_PROTOCOL": "file"}
BIN = "Scripts" if os.name == "nt" else "bin"


class Environment(NamedTuple):
    """A virtual environment of its own; what we depend on is linked in, since no test may ask a package index."""

    path: Path

    def install(self, wheel: Path) -> None:
        pip = (self.path / BIN / "python", "-m", "pip", "-q", "--disable-pip-version-check", "install")
        done = run(*pip, "--no-deps", "--no-index", "--force-reinstall", wheel)
        assert done.returncode == 0, done.stderr

    def cli(self, *argv: str | Path, cwd: Path | None = None) -> CompletedProcess[str]:
        return run(self.path / BIN / "copier-elevenlabs", *argv, cwd=cwd or self.path, **NO_NETWORK)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    path = tmp_path_factory.mktemp("venv") / "venv"
    assert run(sys.executable, "-m", "venv", path).returncode == 0
    where = run(path / BIN / "python", "-c", "import site; print(site.getsitepackages()[0])").stdout.strip()
    (Path(where) / "parent.pth").write_text("\n".join(site.getsitepackages()))
    return Environment(path)


@pytest.fixture(scope="module")
def wheels(template: Template, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two releases from a clone with tags of its own."""
    clone = Template(Path(shutil.copytree(template.path, tmp_path_factory.mktemp("releases") / "clone")))
    git(clone.path, "tag", "-d", "v1.0.0")
    clone.release("v1.0.0", version(VERSION, "1.0.0"))
    assert build(clone.path).returncode == 0
    faults = ("template/{{ home_ }}/speech/faults.py", ('"""', '"""Second edition.  '))
    clone.release("v1.1.0", version("1.0.0", "1.1.0") | dict([faults]))
    assert build(clone.path).returncode == 0
    return {wheel.name.split("-")[1]: wheel for wheel in (clone.path / "dist").glob("*.whl")}


def version(old: str, new: str) -> dict[str, tuple[str, str]]:
    return {"pyproject.toml": (f'\nversion = "{old}"', f'\nversion = "{new}"')}


def build(checkout: Path, target: str = "wheel") -> CompletedProcess[str]:
    return run(sys.executable, "-m", "hatchling", "build", "-t", target, cwd=checkout)


@pytest.fixture(scope="module")
def project(environment: Environment, wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From the first wheel, by pip in an empty environment, with the network cut."""
    environment.install(wheels["1.0.0"])
    folder = tmp_path_factory.mktemp("project") / "project"
    done = environment.cli("new", folder, "--defaults", "-d", "framework=none")
    assert done.returncode == 0, done.stderr
    return folder


def test_new_from_an_installed_wheel(environment: Environment, project: Path, tmp_path: Path) -> None:
    """The project records the public address all the same; `python -m generator` is the same program."""
    module = run(environment.path / BIN / "python", "-m", "generator", "--version", cwd=tmp_path)

    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert (recorded["_src_path"], recorded["_commit"]) == ("gh:copier-elevenlabs/copier-elevenlabs", "v1.0.0")
    assert (module.returncode, module.stdout) == (0, "1.0.0\n"), module.stderr
    assert environment.cli("--version").stdout == module.stdout


def test_a_later_wheel_brings_a_project_forward(
    environment: Environment, wheels: dict[str, Path], project: Path
) -> None:
    """What the release changed arrives, what its owner changed stays, the network cut; an older wheel says so."""
    faults = project / "src/my_voice/speech/faults.py"
    faults.write_text(f"{faults.read_text('utf-8')}\n# mine\n", "utf-8")
    commit(project, "mine")
    environment.install(wheels["1.1.0"])
    updated = environment.cli("update", project, "--yes")

    assert updated.returncode == 0, updated.stderr
    assert "Second edition." in faults.read_text("utf-8") and "# mine" in faults.read_text("utf-8")
    assert yaml.safe_load((project / ".copier-answers.yml").read_text())["_commit"] == "v1.1.0"
    changed = set(git(project, "diff", "--name-only").split())
    assert changed == {".copier-answers.yml", "src/my_voice/speech/faults.py"}

    commit(project, "updated")
    environment.install(wheels["1.0.0"])
    older = environment.cli("update", project, "--yes")
    said = "this project comes of v1.1.0, this copier-elevenlabs holds v1.0.0: upgrade it"
    assert (older.returncode, older.stdout, older.stderr) == (1, "", f"copier-elevenlabs: {said}\n")
    assert git(project, "status", "--porcelain") == ""


def test_wheel_brings_every_release_so_far(wheels: dict[str, Path], tmp_path: Path) -> None:
    """An update needs the state that a project came from, too."""
    with zipfile.ZipFile(wheels["1.1.0"]) as wheel:
        wheel.extract("generator/template.bundle", tmp_path)
    git(tmp_path, "clone", "-q", "--mirror", "generator/template.bundle", "history")

    assert git(tmp_path / "history", "tag").split() == ["v1.0.0", "v1.1.0"]
    assert git(tmp_path / "history", "show", "v1.0.0:copier.yml") != ""


def test_wheel_holds_what_it_needs_and_no_more(wheels: dict[str, Path]) -> None:
    """The package, its data, the types' marker and the bundle; no tests, no benchmarks; under two megabytes."""
    with zipfile.ZipFile(wheels["1.0.0"]) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
        metadata = message_from_bytes(wheel.read("copier_elevenlabs-1.0.0.dist-info/METADATA"))

    assert {name.split("/")[0] for name in names} == {"generator"}
    tracked = {f"generator/{name}" for name in git(ROOT / "generator", "ls-files", "-co", "--exclude-standard").split()}
    assert set(names) == tracked | {"generator/template.bundle"}
    assert {"generator/py.typed", "generator/catalogue/plans.yaml"} <= tracked
    assert wheels["1.0.0"].stat().st_size < 2_000_000
    assert (metadata["License-Expression"], metadata["License-File"]) == ("MIT", "LICENSE")
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert str(metadata.get_payload()).startswith("# copier-elevenlabs")


@pytest.fixture
def tagged(changeable: Template) -> Path:
    """A checkout whose HEAD carries the tag of the version in pyproject.toml, and another one."""
    git(changeable.path, "tag", f"v{VERSION}")
    return changeable.path


def test_the_sdist_builds_the_same_wheel(tagged: Path, tmp_path: Path) -> None:
    """Without any git history around; and a build leaves nothing in the checkout that would be rendered later."""
    assert build(tagged).returncode == 0 and build(tagged, "sdist").returncode == 0
    assert not (tagged / "generator/template.bundle").exists()
    shutil.unpack_archive(next((tagged / "dist").glob("*.tar.gz")), tmp_path / "sdist")
    (unpacked,) = (tmp_path / "sdist").iterdir()
    done = build(unpacked)

    assert done.returncode == 0, done.stderr
    first, second = (zipfile.ZipFile(next((made / "dist").glob("*.whl"))) for made in (tagged, unpacked))
    assert sorted(first.namelist()) == sorted(second.namelist())
    bundle = tmp_path / "template.bundle"
    bundle.write_bytes(second.read("generator/template.bundle"))
    assert f"refs/tags/v{VERSION}" in git(tmp_path, "bundle", "list-heads", str(bundle))


def shallow(checkout: Path) -> Path:
    clone = checkout.parent / "shallow"
    git(checkout, "commit", "-q", "--allow-empty", "-m", "another")
    git(checkout, "tag", "-f", f"v{VERSION}")
    git(checkout, "clone", "-q", "--depth", "1", "--branch", f"v{VERSION}", checkout.as_uri(), str(clone))
    return clone


def untag(checkout: Path) -> Path:
    git(checkout, "tag", "-d", f"v{VERSION}")
    return checkout


def change(checkout: Path) -> Path:
    (checkout / "LICENSE").write_text("changed\n")
    return checkout


def stray(checkout: Path) -> Path:
    (checkout / "generator/notes.txt").write_text("not for everybody\n")
    return checkout


REFUSED = {
    untag: f"HEAD is not v{VERSION}: tag it first, or pip install -e . to try it",
    change: "changed files here: a wheel carries committed templates only",
    stray: "generator/notes.txt is not committed, and would be packed: a wheel carries committed files only",
    shallow: "this clone is shallow, and updates need the template's history: git fetch --unshallow --tags",
}


@pytest.mark.parametrize(("spoil", "said"), REFUSED.items(), ids=[spoil.__name__ for spoil in REFUSED])
def test_no_wheel_of_what_is_no_release(tagged: Path, spoil: Callable[[Path], Path], said: str) -> None:
    """One line: nobody could update the projects of such a wheel, or would want what is in it."""
    done = build(spoil(tagged))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"copier-elevenlabs: {said}"]


def test_a_shallow_clone(tagged: Path, tmp_path: Path) -> None:
    """Its last commit is enough for `new`; `update` says what is missing."""
    before, clone = git(tagged, "rev-parse", "HEAD"), shallow(tagged)
    program = (sys.executable, "-m", "generator")
    done = run(*program, "new", tmp_path / "project", "--json", "-d", "framework=none", cwd=clone, **NO_NETWORK)
    assert done.returncode == 0, last_line(done)
    recorded = tmp_path / "project/.copier-answers.yml"
    recorded.write_text(recorded.read_text().replace(f"_commit: v{VERSION}", f"_commit: {before}"))
    commit(tmp_path / "project")
    done = run(*program, "update", tmp_path / "project", "--yes", cwd=clone, **NO_NETWORK)

    assert done.returncode == 1
    assert last_line(done).endswith(f"holds v{VERSION}: this is a shallow clone, git fetch --unshallow --tags")
