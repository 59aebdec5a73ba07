"""Git, asked from the project's side."""

import os
import subprocess
from pathlib import Path

# In somebody's repository nothing of theirs is run, and nothing is fetched, only because we look at it.
QUIET = {"GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgSign=false")


def git(where: Path, *argv: str, stdin: str = "") -> str:
    """What git prints.  Raises ValueError with what it says instead, FileNotFoundError where there is no git."""
    done = subprocess.run(
        ["git", *NO_HOOKS, *argv],
        cwd=where,
        input=stdin.encode("utf-8", "surrogateescape"),
        env=os.environ | QUIET,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"git {argv[0]} ended with {done.returncode}"
        raise ValueError(said)
    return done.stdout.decode("utf-8", "surrogateescape")


def listed(where: Path, *argv: str) -> list[str]:
    """A list that git prints with -z."""
    return [name for name in git(where, *argv).split("\0") if name]


def succeeds(where: Path, *argv: str) -> bool:
    """Whether git says yes."""
    try:
        git(where, *argv)
    except ValueError:
        return False
    return True
