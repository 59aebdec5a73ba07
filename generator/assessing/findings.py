"""What was found, where, why it matters, and how to mend it."""

import enum
import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Severity(enum.IntEnum):
    """Severe ends the command with 1: money or keys are lost today, or the next call fails."""

    note = 1
    warning = 2
    severe = 3


class Finding(NamedTuple):
    rule: str
    severity: Severity
    file: str
    line: int
    column: int
    what: str
    why: str
    mend: str

    @property
    def order(self) -> tuple[str, int, int, str]:
        return (self.file, self.line, self.column, self.rule)


class Unread(NamedTuple):
    """A file that could not be assessed as code, and why."""

    file: str
    why: str


def fingerprints(findings: Iterable[tuple[Finding, str]]) -> list[str]:
    """One for each finding with its line's text: the same when lines are added above, or the line is indented."""
    seen: Counter[str] = Counter()
    marks = []
    for finding, text in findings:
        mark = hashlib.sha256("\0".join([finding.rule, finding.file, " ".join(text.split())]).encode()).hexdigest()[:24]
        seen[mark] += 1
        marks.append(f"{mark}:{seen[mark]}")
    return marks
