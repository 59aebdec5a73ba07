"""The template as files, unrendered."""

import json
import keyword
import re
import sys
import tomllib
from typing import Any

import jinja2
import pytest
import yaml
from rendering import OFFERED, ROOT, SPEECH, files, git

from generator import manifest

SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
QUESTIONS = {name: spec for name, spec in SETTINGS.items() if not name.startswith("_")}
RENDERED_PYTHON = {
    "tests/speech/conftest.py.jinja",
    "{{ home_ }}/__init__.py.jinja",
    "{{ home_ }}/speech/answers.py.jinja",
    "{{ home_ }}/speech/web/__init__.py.jinja",
}


def test_questions_are_those_of_the_contract_in_order() -> None:
    """Names and order are what answers files and scripts rely on; none is ever removed."""
    asked = [name for name, spec in QUESTIONS.items() if spec.get("when", True) is not False and name != "born"]

    contract = (
        "layout project_name package_name package_dir pricing_tier framework cache_backend gateway metrics deploy"
    )
    assert asked == contract.split()


@pytest.mark.parametrize("feature", ["_tasks", "_migrations", "_jinja_extensions"])
def test_needs_no_trust(feature: str) -> None:
    """One of these, once released, would ask every user for --trust."""
    assert feature not in SETTINGS


def test_defaults_of_what_may_change_are_constants() -> None:
    """A default that follows another answer breaks copy(A) + update(B) == copy(B)."""
    for name in ("pricing_tier", "framework", "cache_backend", "gateway", "metrics", "deploy"):
        assert "{" not in str(QUESTIONS[name]["default"]), name


def test_every_excluded_name_exists() -> None:
    """A misspelt line in _exclude would render a file that nobody asked for, without a word."""
    block = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        next(entry for entry in SETTINGS["_exclude"] if "\n" in entry)
    )
    folder = ROOT / "template"
    for answers in OFFERED:
        gateway = answers["framework"] != "none" and answers.get("gateway", True)
        for line in block.render(answers, gateway_=gateway, deploy_=False, home_="{{ home_ }}").splitlines():
            name = line.removeprefix("/")

            assert [*folder.glob(name), *folder.glob(f"{name}.jinja")], line


def test_git_carries_every_template_file() -> None:
    """A dot file without .jinja in template/ would be obeyed by git, and hide others from the next commit."""
    tracked = git(ROOT, "ls-files", "-co", "--exclude-standard", "-z", "template").split("\0")
    on_disk = {f"template/{name}" for name in files(ROOT / "template") if "_cache/" not in name}

    assert set(tracked) - {""} == on_disk


def test_jinja_is_only_where_names_are_chosen() -> None:
    """No file that holds logic is rendered, so the template is linted, typed and read as what it is."""
    rendered = {name: content for name, content in files(ROOT / "template").items() if name.endswith(".py.jinja")}

    assert set(rendered) == RENDERED_PYTHON
    assert [name for name, content in rendered.items() if re.search(rb"^\s*(async )?(def|class) ", content, re.M)] == []


def test_names_list_knows_this_python() -> None:
    """A package that shadows a module of the standard library breaks far from where it was named."""
    text = (ROOT / "includes/names.jinja").read_text()
    listed = {name: set(words.split()) for name, words in re.findall(r"set (\w+) = '([^']*)'", text)}

    assert {k for k in keyword.kwlist if k.islower()} <= listed["keywords"]
    assert {m for m in sys.stdlib_module_names if m.islower() and not m.startswith("_")} <= listed["stdlib"]


def test_names_list_knows_what_we_depend_on() -> None:
    """A package called like a dependency would import itself."""
    text = (ROOT / "includes/names.jinja").read_text()
    needs = re.findall(r"'([a-z0-9-]+)>=", (ROOT / "includes/needs.jinja").read_text())
    modules = {"python-multipart": "multipart"} | {n: "opentelemetry" for n in needs if n.startswith("opentelemetry-")}

    assert {modules.get(need, need.replace("-", "_")) for need in needs} <= set(
        text.split("set taken = '")[1].split("'")[0].split()
    )


def test_one_environment_holds_what_every_render_needs() -> None:
    """The dev group repeats includes/needs.jinja, so that rendered tests run without an environment of their own."""
    text = (ROOT / "includes/needs.jinja").read_text().replace("\\'", '"')
    needs = [need.replace('"', "'") for need in re.findall(r"'([a-z0-9-]+>=[^']*)'", text)]
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]

    assert set(needs) <= set(dev)


def test_manifest_is_of_these_files() -> None:
    """`make manifest` was run after the last change; else `check` would blame the owner for it."""
    assert json.loads((SPEECH / manifest.NAME).read_text()) == manifest.hashes(SPEECH)
