"""What `add` and `assess` find out about a project by reading it: framework, package, application, dependencies."""

import os
from pathlib import Path

import pytest
from hosts import DJANGO, HOSTS, MONOREPO, Host, Tree, build

from generator.hosting.apps import App
from generator.hosting.dependencies import kept, setuptools_file
from generator.hosting.detect import detect
from generator.hosting.modules import import_root, module


def grown(root: Path, tree: Tree) -> Path:
    """*tree* as files, without git."""
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


FASTAPI, FLASK = "from fastapi import FastAPI\napp = FastAPI()\n", "from flask import Flask\napp = Flask(__name__)\n"
APPS: dict[str, tuple[Tree, tuple[str, str, int, int, str, str]]] = {
    "alias": (
        {"a/__init__.py": "", "a/b.py": "import fastapi as f\nx = f.FastAPI()\n"},
        ("fastapi", "a/b.py", 2, 2, "x", ""),
    ),
    "renamed": (
        {"a/__init__.py": "from flask import Flask as F\ny: F = F('a')\n"},
        ("flask", "a/__init__.py", 2, 2, "y", ""),
    ),
    "by module": (
        {"a/__init__.py": "", "a/m.py": "import litestar.app\nz = litestar.app.Litestar(\n  []\n)\n"},
        ("litestar", "a/m.py", 2, 4, "z", ""),
    ),
    "in a factory": (
        {"a/__init__.py": "def make():\n  from flask import Flask\n  it = Flask('a')\n  return it\n"},
        ("flask", "a/__init__.py", 3, 3, "it", "make"),
    ),
    "on self": (
        {"a/__init__.py": "import fastapi\nclass S:\n  def __init__(self):\n    self.app = fastapi.FastAPI()\n"},
        ("fastapi", "a/__init__.py", 4, 4, "self.app", "__init__"),
    ),
    "subclass": (
        {"a/__init__.py": "from flask import Flask\nclass Mine(Flask): ...\napp = Mine('a')\n"},
        ("flask", "a/__init__.py", 3, 3, "app", ""),
    ),
    "returned": (
        {"a/__init__.py": "from fastapi import FastAPI\ndef make():\n    return FastAPI()\n"},
        ("fastapi", "a/__init__.py", 3, 3, "", "make"),
    ),
    "the entrance": (
        {"a/__init__.py": "", "a/admin.py": FASTAPI, "a/main.py": FASTAPI, "a/v1/main.py": FASTAPI},
        ("fastapi", "a/main.py", 2, 2, "app", ""),
    ),
    "not in tests": (
        {
            "a/__init__.py": "",
            "a/w.py": FASTAPI,
            "a/tests/app.py": FLASK,
            "tests/conftest.py": FLASK,
            "docs/app.py": FLASK,
        },
        ("fastapi", "a/w.py", 2, 2, "app", ""),
    ),
    "examples are all there is": ({"example/__init__.py": FLASK}, ("flask", "example/__init__.py", 2, 2, "app", "")),
    "split settings": (DJANGO.tree, ("django", "backend/market/settings/base.py", 1, 6, "globals()", "")),
}


@pytest.mark.parametrize(("tree", "app"), APPS.values(), ids=APPS)
def test_finds_where_the_application_is_made(
    tmp_path: Path, tree: Tree, app: tuple[str, str, int, int, str, str]
) -> None:
    """By resolved imports, wherever it is and whatever it is called."""
    host = detect(grown(tmp_path, tree))

    assert host.app == App(*app)
    assert (host.framework.value, host.framework.sure) == (app[0], "sure")


NOT_APPS = {
    "a name of its own": "class FastAPI: ...\napp = FastAPI()\n",
    "in a string": 'CODE = """\nfrom flask import Flask\napp = Flask(__name__)\n"""\n',
    "in a comment": "# from fastapi import FastAPI; app = FastAPI()\n",
    "another library's": "from not_flask import Flask\napp = Flask()\n",
    "half of the settings": "INSTALLED_APPS = []\n",
}


@pytest.mark.parametrize("code", NOT_APPS.values(), ids=NOT_APPS)
def test_is_not_taken_in_by_names(tmp_path: Path, code: str) -> None:
    """A word is not an application."""
    host = detect(grown(tmp_path, {"a/__init__.py": code}))

    assert (host.framework.value, host.app, host.package_dir.value) == ("none", None, "a")


PLACES: dict[str, tuple[Tree, str, str, str]] = {
    "flat": ({"shop/__init__.py": FASTAPI, "tests/__init__.py": ""}, "shop", "sure", "shop"),
    "src": ({"src/shop/__init__.py": "", "src/shop/web/__init__.py": FASTAPI}, "src/shop", "sure", "shop"),
    "nested": ({"backend/src/x/__init__.py": FASTAPI}, "backend/src/x", "sure", "x"),
    "no framework": ({"a/__init__.py": "", "setup.py": ""}, "a", "sure", "a"),
    "the one with the app": ({"a/__init__.py": "", "b/__init__.py": FLASK, "c/__init__.py": ""}, "b", "sure", "b"),
    "package of packages": ({"apps/__init__.py": "", "apps/api/__init__.py": FASTAPI}, "apps", "sure", "apps"),
    "a script beside one": ({"main.py": FASTAPI, "lib/__init__.py": ""}, "lib", "likely", "lib"),
    "a script that imports one": (
        {"main.py": FASTAPI + "from lib import x\n", "lib/__init__.py": "", "more/__init__.py": ""},
        "lib",
        "likely",
        "lib",
    ),
    "without __init__": (
        {"app/main.py": FASTAPI + "from app.routes import r\n", "app/routes/__init__.py": ""},
        "app",
        "likely",
        "app",
    ),
    "several": ({"a/__init__.py": "", "b/__init__.py": ""}, "", "unsure", ""),
    "two applications": ({"a/__init__.py": FASTAPI, "b/__init__.py": FLASK}, "", "unsure", ""),
    "a script": ({"main.py": FASTAPI}, "", "unsure", ""),
    "folders without": ({"worker/run.py": ""}, "", "unsure", ""),
    "nothing": ({"README.md": ""}, "", "unsure", ""),
}


@pytest.mark.parametrize(("tree", "place", "sure", "name"), PLACES.values(), ids=PLACES)
def test_finds_the_package(tmp_path: Path, tree: Tree, place: str, sure: str, name: str) -> None:
    """The one that holds the application; else the only one; else it doesn't guess."""
    found = detect(grown(tmp_path, tree)).package_dir

    assert (found.value, found.sure) == (place, sure)
    assert not place or module(tmp_path, place) == name


def test_says_which_it_could_be(tmp_path: Path) -> None:
    """Candidates for a question; what is given settles the rest."""
    root = grown(tmp_path, {"a/__init__.py": FASTAPI, "b/__init__.py": FLASK, "c/__init__.py": ""})

    assert detect(root).candidates == ("a", "b", "c")
    assert detect(root).framework.why == "fastapi in a/__init__.py:2 and flask in b/__init__.py:2"
    assert detect(root, framework="flask").package_dir.value == "b"
    assert detect(root, package_dir="a").framework[:2] == ("fastapi", "sure")


def test_a_member_of_a_monorepo_is_a_project_of_its_own(tmp_path: Path) -> None:
    """Neither framework nor dependencies of the neighbour are its."""
    host = detect(grown(tmp_path, MONOREPO.tree), package_dir="apps/mill/mill")

    assert (host.framework.value, host.dependencies.value, host.dependencies_in) == ("none", "setuptools", "apps/mill")


def test_what_no_parser_reads_is_passed_over(tmp_path: Path) -> None:
    """Python 2, half a file, other encodings, null bytes, a huge one, links in a circle, tools' folders."""
    tree: Tree = {
        "a/__init__.py": "# coding: latin-1\nfrom flask import Flask\napp = Flask('caf\xe9')\n".encode("latin-1"),
        "a/old.py": "import fastapi\nprint 'x'\n",
        "a/half.py": "import fastapi\ndef f(\n",
        "a/null.py": b"import fastapi\0\n",
        "a/wide.py": "import fastapi\n".encode("utf-16"),
        "a/deep.py": "import fastapi\nx = " + "(" * 5000 + ")" * 5000 + "\n",
        "a/huge.py": "import fastapi\napp = fastapi.FastAPI()\n" + "#" * 2_000_000,
        "a/escape.py": "import fastapi\nx = '\\d'\n",
        ".venv/pyvenv.cfg": "",
        "other/pyvenv.cfg": "",
        "other/lib/app.py": FASTAPI,
        **{f"{name}/x/app.py": FASTAPI for name in ("node_modules", ".git", "build", "dist", ".tox", "venv")},
    }
    root = grown(tmp_path, tree)
    (root / "a/round").symlink_to(root)
    (root / "a/link.py").symlink_to(root / "other/lib/app.py")

    assert detect(root).app == App("flask", "a/__init__.py", 3, 3, "app")


POETRY = '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\nflask = "^3"\n'
PROJECT = '[project]\nname = "x"\ndependencies = ["Flask>=3"]\n'
BUILT = "[build-system]\nbuild-backend = "
KEPT: dict[str, tuple[Tree, str, str]] = {
    "uv": ({"uv.lock": "", "pyproject.toml": PROJECT}, "uv", "uv.lock"),
    "uv without a lock": ({"pyproject.toml": PROJECT + "[tool.uv]\n"}, "uv", "[tool.uv] in pyproject.toml"),
    "poetry": ({"pyproject.toml": POETRY, "requirements.txt": ""}, "poetry", "[tool.poetry] in pyproject.toml"),
    "pdm": ({"pdm.lock": "", "pyproject.toml": PROJECT}, "pdm", "pdm.lock"),
    "pipenv": ({"Pipfile": "[packages]\n", "setup.py": ""}, "Pipfile", "Pipfile"),
    "hatch": (
        {"pyproject.toml": PROJECT + "[build-system]\nbuild-backend = 'hatchling.build'\n"},
        "hatch",
        "hatchling",
    ),
    "setuptools": ({"pyproject.toml": PROJECT}, "setuptools", "built by setuptools"),
    "another": (
        {"pyproject.toml": PROJECT + "[build-system]\nbuild-backend = 'flit_core.buildapi'\n"},
        "pyproject",
        "flit",
    ),
    "tools' settings only": (
        {"pyproject.toml": "[tool.ruff]\n", "requirements.txt": ""},
        "requirements.txt",
        "requirem",
    ),
    "dynamic": (
        {"pyproject.toml": '[project]\nname = "x"\ndynamic = ["dependencies"]\n', "requirements.txt": ""},
        "requirements.txt",
        "requirements.txt",
    ),
    "pip-tools": ({"requirements.in": "", "requirements.txt": ""}, "requirements.txt", "requirements.in"),
    "setup.cfg": ({"setup.cfg": "[options]\n", "setup.py": ""}, "setuptools", "setup.cfg"),
    "setup.cfg of a linter": ({"setup.cfg": "[flake8]\n", "setup.py": ""}, "setup.py", "setup.py"),
    "broken": ({"pyproject.toml": "[", "setup.cfg": "x"}, "none", "no file"),
    "none": ({}, "none", "no file of dependencies"),
}


@pytest.mark.parametrize(("tree", "kind", "why"), KEPT.values(), ids=KEPT)
def test_finds_what_keeps_the_dependencies(tmp_path: Path, tree: Tree, kind: str, why: str) -> None:
    """By lock, table, backend, file: in that order."""
    found = kept(grown(tmp_path, tree), "src/x")

    assert found.kind == kind
    assert why in found.why


def test_a_member_goes_by_the_lock_of_its_workspace(tmp_path: Path) -> None:
    """uv, though its own pyproject.toml doesn't say so."""
    root = build(tmp_path, {"uv.lock": "", "pyproject.toml": "[tool.uv]\n", "apps/a/pyproject.toml": PROJECT})

    assert kept(root, "apps/a/src/a")[:2] == ("uv", "apps/a")
    assert kept(root / "apps/a", "src/a")[:2] == ("uv", ".")


@pytest.mark.parametrize("tree", [{"a/__init__.py": "import flask\n"}, {"pyproject.toml": PROJECT}])
def test_a_framework_without_an_application(tmp_path: Path, tree: Tree) -> None:
    """Imported or required: likely, and no place to paste."""
    host = detect(grown(tmp_path, tree))

    assert (host.framework.value, host.framework.sure, host.app) == ("flask", "likely", None)


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_imports_start_at_the_first_folder_with_an_init(tmp_path: Path, host: Host) -> None:
    """So that what is printed can be imported from where the host is run."""
    root = grown(tmp_path, host.tree)

    assert module(root, host.package_dir) == host.package_dir.rpartition("/")[2]
    assert (root / import_root(root, host.package_dir)).samefile(root / host.folder / host.path)


BUILT_BY_SETUPTOOLS: dict[str, tuple[Tree, str]] = {
    "pyproject.toml": ({"pyproject.toml": PROJECT + BUILT + "'setuptools.build_meta'\n"}, "pyproject.toml"),
    "setup.cfg": ({"setup.cfg": "[options]\n", "pyproject.toml": BUILT + "'setuptools.build_meta'\n"}, "setup.cfg"),
    "setup.py": ({"setup.py": ""}, "setup.py"),
    "never built": ({"pyproject.toml": PROJECT}, ""),
    "another": ({"pyproject.toml": PROJECT + BUILT + "'hatchling.build'\n", "setup.py": ""}, ""),
}


@pytest.mark.parametrize(("tree", "file"), BUILT_BY_SETUPTOOLS.values(), ids=BUILT_BY_SETUPTOOLS)
def test_knows_who_leaves_data_files_out_of_a_wheel(tmp_path: Path, tree: Tree, file: str) -> None:
    """setuptools does, unless it is told: without catalogue.json the package does not start."""
    assert setuptools_file(grown(tmp_path, tree)) == file


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_unreadable_and_looping_folders(tmp_path: Path) -> None:
    """A loop of links below the package ends nowhere."""
    root = grown(tmp_path, {"a/__init__.py": FASTAPI})
    (root / "a/self").symlink_to(root / "a/self")

    assert detect(root).package_dir.value == "a"
