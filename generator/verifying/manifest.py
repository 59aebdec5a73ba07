"""Which of the template's files were changed by hand: for an update to merge, no failure."""

import json

from ..manifest import NAME, sha256
from .project import Project


def changed(project: Project) -> list[str]:
    """Names below ``speech/``."""
    manifest = project.speech / NAME
    known = json.loads(manifest.read_text("utf-8")) if manifest.is_file() else {}
    there = {name: project.speech / name for name in known if (project.speech / name).is_file()}
    return [name for name, file in there.items() if sha256(file) != known[name]]
