"""``speech/MANIFEST.json``: what the plain files of speech/ looked like when they left the template.

With it the rendered `check` tells offline which of them were changed by hand.  `make manifest` writes it.
"""

import hashlib
import json
from pathlib import Path

SPEECH = Path(__file__).parent.parent / "template/{{ home_ }}/speech"
NAME = "MANIFEST.json"


def hashes(speech: Path) -> dict[str, str]:
    """SHA-256 by path, with line ends as LF."""
    found = {f.relative_to(speech): f for f in sorted(speech.rglob("*")) if f.is_file()}
    return {p.as_posix(): sha256(f) for p, f in found.items() if is_plain(p) and f.name != NAME}


def is_plain(path: Path) -> bool:
    """Neither rendered, so another in each project, nor left behind by a tool."""
    return path.suffix not in (".jinja", ".pyc") and not any(part.startswith(".") for part in path.parts)


def sha256(file: Path) -> str:
    return digest(file.read_bytes())


def digest(content: bytes) -> str:
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def write(speech: Path = SPEECH) -> None:
    (speech / NAME).write_text(json.dumps(hashes(speech), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    write()
