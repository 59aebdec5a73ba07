"""The folder: for its owner alone, at every level, and git doesn't see it."""

from pathlib import Path


def make(root: Path, below: str = "") -> Path:
    """``root/below``, made where it is missing."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = root
    for name in Path(below).parts:
        path /= name
        path.mkdir(mode=0o700, exist_ok=True)
    if not (ignore := root / ".gitignore").exists():
        ignore.write_text("*\n")
    return path
