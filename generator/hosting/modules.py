"""What a package is called in an import, and from which folder."""

import re
from pathlib import Path

ABOVE = re.compile(r"^(.*/)?(src|[^/]*[^/A-Za-z0-9_][^/]*)/")  # copier.yml's own, which sees no files


def module(dest: Path, package_dir: str) -> str:
    """``shop`` of ``backend/src/shop``: imports start at the first folder with an ``__init__.py``."""
    root = import_root(dest, package_dir)
    return (package_dir if root == "." else package_dir.removeprefix(f"{root}/")).replace("/", ".")


def import_root(dest: Path, package_dir: str) -> str:
    """The folder that has to be on the path; ``.`` for *dest* itself."""
    if not (dest / package_dir / "__init__.py").exists():
        above = ABOVE.match(package_dir)
        return above[0].rstrip("/") if above else "."
    folder = Path(package_dir)
    while folder != Path(".") and (dest / folder / "__init__.py").exists():
        folder = folder.parent
    return folder.as_posix()
