"""The wheel: the template's tagged history comes with it, so that `new` needs no network."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, Template, git, run

NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture
def tagged(changeable: Template) -> Path:
    """A checkout whose HEAD carries the tag of the version in pyproject.toml."""
    version = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    git(changeable.path, "tag", f"v{version.split(chr(34))[1]}")
    git(changeable.path, "tag", "-d", "v1.0.0")
    return changeable.path


def build(checkout: Path) -> "subprocess.CompletedProcess[str]":
    return run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", cwd=checkout)


def test_new_from_an_installed_wheel(tagged: Path, tmp_path: Path) -> None:
    """Unpacked somewhere without a checkout, and with the network cut; the project still records the public address."""
    done = build(tagged)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((tagged / "dist").glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    shutil.rmtree(tagged)
    argv = (sys.executable, "-m", "generator", "new", tmp_path / "project", "--defaults")
    rendered = run(*argv, cwd=tmp_path / "site", **NO_NETWORK)

    assert rendered.returncode == 0, rendered.stderr
    recorded = yaml.safe_load((tmp_path / "project/.copier-answers.yml").read_text())
    assert (recorded["_src_path"], recorded["_commit"]) == ("gh:copier-elevenlabs/copier-elevenlabs", "v0.1.0")


def test_refuses_a_checkout_that_is_not_tagged(tagged: Path) -> None:
    """Projects of an untagged wheel could not be updated by anybody else."""
    git(tagged, "tag", "-d", "v0.1.0")
    done = build(tagged)

    assert done.returncode != 0
    assert "HEAD is not v0.1.0: tag it first" in done.stderr + done.stdout


def test_refuses_a_changed_checkout(tagged: Path) -> None:
    """What is not committed would be missing from the bundle."""
    (tagged / "LICENSE").write_text("changed\n")
    done = build(tagged)

    assert done.returncode != 0
    assert "a wheel carries committed templates only" in done.stderr + done.stdout
