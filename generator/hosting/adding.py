"""Our package into a project that exists: rendered aside, shown, and then put in place wholly or not at all."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .. import copying
from ..changes import Change, File, read, unified
from ..git import asked
from .appending import Appended, append, variables
from .detect import Host, detect
from .ignoring import ignored, missing
from .modules import import_root
from .steps import Step, steps

RECORD = ".copier-answers.elevenlabs.yml"


class Addition(NamedTuple):
    """What will be written below *dest*; *new* stands whole in the folder *aside*."""

    dest: Path
    host: Host
    answers: dict[str, Any]
    version: str | None
    aside: Path
    new: list[str]
    appended: list[Appended]
    notes: list[str]
    steps: list[Step]


def look(dest: Path, given: dict[str, Any]) -> Host:
    """What is there.  Raises ValueError where nothing can be added."""
    if not dest.is_dir():
        raise ValueError(f"{dest} is not a folder" if dest.exists() else f"{dest} does not exist")
    if given.get("layout", "package") != "package":
        raise ValueError("add renders layout=package; for a whole project: copier-elevenlabs new")
    if (dest / RECORD).exists():
        raise ValueError(f"{dest} has {RECORD}: it was added before; copier-elevenlabs update {dest}")
    refuse_a_dirty_tree(dest)
    host = detect(dest, framework=given.get("framework"), package_dir=given.get("package_dir"))
    if host.package_dir.value:
        refuse_a_place(dest, host.package_dir.value, host)
    return host


def refuse_a_dirty_tree(dest: Path) -> None:
    """So that ``git diff`` afterwards is what was added, and nothing else; updates ask for the same."""
    changed = [line[3:] for line in (asked(dest, "status", "--porcelain", "--", ".") or "").splitlines()]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        why = "commit or stash first, so that what is added can be told from what is yours"
        raise ValueError(f"uncommitted changes in {', '.join(changed[:3])}{more}: {why}")


def refuse_a_place(dest: Path, package_dir: str, host: Host) -> None:
    place, speech = dest / package_dir, dest / package_dir / "speech"
    if not place.is_dir():
        there = f" ({', '.join(host.candidates)}?)" if host.candidates else ""
        raise ValueError(f"package_dir {package_dir} is not a folder of {dest}{there}")
    if place.resolve() != dest.resolve() / package_dir:
        raise ValueError(f"package_dir {package_dir} is not a plain path: name the folder that it leads to")
    if (speech / "MANIFEST.json").exists():
        raise ValueError(f"{package_dir}/speech is ours already: copier-elevenlabs update {dest}")
    for name in (speech, speech.with_suffix(".py")):
        if name.exists() or name.is_symlink():
            taken = f"{package_dir}/{name.name} is there, and not ours"
            raise ValueError(f"{taken}: rename it, or choose another folder with --package-dir")
    hiding = place.with_suffix(".py")
    if hiding.exists() and not (place / "__init__.py").exists():
        raise ValueError(f"{package_dir}.py hides {package_dir}/, which has no __init__.py: choose another folder")


def answers_for(host: Host, given: dict[str, Any], *, ask: bool) -> dict[str, Any]:
    """What was found as answers; what is unsure is left to be asked, or refused where nobody can be."""
    answers = {"layout": "package", **given}
    for name, guess in (("framework", host.framework), ("package_dir", host.package_dir)):
        if guess.sure != "unsure":
            answers.setdefault(name, guess.value)
        elif not ask:
            raise ValueError(f"{guess.why}{_choice(name, host)}: say --{name.replace('_', '-')}")
    return answers


def _choice(name: str, host: Host) -> str:
    if name != "package_dir":
        return ""
    return f" ({', '.join(host.candidates)})" if host.candidates else ", so make a folder for it (mkdir voice)"


@contextmanager
def staged(dest: Path, host: Host, answers: dict[str, Any], *, ask: bool) -> Iterator[Addition]:
    """The addition, rendered aside; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="copier-elevenlabs.") as folder:
        aside = Path(folder) / "project"
        rendered = copying.render(aside, answers, ask=ask, quiet=True)
        told, new = rendered["answers"], rendered["files"]
        answered = detect(dest, framework=told["framework"], package_dir=told["package_dir"])
        host = answered._replace(framework=host.framework, package_dir=host.package_dir)  # and their reasons
        refuse_a_place(dest, told["package_dir"], host)
        speech = aside / told["package_dir"] / "speech"
        appended = list(_appended(dest, told, (speech / ".env.example").read_text("utf-8")))
        needs = (speech / "requirements.txt").read_text("utf-8").splitlines()
        left = steps(dest, host, told, [need for need in needs if need and not need.startswith("#")])
        yield Addition(dest, host, told, rendered["version"], aside, new, appended, list(_notes(dest, new)), left)


def _appended(dest: Path, answers: dict[str, Any], example: str) -> Iterator[Appended]:
    home = answers["package_dir"]
    wanted = ["ELEVENLABS_API_KEY", "SPEECH_ENV", "SPEECH_TIER"]
    wanted += ["REDIS_URL"] if answers["cache_backend"] == "redis" else []
    wanted += ["SPEECH_CLIENT_KEYS"] if answers.get("gateway") else []
    env = dest / ".env.example"
    there = env.read_bytes() if env.is_file() else b""
    for path, lines in (
        (".gitignore", missing(dest, home, import_root(dest, home))),
        (".env.example", variables(there, example, f"{home}/speech/.env.example", wanted)),
    ):
        if lines:
            yield append(dest, path, lines)


def _notes(dest: Path, new: list[str]) -> Iterator[str]:
    if asked(dest, "rev-parse", "--show-toplevel") is None:
        yield "not under git: nothing shows what was added, and updates need it (git init, commit)"
    if lost := sorted(path for path in ignored(dest, new) if not path.endswith(".env.example")):
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        yield f"your .gitignore keeps {lost[0]}{more} out: git add -f, or they are missing where you deploy"
    if asked(dest, "ls-files", "--", ".env"):
        yield ".env is tracked: git rm --cached .env, and change what was in it"


def diff(addition: Addition) -> str:
    """As git writes it, so that ``git apply`` takes it."""
    changes = [Change(path, None, read(addition.aside / path)) for path in addition.new]
    for one in addition.appended:
        before = read(addition.dest / one.path)
        after = File((one.before or b"") + one.tail, before.mode if before else "100644")
        changes.append(Change(one.path, before, after))
    return "".join(unified(change) for change in sorted(changes, key=lambda change: change.path))


def write(addition: Addition) -> None:
    """All of it, or every byte as it was: also after Ctrl-C."""
    undo = ExitStack()
    try:
        _put(addition, undo)
    except BaseException:
        second = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave half of it
        undo.close()
        signal.signal(signal.SIGINT, second)
        raise


def _put(addition: Addition, undo: ExitStack) -> None:
    """Only what was shown, each with its way back said before it is done."""
    for path in (f"{addition.answers['package_dir']}/speech", RECORD):
        if (addition.dest / path).exists():
            raise ValueError(f"{path} has appeared meanwhile")
        undo.callback(_remove, addition.dest / path)
    for path in addition.new:
        (addition.dest / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(addition.aside / path, addition.dest / path)
    for one in addition.appended:
        _extend(addition.dest / one.path, one, undo)


def _extend(file: Path, one: Appended, undo: ExitStack) -> None:
    """At its end, in place: owner, mode and links stay."""
    if (file.read_bytes() if file.exists() else None) != one.before:
        raise ValueError(f"{one.path} has changed meanwhile")
    undo.callback(_remove, file) if one.before is None else undo.callback(os.truncate, file, len(one.before))
    with file.open("ab") as end:
        end.write(one.tail)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
