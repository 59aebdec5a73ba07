"""``assess: ignore[rule-id]`` in a comment, on the line or alone on the one above; without brackets, every rule."""

import re
from collections.abc import Iterable

from .findings import Finding
from .project import Project

SAID = re.compile(r"assess:\s*ignore(?:\[([\w\s,-]*)\])?")
ALONE = re.compile(r"^\s*(?:#|//|/?\*|<!--|--|;|\{#)")


def split(findings: Iterable[Finding], project: Project) -> tuple[list[Finding], int]:
    """What stays, and how many were told to be quiet."""
    every = list(findings)
    left = [finding for finding in every if not is_ignored(finding, project)]
    return left, len(every) - len(left)


def is_ignored(finding: Finding, project: Project) -> bool:
    above = project.line(finding.file, finding.line - 1)
    lines = [project.line(finding.file, finding.line), above if ALONE.match(above) else ""]
    return any(names(match, finding.rule) for line in lines for match in SAID.finditer(line))


def names(match: re.Match[str], rule: str) -> bool:
    return match[1] is None or rule in [one.strip() for one in match[1].split(",")]
