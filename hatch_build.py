"""Puts the template's tagged history into the wheel as one git bundle, so that `new` and `update` work offline.

A wheel carries committed, tagged templates only: any other checkout is refused, in one line.
"""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        bundle = root / "generator/template.bundle"
        if version == "editable":
            return  # a checkout is its own source
        if (root / ".git").exists():
            refuse_what_is_no_release(root, f"v{self.metadata.version}")
            git(root, "bundle", "create", str(bundle), "--tags", "HEAD")
        elif not bundle.exists():  # a wheel built from the sdist carries the sdist's
            refuse("neither git history nor generator/template.bundle here: build from the sdist or a checkout")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if (Path(self.root) / ".git").exists():  # left behind, it would be rendered from instead of this checkout
            (Path(self.root) / "generator/template.bundle").unlink(missing_ok=True)


def refuse_what_is_no_release(root: Path, tag: str) -> None:
    if git(root, "status", "--porcelain", "--untracked-files=no"):
        refuse("changed files here: a wheel carries committed templates only")
    if stray := git(root, "ls-files", "--others", "--exclude-standard", "generator"):
        refuse(f"{stray.splitlines()[0]} is not committed, and would be packed: a wheel carries committed files only")
    if tag not in git(root, "tag", "--points-at", "HEAD").splitlines():
        refuse(f"HEAD is not {tag}: tag it first, or pip install -e . to try it")
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        refuse("this clone is shallow, and updates need the template's history: git fetch --unshallow --tags")


def refuse(why: str) -> None:
    raise SystemExit(f"copier-elevenlabs: {why}")


def git(root: Path, *argv: str) -> str:
    return subprocess.run(["git", "-C", str(root), *argv], check=True, capture_output=True, text=True).stdout.strip()
