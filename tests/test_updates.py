"""`copier update`, from the first day: edits survive, and other answers give what a fresh copy would."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import (
    BACKENDS,
    FRAMEWORKS,
    PACKAGES,
    SERVICES,
    Renders,
    Template,
    append,
    as_options,
    commit,
    copier_cli,
    edit_in_the_middle,
    files,
    git,
    names,
    update,
)


def every_ordered_pair(name: str, values: Iterable[str], start: dict[str, Any]) -> list[tuple[dict[str, Any], ...]]:
    """*start* with one value, to the same with another."""
    return [tuple(start | {name: value} for value in pair) for pair in itertools.permutations(values, 2)]


def there_and_back(rows: list[dict[str, Any]], start: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """*start* to the rows that differ from it in one answer, and back to it: in turns, one way each."""
    near = [row for row in rows if sum(row[name] != start[name] for name in row) == 1]
    return [(start, row) if number % 2 else (row, start) for number, row in enumerate(near)]


def in_a_ring(name: str, values: Sequence[str], start: dict[str, Any]) -> list[tuple[dict[str, Any], ...]]:
    """Each value to the next one, and the last to the first: all of them come and all go."""
    rows = [start | {name: value} for value in values]
    return list(zip(rows, [*rows[1:], rows[0]], strict=True))


FLASK_ON_REDIS = SERVICES[0] | {"framework": "flask", "cache_backend": "redis"}
CHANGES = [
    *in_a_ring("framework", (*FRAMEWORKS, "none"), SERVICES[0]),
    *in_a_ring("cache_backend", BACKENDS, FLASK_ON_REDIS),
    *every_ordered_pair("metrics", ("prometheus", "opentelemetry", "none"), SERVICES[0]),
    *in_a_ring("framework", FRAMEWORKS[::-1], PACKAGES[0] | {"gateway": True}),
    *there_and_back([row for row in PACKAGES if row["framework"] in ("fastapi", "none")], PACKAGES[0]),
    (SERVICES[0], SERVICES[-1]),
    (SERVICES[0] | {"pricing_tier": "creator"}, SERVICES[0] | {"pricing_tier": "pro"}),
    (PACKAGES[0] | {"pricing_tier": "enterprise"}, PACKAGES[0] | {"pricing_tier": "payg"}),
]
# With and without metrics are tried above: every framework on every backend, to every other.
SERVED, PACKED = ([row for row in rows if row["metrics"] == "prometheus"] for rows in (SERVICES, PACKAGES))
ALL = list(itertools.permutations(SERVED, 2)) + list(itertools.permutations(PACKED, 2))


def arrows(changes: Sequence[tuple[dict[str, Any], ...]]) -> list[str]:
    return [f"{names([old])[0]} to {names([new])[0]}" for old, new in changes]


def check(renders: Renders, tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    project = renders.own(old, tmp_path / "project")
    update(project, {name: value for name, value in new.items() if name != "layout"})

    assert files(project) == files(renders.of(new))


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=arrows(CHANGES))
def test_another_answer_gives_what_a_fresh_copy_gives(
    renders: Renders, tmp_path: Path, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """copy(A) + update(B) == copy(B), every byte, in both layouts."""
    check(renders, tmp_path, old, new)


@pytest.mark.full
@pytest.mark.parametrize(("old", "new"), ALL, ids=arrows(ALL))
def test_every_change_of_answers(renders: Renders, tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """The same, over every ordered pair of offered answers."""
    check(renders, tmp_path, old, new)


def test_edits_survive_a_new_release(changeable: Template, tmp_path: Path) -> None:
    """An edit in the middle of a file, the owner's lines, dependencies and seeded files: all kept, and ours arrive."""
    project = changeable.copy(tmp_path / "project", SERVICES[0])
    mine = {
        "src/acme_voice/speech/faults.py": edit_in_the_middle(project / "src/acme_voice/speech/faults.py"),
        ".env.example": append(project / ".env.example", "MY_OWN=1\n"),
        ".gitignore": append(project / ".gitignore", "my-own/\n"),
        "README.md": "# Ours\n",
        "src/acme_voice/app.py": '"""Ours."""\n',
    }
    for name, text in mine.items():
        (project / name).write_text(text)
    dependencies = project / "pyproject.toml"
    dependencies.write_text(dependencies.read_text().replace('[speech]",\n]', '[speech]",\n  "boto3",\n]'))
    commit(project, "mine")
    changeable.release(
        "v2.0.0",
        {
            "template/{{ home_ }}/speech/faults.py": ('"""', '"""Second edition.  '),
            "includes/env.jinja": ("\n# --- yours below", "\n# SPEECH_NEW=1\n\n# --- yours below"),
            "template/.gitignore.jinja": ("\n# --- yours below", "\n.new/\n\n# --- yours below"),
            "includes/needs.jinja": ("elevenlabs>=2.78,<3", "elevenlabs>=3,<4"),
            "template/README.md.jinja": ("# {{ package_name }}", "# {{ package_name }}, second edition"),
        },
    )
    update(project, {}, ref=None)

    assert git(project, "diff", "--name-only", "--diff-filter=U") == ""
    after = {name: content.decode() for name, content in files(project).items()}
    assert "Second edition." in after["src/acme_voice/speech/faults.py"]
    assert "# mine, in the middle" in after["src/acme_voice/speech/faults.py"]
    assert "SPEECH_NEW" in after[".env.example"] and "MY_OWN" in after[".env.example"]
    assert ".new/" in after[".gitignore"] and "my-own/" in after[".gitignore"]
    assert "elevenlabs>=3,<4" in after["pyproject.toml"] and "boto3" in after["pyproject.toml"]
    assert (after["README.md"], after["src/acme_voice/app.py"]) == (mine["README.md"], mine["src/acme_voice/app.py"])


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "fastapi"])
def test_edits_survive_another_framework_and_backend(renders: Renders, tmp_path: Path, framework: str) -> None:
    """What stays keeps what was changed in it; what goes, goes."""
    project = renders.own(SERVICES[0], tmp_path / "project")
    stays = project / "src/acme_voice/speech/limiter.py"
    stays.write_text(edit_in_the_middle(stays))
    (project / "src/acme_voice/app.py").write_text('"""Mine."""\n')
    commit(project, "mine")
    other = SERVICES[0] | {"framework": framework, "cache_backend": "redis"}
    update(project, {name: value for name, value in other.items() if name != "layout"})

    fresh = files(renders.of(other))
    changed = {name for name, content in files(project).items() if content != fresh[name]}
    assert changed == {"src/acme_voice/speech/limiter.py", "src/acme_voice/app.py"}
    assert "# mine, in the middle" in stays.read_text()


def test_deleted_files_stay_deleted(renders: Renders, tmp_path: Path) -> None:
    """By plain `copier update`: it reads _skip_if_exists for them before there are computed answers."""
    for name, answers in {"service": SERVICES[0], "package": PACKAGES[0]}.items():
        project = renders.own(answers, tmp_path / name)
        faults = next(project.rglob("speech/faults.py"))
        faults.unlink()
        commit(project)
        update(project, {"pricing_tier": "pro"})

        assert not faults.exists()
        assert yaml.safe_load(next(project.glob(".copier-answers*.yml")).read_text())["pricing_tier"] == "pro"


def test_new_release_gives_what_a_fresh_copy_gives(changeable: Template, tmp_path: Path) -> None:
    """copy@v1 + update == copy@v2, but for the seeded files, in both layouts."""
    rows = {"service": SERVICES[0], "package": PACKAGES[0]}
    projects = {layout: changeable.copy(tmp_path / layout, answers) for layout, answers in rows.items()}
    (changeable.path / "template/{{ home_ }}/speech/new.py").write_text('"""New."""\n')
    changeable.release("v2.0.0", {"generator/catalogue/plans.yaml": ("price_usd_month: 22", "price_usd_month: 23")})
    for layout, project in projects.items():
        commit(project)
        update(project, {}, ref=None)

        assert files(project) == files(changeable.copy(tmp_path / f"fresh-{layout}", rows[layout]))


def test_a_retired_plan_is_kept(changeable: Template, tmp_path: Path) -> None:
    """Marked, it stays what it was; only a plan that vanished would turn into the default."""
    project = changeable.copy(tmp_path / "project", SERVICES[0] | {"pricing_tier": "scale"})
    commit(project)
    changeable.release(
        "v2.0.0", {"generator/catalogue/plans.yaml": ("  scale:\n", "  scale:\n    retired: '2027-01-01'\n")}
    )
    update(project, {}, ref=None)

    assert yaml.safe_load((project / ".copier-answers.yml").read_text())["pricing_tier"] == "scale"


def test_a_name_that_becomes_forbidden_stays(changeable: Template, tmp_path: Path) -> None:
    """Names are judged at birth only: else a longer list would rename a project to the default."""
    project = changeable.copy(tmp_path / "project", SERVICES[0])
    commit(project)
    changeable.release("v2.0.0", {"includes/names.jinja": ("set taken = '", "set taken = 'acme_voice ")})
    update(project, {}, ref=None)

    assert yaml.safe_load((project / ".copier-answers.yml").read_text())["package_name"] == "acme_voice"


@pytest.mark.parametrize(
    ("answers", "leftover"),
    [
        (SERVICES[0], "gateway: true\npackage_dir: src/x\nquality: balanced\n"),
        (PACKAGES[0], "deploy: true\nproject_name: Other\npackage_name: other\nquality: balanced\n"),
    ],
    ids=["service", "package"],
)
def test_leftovers_in_the_answers_file_do_no_harm(
    renders: Renders, tmp_path: Path, answers: dict[str, Any], leftover: str
) -> None:
    """Recorded answers are played back through --data: what is not asked there, or no more, is not refused."""
    project = renders.own(answers, tmp_path / "project")
    recorded = next(project.glob(".copier-answers*.yml"))
    recorded.write_text(recorded.read_text() + leftover)
    commit(project)
    update(project, {"pricing_tier": "pro"})

    assert files(project) == files(renders.of(answers | {"pricing_tier": "pro"}))


def test_package_touches_nothing_of_its_host(template: Template, host: Path) -> None:
    """Into a flat project that has files of all our names: one folder and one answers file are new."""
    done = copier_cli("copy", "--defaults", *as_options({"layout": "package", "gateway": "yes"}), template.path, host)
    status = git(host, "status", "--porcelain", "-uall").splitlines()

    assert done.returncode == 0, done.stderr
    assert [line for line in status if not line.startswith("??")] == []
    outside = {line[3:] for line in status if not line[3:].startswith("app/speech/")}
    assert outside == {".copier-answers.elevenlabs.yml"}


def test_package_is_updated_by_its_own_answers_file(template: Template, host: Path) -> None:
    """-a names it; nothing but the plan's three places changes."""
    copier_cli("copy", "--defaults", "-d", "layout=package", template.path, host)
    commit(host)
    update_it = ("update", "--defaults", "-a", ".copier-answers.elevenlabs.yml", "--vcs-ref", ":current:")
    done = copier_cli(*update_it, "-d", "pricing_tier=pro", cwd=host)

    assert done.returncode == 0, done.stderr
    assert set(git(host, "diff", "--name-only").splitlines()) == {
        ".copier-answers.elevenlabs.yml",
        "app/speech/.env.example",
        "app/speech/answers.py",
    }


def test_home_is_where_the_answers_say(template: Template, tmp_path: Path) -> None:
    """A package folder may lie as deep as it likes."""
    template.copy(tmp_path / "host", {"layout": "package", "package_dir": "apps/voice-api/MySite"})

    assert set(p.name for p in (tmp_path / "host").iterdir()) == {".copier-answers.elevenlabs.yml", "apps"}
    assert (tmp_path / "host/apps/voice-api/MySite/speech/answers.py").exists()
