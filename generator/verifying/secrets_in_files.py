"""What git may see of the project: no key, and nothing that could become one."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .checks import Saw, check
from .project import Project
from .stage import Stage

KEY = re.compile(rb"\bsk_[0-9a-f]{40,}\b|ELEVENLABS_API_KEY[\"']?\s*[:=]\s*[\"']?[0-9a-f]{32}\b")
OURS = re.compile(
    r"^[ \t#]*(?:export[ \t]+)?(ELEVENLABS_API_KEY|XI_API_KEY|SPEECH_CLIENT_KEYS)[ \t]*=[ \t]*(\S+)", re.M
)
PLACEHOLDER = re.compile(r"(\w+:)?your_(\w+_)?key_here")
MEMORABLE = 16  # characters: shorter ones may stand anywhere by chance
SIZE_MAX = 2 * 2**20
SKIPPED = (".git", ".venv", "node_modules", "__pycache__")


@check("git ignores .env, and what the service keeps", ".gitignore")
async def ignored(on: Stage) -> Saw:
    if not (on.project.path / ".gitignore").is_file() and not _in_git(on.project.path):
        return Saw(None, "no git here, and no .gitignore")
    wanted = [".env", ".env.production", *([".speech/x"] if on.project.backend == "disk" else [])]
    seen = [name for name in (*wanted, ".env.example") if _is_ignored(on, name)]
    return Saw(seen == wanted, f"ignored: {', '.join(seen) or 'nothing'}", f"ignored: {', '.join(wanted)}, no more")


@check(".env.example holds placeholders, never a key", ".env.example")
async def example(on: Stage) -> Saw:
    files = [file for file in (on.project.path / ".env.example", on.project.speech / ".env.example") if file.is_file()]
    if not files:
        return Saw(False, "there is none", "one that names every variable")
    bad = [name for file in files for name in _given(file)]
    return Saw(not bad, f"a value for {', '.join(bad)}" if bad else "placeholders only", "your_…_key_here")


@check("no file that git tracks holds a key", "the file named")
async def tracked(on: Stage) -> Saw:
    files, known = list(_files(on.project)), list(_known(on.project))
    found = [str(file.relative_to(on.project.path)) for file in files if _holds(file, known)]
    return Saw(
        not found, f"a key in {', '.join(found[:3])}" if found else f"{len(files)} files", "take it out, and revoke it"
    )


FILES = (ignored, example, tracked)


def _git(folder: Path, *argv: str) -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    return subprocess.run(["git", *argv], cwd=folder, env=env, capture_output=True, check=False)


def _in_git(folder: Path) -> bool:
    return _git(folder, "rev-parse", "--is-inside-work-tree").returncode == 0


def _is_ignored(on: Stage, name: str) -> bool:
    """By the project's rules, whether it is under git yet or not."""
    folder = on.project.path
    if not _in_git(folder):
        folder = on.folder / "ignored"
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_bytes((on.project.path / ".gitignore").read_bytes())
        _git(folder, "init", "-q")
    return _git(folder, "check-ignore", "-q", "--no-index", name).returncode == 0


def _given(file: Path) -> Iterator[str]:
    """Our secrets with a value that is no placeholder, be the line commented out or not."""
    text = file.read_text("utf-8", "replace")
    for name, value in OURS.findall(text):
        if not all(PLACEHOLDER.fullmatch(part) for part in value.strip("\"'").split(",")):
            yield name
    if KEY.search(text.encode()):
        yield "a key"


def _files(project: Project) -> Iterator[Path]:
    """Those that git tracks, or would."""
    if _in_git(project.path):
        listed = _git(project.path, "ls-files", "-co", "--exclude-standard", "-z").stdout.decode("utf-8", "replace")
        found = [project.path / name for name in listed.split("\0") if name]
    else:
        found = [file for file in _walk(project.path) if file.name != ".env"]
    return (file for file in found if file.is_file() and file.stat().st_size <= SIZE_MAX)


def _walk(path: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name not in SKIPPED]
        yield from (Path(folder) / name for name in names)


def _known(project: Project) -> Iterator[bytes]:
    """The real keys, where they are at hand: they have no business in a file that git sees."""
    env = project.path / ".env"
    text = env.read_text("utf-8", "replace") if env.is_file() else ""
    values = [value.strip("\"'") for _, value in OURS.findall(text)] + [os.environ.get("ELEVENLABS_API_KEY", "")]
    for value in values:
        for part in value.split(","):
            key = part.rpartition(":")[2]
            if len(key) >= MEMORABLE and not PLACEHOLDER.search(key):
                yield key.encode()


def _holds(file: Path, known: list[bytes]) -> bool:
    content = file.read_bytes()
    return bool(KEY.search(content)) or any(key in content for key in known)
