"""Reading a project and putting it before the rules."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

from . import suppress
from .findings import Finding, Severity, Unread, fingerprints
from .project import Project, read
from .rule import Case
from .rules import RULES


class Assessment(NamedTuple):
    """*findings* are in the order of files and lines; *marks* are their fingerprints."""

    case: Case
    findings: list[Finding]
    marks: list[str]
    suppressed: int
    rules: list[str]

    @property
    def project(self) -> Project:
        return self.case.project

    @property
    def severe(self) -> int:
        return self.count(Severity.severe)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def unread(self) -> list[Unread]:
        return sorted(self.project.unread)


def assess(path: Path, rules: Iterable[str], today: date) -> Assessment:
    """Raises FileNotFoundError where there is nothing at *path*."""
    project = read(path)
    case = Case(project, today)
    chosen = [name for name in RULES if name in set(rules)]
    found = (
        {hit.as_found(RULES[name]) for name in chosen for hit in RULES[name].check(case)} if speaks(project) else set()
    )
    findings, suppressed = suppress.split(sorted(found, key=lambda finding: finding.order), project)
    marks = fingerprints((finding, project.line(finding.file, finding.line)) for finding in findings)
    return Assessment(case, findings, marks, suppressed, chosen)


def speaks(project: Project) -> bool:
    """Is ElevenLabs in it at all?"""
    return any(
        word in source.text.lower()
        for source in project.texts
        for word in ("elevenlabs", "eleven_labs", "xi-api-key", "sk_")
    )
