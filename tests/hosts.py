"""Somebody's projects, as `add` meets them: six that run and have tests, of different frameworks and layouts."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rendering import commit

Tree = Mapping[str, str | bytes]


def build(root: Path, tree: Tree) -> Path:
    """*tree* as files, committed."""
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    commit(root, "theirs")
    return root


class Host(NamedTuple):
    """*tests* and *serve* are commands of its own, run in *folder* with *path* on the import path; *route* is what its
    owner writes into *routes* once the printed lines are pasted."""

    tree: Tree
    framework: str
    package_dir: str
    dependencies: str
    installs: str  # how the printed command begins
    tests: tuple[str, ...]
    serve: tuple[str, ...]  # none where another host shows the same
    folder: str = "."
    path: str = "."
    routes: str = ""
    route: str = ""


OTHERS = b"# of another template\n_commit: v3.1.0\n_src_path: gh:somebody/else\nlayout: flat\npackage_name: shop\n"
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")

FASTAPI = Host(
    {
        "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\ndependencies = ["fastapi"]\n\n[tool.uv]\n',
        "uv.lock": "version = 1\n",
        ".copier-answers.yml": OTHERS,
        ".gitignore": "__pycache__/\n.env\n!.env.sample\n",
        ".env.sample": "DATABASE_URL=sqlite://\n",
        ".envrc": "dotenv\n",
        "src/shop/__init__.py": "",
        "src/shop/main.py": (
            '"""The shop."""\r\n\r\nimport fastapi as web\r\n\r\n'
            'app = web.FastAPI(\r\n    title="Shop",\r\n)\r\n\r\n\r\n'
            '@app.get("/")\r\nasync def home() -> dict[str, str]:\r\n    return {"shop": "open"}\r\n'
        ),
        "tests/test_main.py": (
            "from fastapi.testclient import TestClient\nfrom shop.main import app\n\n\n"
            "def test_home():\n    with TestClient(app) as client:\n"
            '        assert client.get("/").json() == {"shop": "open"}\n'
        ),
    },
    framework="fastapi",
    package_dir="src/shop",
    dependencies="uv",
    installs="uv add -r src/shop/speech/requirements.txt",
    tests=(*PYTEST, "tests"),
    serve=("-m", "uvicorn", "shop.main:app", "--log-level", "warning", "--port"),
    path="src",
    routes="src/shop/main.py",
    route="""
from typing import Annotated
from fastapi import Depends, Response
from shop.speech import SpeechClient
from shop.speech.web import get_speech


@app.get("/say/{text}")
async def say(text: str, speech: Annotated[SpeechClient, Depends(get_speech)]) -> Response:
    audio = await speech.synthesize(text)
    return Response(audio.data, media_type=audio.media_type)
""",
)

FLASK = Host(
    {
        "requirements.txt": "flask>=3\n",
        ".gitignore": b"__pycache__/\r\n*.log",
        ".env.example": b"SECRET_KEY=your_secret_here\r\n# SPEECH_TIER=pro\r\n",
        "blog/__init__.py": (
            "from flask import Flask as Application\n\n\n"
            "def create_app(testing: bool = False):\n"
            "    app = Application(__name__)\n"
            "    app.testing = testing\n\n"
            "    from . import posts\n\n    app.register_blueprint(posts.pages)\n"
            "    return app\n"
        ),
        "blog/posts.py": (
            "from flask import Blueprint\n\npages = Blueprint('posts', __name__)\n\n\n"
            "@pages.get('/')\ndef home():\n    return 'posts'\n"
        ),
        "tests/test_blog.py": (
            "from blog import create_app\n\n\n"
            "def test_home():\n    assert create_app(testing=True).test_client().get('/').text == 'posts'\n"
        ),
    },
    framework="flask",
    package_dir="blog",
    dependencies="requirements.txt",
    installs="pip install -r blog/speech/requirements.txt",
    tests=(*PYTEST, "tests"),
    serve=("-m", "flask", "--app", "blog:create_app", "run", "--port"),
    routes="blog/posts.py",
    route="""
from blog.speech.web import get_speech
from flask import Response


@pages.get("/say/<text>")
def say(text):
    audio = get_speech().synthesize(text)
    return Response(audio.data, mimetype=audio.media_type)
""",
)

DJANGO = Host(
    {
        "pyproject.toml": (
            '[tool.poetry]\nname = "market"\nversion = "1"\n\n'
            '[tool.poetry.dependencies]\npython = "^3.11"\ndjango = "^5.2"\n'
        ),
        "poetry.lock": "",
        ".gitignore": ".env*\n!.env.example\n",
        ".env.example": b"DEBUG=1",
        "backend/manage.py": (
            "import os\nimport sys\n\n"
            'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.settings.local")\n\n'
            "if __name__ == '__main__':\n    from django.core.management import execute_from_command_line\n\n"
            "    execute_from_command_line(sys.argv)\n"
        ),
        "backend/market/__init__.py": "",
        "backend/market/settings/__init__.py": "",
        "backend/market/settings/base.py": (
            'SECRET_KEY = "of-this-test-alone"\nALLOWED_HOSTS = ["*"]\nROOT_URLCONF = "market.urls"\n'
            'INSTALLED_APPS: list[str] = ["stalls"]\nMIDDLEWARE = ["django.middleware.common.CommonMiddleware"]\n'
            "DATABASES: dict[str, str] = {}"  # and no line end
        ),
        "backend/market/settings/local.py": "from .base import *\n\nDEBUG = True\n",
        "backend/market/urls.py": (
            "from django.urls import path\nfrom stalls import views\n\n"
            'say = path("say/<text>", lambda *given, **named: views.say(*given, **named))\n'
            'urlpatterns = [path("", views.home), say]\n'
        ),
        "backend/market/asgi.py": (
            "import os\n\nfrom django.core.asgi import get_asgi_application\n\n"
            'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.settings.local")\n'
            "application = get_asgi_application()\n"
        ),
        "backend/stalls/__init__.py": "",
        "backend/stalls/views.py": (
            "from django.http import HttpResponse\n\n\ndef home(request):\n    return HttpResponse('stalls')\n"
        ),
        "backend/stalls/tests.py": (
            "from django.test import SimpleTestCase\n\n\nclass Home(SimpleTestCase):\n"
            "    def test_home(self):\n        assert self.client.get('/').content == b'stalls'\n"
        ),
    },
    framework="django",
    package_dir="backend/market",
    dependencies="poetry",
    installs='poetry add "elevenlabs>=',
    tests=("manage.py", "test"),
    serve=("-m", "uvicorn", "market.asgi:application", "--lifespan", "off", "--log-level", "warning", "--port"),
    folder="backend",
    routes="backend/stalls/views.py",
    route="""
from market.speech.web import get_speech


def say(request, text):
    audio = get_speech.blocking().synthesize(text)
    return HttpResponse(audio.data, content_type=audio.media_type)
""",
)

LITESTAR = Host(
    {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        "setup.cfg": "[metadata]\nname = radio\n\n[options]\npackages = find:\ninstall_requires =\n  litestar>=2\n",
        "radio/__init__.py": "",
        "radio/app.py": (
            "# -*- coding: latin-1 -*-\nfrom litestar import Litestar, get\n\n\n"
            "@get('/')\nasync def home() -> str:\n    return 'on air, caf\xe9'\n\n\n"
            "routes = [home]\n\n\ndef create_app() -> Litestar:\n"
            "    station: Litestar = Litestar(routes)\n    return station\n"
        ).encode("latin-1"),
        "tests/test_radio.py": (
            "from litestar.testing import TestClient\nfrom radio.app import create_app\n\n\n"
            "def test_home():\n    with TestClient(create_app()) as client:\n"
            "        assert client.get('/').text.startswith('on air')\n"
        ),
    },
    framework="litestar",
    package_dir="radio",
    dependencies="setuptools",
    installs="pip install -r radio/speech/requirements.txt",
    tests=(*PYTEST, "tests"),
    serve=("-m", "uvicorn", "radio.app:create_app", "--factory", "--log-level", "warning", "--port"),
    routes="radio/app.py",
    route="""
from litestar import Response
from litestar.di import Provide
from radio.speech import SpeechClient
from radio.speech.web import get_speech


@get("/say/{text:str}", dependencies={"speech": Provide(get_speech)})
async def say(text: str, speech: SpeechClient) -> Response[bytes]:
    audio = await speech.synthesize(text)
    return Response(audio.data, media_type=audio.media_type)


routes.append(say)
""",
)

WORKER = Host(
    {
        "setup.py": "from setuptools import setup\n\nsetup(name='jobs')\n",
        ".env.example": "\ufeffQUEUE=jobs\r\n".encode("utf-16-le"),
        "jobs/__init__.py": "",
        "jobs/__main__.py": "import sys\n\nfrom .work import work\n\nprint(work(sys.argv[1]))\n",
        "jobs/work.py": "def work(text):\n    return text.upper()\n",
        "tests/test_work.py": "from jobs.work import work\n\n\ndef test_work():\n    assert work('a') == 'A'\n",
    },
    framework="none",
    package_dir="jobs",
    dependencies="setup.py",
    installs="pip install -r jobs/speech/requirements.txt",
    tests=(*PYTEST, "tests"),
    serve=("-m", "jobs", "hello"),
    routes="jobs/work.py",
    route="""
from jobs.speech import SpeechClient


def work(text):
    with SpeechClient.from_env().blocking() as speech:
        audio = speech.synthesize(text)
    return f"{text.upper()} {audio.media_type}"
""",
)

MONOREPO = Host(
    {
        "README.md": "# Two of them\n",
        "apps/api/pyproject.toml": (
            '[project]\nname = "api"\nversion = "1"\ndependencies = ["fastapi"]\n\n'
            '[build-system]\nrequires = ["pdm-backend"]\nbuild-backend = "pdm.backend"\n'
        ),
        "apps/api/gate/__init__.py": "",
        "apps/api/gate/web/__init__.py": "",
        "apps/api/gate/web/server.py": "from fastapi import FastAPI\n\nweb = FastAPI()\n\n\n"
        "@web.get('/')\nasync def home() -> str:\n    return 'gate'\n",
        "apps/api/tests/test_gate.py": (
            "from fastapi.testclient import TestClient\nfrom gate.web.server import web\n\n\n"
            "def test_home():\n    assert TestClient(web).get('/').json() == 'gate'\n"
        ),
        "apps/mill/pyproject.toml": '[project]\nname = "mill"\nversion = "1"\ndependencies = []\n',
        "apps/mill/mill/__init__.py": "",
        "apps/mill/mill/grind.py": "def grind(corn):\n    return corn\n",
    },
    framework="fastapi",
    package_dir="apps/api/gate",
    dependencies="pdm",
    installs='cd apps/api && pdm add "elevenlabs>=',
    tests=(*PYTEST, "tests"),
    serve=(),
    folder="apps/api",
)

HOSTS = {
    "fastapi-src-uv": FASTAPI,
    "flask-flat-requirements": FLASK,
    "django-nested-poetry": DJANGO,
    "litestar-setuptools": LITESTAR,
    "worker-setup.py": WORKER,
    "monorepo-pdm": MONOREPO,
}
