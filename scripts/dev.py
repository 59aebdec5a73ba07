"""Sets up .venv beside this checkout and runs one task in it: python3 scripts/dev.py TASK (see TASKS, or `make help`)

Needs Python 3.11 or newer and git; installs nothing anywhere else.  uv is used where it is found, else venv and pip.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / ".stamp"

TASKS = {
    "setup": [],
    "demo": [["scripts/demo.py"]],
    "test": [["-m", "pytest", "-q", "-n", "3", "--dist", "worksteal", "-m", "not full"]],
    "test-all": [["-m", "pytest", "-q", "-n", "2", "--dist", "worksteal"]],
    "lint": [["-m", "ruff", "check", "."], ["-m", "ruff", "format", "--check", "."], ["-m", "mypy"]],
    "manifest": [["-m", "generator.manifest"]],
    "docs": [["-m", "generator.docs"]],
    "bench": [["-m", "benchmarks"]],
}


def main(task: str, *more: str) -> int:
    use_a_new_enough_python()
    set_up()
    for step in TASKS[task]:
        code = subprocess.run([PYTHON, *step, *more], cwd=ROOT).returncode
        if code:
            return code
    return 0


def use_a_new_enough_python() -> None:
    if sys.version_info >= (3, 11):  # noqa: UP036 - an older one may well start this
        return
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        if found := shutil.which(name):
            os.execv(found, [found, *sys.argv])
    sys.exit(f"this needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")


def set_up() -> None:
    """Make .venv, and install what pyproject.toml says, if that changed since."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    uv = shutil.which("uv")
    say("making .venv")
    if uv:
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)])
    else:
        make_venv()
    say("installing what pyproject.toml names into .venv (about half a minute)")
    if uv:
        run([uv, "pip", "install", "--quiet", "--python", str(PYTHON), "-e", ".", "--group", "dev"])
    else:
        pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run([*pip, "pip>=25.1"])  # older ones know no --group
        run([*pip, "--no-compile", "-e", ".", "--group", "dev"])
    STAMP.write_text(wanted)


def make_venv() -> None:
    try:
        import ensurepip  # noqa: F401 - Debian ships venv without it
    except ImportError:
        sys.exit("this Python cannot make virtual environments: install python3-venv")
    shutil.rmtree(VENV, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(VENV)])


def run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(f"failed ({done.returncode}): {' '.join(command)}")


def say(what: str) -> None:
    print(f"[setup] {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        sys.exit(f"one of: {' '.join(TASKS)}")
    sys.exit(main(*sys.argv[1:]))
