"""Wrong answers: refused with the reason in the last line, and nothing written.  Plain Copier, as a user starts it."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import copier
import pytest
from copier.errors import UserMessageError
from rendering import SERVICES, Renders, Template, as_options, copier_cli, files, git, last_line, names, update

PACKAGE: dict[str, Any] = {"layout": "package"}
WRONG_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"teir": "pro"}, 'unknown answer "teir"; known: layout, project_name'),
    ({"quality": "balanced"}, 'unknown answer "quality"'),
    ({"residency": "eu"}, 'unknown answer "residency"'),
    ({"gateway_": "yes"}, 'unknown answer "gateway_"'),
    ({"deploy_": "yes"}, 'unknown answer "deploy_"'),
    ({"home_": "src/x"}, 'unknown answer "home_"'),
    ({"_commit": "v0"}, 'unknown answer "_commit"'),
    ({"": "x"}, 'unknown answer ""'),
]
WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"pricing_tier": "gold"}, "'gold' is not in ['creator', 'free'"),
    ({"pricing_tier": ""}, "Invalid choice for 'pricing_tier'"),
    ({"layout": "both"}, "'both' is not in"),
    ({"framework": "rails"}, "'rails' is not in"),
    ({"cache_backend": ""}, "Invalid choice for 'cache_backend'"),
    ({"metrics": "statsd"}, "'statsd' is not in"),
    ({"deploy": "maybe"}, 'deploy is yes or no, not "maybe"'),
    (PACKAGE | {"gateway": "maybe"}, 'gateway is yes or no, not "maybe"'),
    ({"born": "package app"}, "fixed at birth: package app"),
]
WRONG_NAMES: list[tuple[dict[str, Any], str]] = [
    ({"project_name": 'A "B"'}, "project_name is one line of text"),
    ({"project_name": ""}, "project_name is one line of text"),
    ({"project_name": "A\nB"}, "project_name is one line of text"),
    ({"project_name": "A\\B"}, "project_name is one line of text"),
    ({"project_name": "Flask"}, '"flask" is taken'),
    ({"project_name": "Speech"}, '"speech" is taken'),
    ({"project_name": "2nd Voice"}, '"2nd_voice" is not lower-case'),
    ({"package_name": "class"}, '"class" is a word of Python itself'),
    ({"package_name": "json"}, '"json" is a module of Python\'s own library'),
    ({"package_name": "tomllib"}, "is a module of Python's own library"),
    ({"package_name": "../up"}, '"../up" is not lower-case'),
    ({"package_name": "Acme"}, '"Acme" is not lower-case'),
    ({"package_name": "_x"}, '"_x" is not lower-case'),
    ({"package_name": "x_"}, '"x_" is not lower-case'),
    ({"package_name": "a-b"}, '"a-b" is not lower-case'),
    ({"package_name": "acme\n"}, '"acme\\n" is not lower-case'),
    ({"package_name": ""}, '"" is not lower-case'),
    *[({"package_name": name}, f'"{name}" is taken') for name in ("elevenlabs", "httpx", "fastapi", "tests", "yaml")],
    *[
        (PACKAGE | {"package_dir": path}, "is not a relative path with forward slashes that ends in a Python name")
        for path in ("../x", "/abs", "a//b", "app/", "a b", "app\n", "a-b", ".hidden", "a/*/b", "a\\b", "~/x", "")
    ],
    (PACKAGE | {"package_dir": "src/class"}, '"class" is a word of Python itself'),
    (PACKAGE | {"package_dir": "tests"}, "tests and ops hold files of a service"),
    (PACKAGE | {"package_dir": "ops/x"}, "tests and ops hold files of a service"),
    (PACKAGE | {"package_dir": "a/__pycache__/b"}, "__pycache__ is Python's own"),
]
WRONG_TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"package_dir": "src/app"}, "package_dir is only for layout=package"),
    (PACKAGE | {"project_name": "Other"}, "project_name is only for layout=service"),
    (PACKAGE | {"package_name": "other"}, "package_name is only for layout=service"),
    (PACKAGE | {"deploy": "yes"}, "deploy is only for layout=service"),
    (PACKAGE | {"framework": "none", "gateway": "yes"}, "gateway needs a framework"),
]
KINDS = [WRONG_KEYS, WRONG_VALUES, WRONG_NAMES, WRONG_TOGETHER]
WRONG = [row for kind in KINDS for row in kind]

copy = partial(copier.run_copy, defaults=True, quiet=True, unsafe=False)


@pytest.mark.parametrize(("answers", "said"), WRONG, ids=names([answers for answers, _ in WRONG]))
def test_wrong_answer_writes_nothing_and_says_why(
    template: Template, tmp_path: Path, answers: dict[str, Any], said: str
) -> None:
    """One line names the reason, and nothing is written."""
    with pytest.raises((ValueError, UserMessageError)) as refusal:
        copy(str(template.path), tmp_path / "new/project", data=answers)

    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("answers", "said"), [rows[0] for rows in KINDS], ids=["key", "value", "name", "together"])
def test_plain_copier_ends_with_the_reason(
    template: Template, tmp_path: Path, answers: dict[str, Any], said: str
) -> None:
    """Its last line is that reason, below a traceback, and its exit code is not zero."""
    done = copier_cli("copy", "--defaults", *as_options(answers), template.path, tmp_path / "new/project")

    assert done.returncode != 0
    assert said in last_line(done)
    assert not (tmp_path / "new").exists()


RIGHT: list[dict[str, Any]] = [
    {"project_name": "日本"},
    {"project_name": "Ünïcode & Söhne <3"},
    {"package_name": "a"},
    {"package_name": "class_2"},
    {"gateway": "yes"},
    {"gateway": "no", "package_dir": "app"},
    PACKAGE | {"package_dir": "apps/voice-api/MySite"},
    PACKAGE | {"deploy": "no", "project_name": "My Voice", "package_name": "my_voice", "gateway": "on"},
]


@pytest.mark.parametrize("answers", RIGHT, ids=names(RIGHT))
def test_unusual_but_right_answers_are_taken(template: Template, tmp_path: Path, answers: dict[str, Any]) -> None:
    """Names of any script, deep folders, and defaults of questions that are not asked."""
    copy(str(template.path), tmp_path / "project", data=answers)

    assert any((tmp_path / "project").glob("**/speech/answers.py"))


def test_a_name_of_no_latin_letter_gets_a_package_all_the_same(template: Template, tmp_path: Path) -> None:
    """The slug of such a name is empty; the package is my_voice then."""
    template.copy(tmp_path / "project", {"project_name": "日本"})

    assert (tmp_path / "project/src/my_voice/speech/answers.py").exists()


def test_unwritable_destination(template: Template, tmp_path: Path) -> None:
    """A destination below a file cannot be made, whoever runs this."""
    (tmp_path / "file").write_text("")
    done = copier_cli("copy", "--defaults", template.path, tmp_path / "file/project")

    assert done.returncode != 0
    assert "Not a directory" in last_line(done)
    assert os.listdir(tmp_path) == ["file"]


def test_older_copier_says_what_it_needs(changeable: Template, tmp_path: Path) -> None:
    """One line, before anything is asked."""
    changeable.release("v2.0.0", {"copier.yml": ('"9.19.0"', '"99.0.0"')})
    done = copier_cli("copy", "--defaults", changeable.path, tmp_path / "project")

    assert done.returncode != 0
    assert "99.0.0" in last_line(done)
    assert not (tmp_path / "project").exists()


FIXED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (SERVICES[0], {"layout": "package"}, "fixed at birth: service src/acme_voice"),
    (SERVICES[0], {"package_name": "other"}, "fixed at birth: service src/acme_voice"),
    (SERVICES[0], {"born": "service src/other"}, "fixed at birth"),
    (SERVICES[0], {"pricing_tier": "gold"}, "'gold' is not in"),
    (PACKAGE, {"layout": "service"}, "fixed at birth: package app"),
    (PACKAGE, {"package_dir": "src/app"}, "fixed at birth: package app"),
]


@pytest.mark.parametrize(("start", "change", "said"), FIXED, ids=names([start | change for start, change, _ in FIXED]))
def test_update_refuses_what_was_fixed_at_birth(
    renders: Renders, tmp_path: Path, start: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    """A changed layout or path would move the code from under the owner's edits: refused, with nothing touched."""
    project = renders.own(start, tmp_path / "project")
    before = files(project)
    with pytest.raises(ValueError, match=said):
        update(project, change)

    assert files(project) == before
    assert git(project, "status", "--porcelain") == ""
