"""Puts the template's tagged history into the wheel as one git bundle, so that `new` works offline.

A wheel carries committed, tagged templates only: an untagged or changed checkout is refused.
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
        if not (root / ".git").exists():
            if not bundle.exists():
                raise RuntimeError(
                    "neither git history nor generator/template.bundle here: build from the sdist or a checkout"
                )
            return  # a wheel built from the sdist carries the sdist's bundle
        if git(root, "status", "--porcelain", "--untracked-files=no"):
            raise RuntimeError("changed files here: a wheel carries committed templates only")
        tag = f"v{self.metadata.version}"
        if git(root, "describe", "--tags", "--always") != tag:
            raise RuntimeError(f"HEAD is not {tag}: tag it first")
        git(root, "bundle", "create", str(bundle), "--tags", "HEAD")


def git(root: Path, *argv: str) -> str:
    return subprocess.run(["git", "-C", str(root), *argv], check=True, capture_output=True, text=True).stdout.strip()
