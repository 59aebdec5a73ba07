"""Git, asked from the project's side."""

import os
import subprocess
from pathlib import Path

# In somebody's repository nothing of theirs is run, and nothing is fetched, only because we look at it.
QUIET = {"GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
ALONE = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgSign=false")


def git(where: Path, *argv: str, stdin: str = "", no: int = 0) -> str:
    """What git prints.  Raises ValueError with what it says instead, FileNotFoundError where there is no git.

    *no* is what it ends with where its answer is no: some questions are answered by 1.
    """
    done = subprocess.run(
        ["git", *ALONE, *argv],
        cwd=where,
        input=stdin.encode("utf-8", "surrogateescape"),
        env=os.environ | QUIET,
        capture_output=True,
        check=False,
    )
    if done.returncode not in (0, no):
        said = done.stderr.decode("utf-8", "replace").strip() or f"git {argv[0]} ended with {done.returncode}"
        raise ValueError(said)
    return done.stdout.decode("utf-8", "surrogateescape")


def asked(where: Path, *argv: str, stdin: str = "") -> str | None:
    """What git answers, be it no; None where *where* is in no repository."""
    try:
        return git(where, *argv, stdin=stdin, no=1)
    except ValueError as error:
        if "not a git repository" in str(error):
            return None
        raise


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
