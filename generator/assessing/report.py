"""What a person reads: by file, the severe in red, and one line at the end that says it all."""

from itertools import groupby
from typing import TYPE_CHECKING, Any

from .. import console
from .assess import Assessment
from .findings import Finding, Severity
from .suggest import Suggestion

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = {Severity.severe: "bold red", Severity.warning: "yellow", Severity.note: "cyan"}


def show(assessment: Assessment, suggestion: Suggestion | None) -> None:
    out = console.out()
    for name, findings in groupby(assessment.findings, key=lambda finding: finding.file):
        out.print(heading(name))
        for finding in findings:
            out.print(lines(finding))
        out.print()
    for unread in assessment.unread:
        out.print(styled((f"{unread.file}: not assessed as code: {unread.why}", "dim")))
    out.print(summary(assessment))
    if suggestion:
        out.print(styled(("\nOur integration would come in with\n", ""), (f"  {suggestion.command}", "bold")))


def heading(name: str) -> "Text":
    return styled((name, "bold underline"))


def lines(finding: Finding) -> "Text":
    """Where and what, then why, then the mend."""
    where = f"  {finding.line}:{finding.column}"
    return styled(
        (f"{where:<9} ", ""), (finding.severity.name, COLOURS[finding.severity]),
        (f"  {finding.what}", ""), (f"  [{finding.rule}]\n", "dim"),
        (f"           why   {finding.why}\n", ""), (f"           mend  {finding.mend}", ""),
    )  # fmt: skip


def summary(assessment: Assessment) -> "Text":
    """Read in ten seconds: how bad, where most, and what was looked at."""
    counts = [(severity, assessment.count(severity)) for severity in reversed(Severity)]
    said = ", ".join(f"{count} {plural(severity, count)}" for severity, count in counts if count) or "nothing found"
    count = len(assessment.project.names)
    looked = f"{count:,} {'file' if count == 1 else 'files'}, {len(assessment.project.modules):,} read as code"
    extra = f"; {assessment.suppressed} told to be quiet" if assessment.suppressed else ""
    worst = next((COLOURS[severity] for severity, count in counts if count), "bold green")
    return styled((said, worst), (f" in {looked}{extra}", ""))


def plural(severity: Severity, count: int) -> str:
    return severity.name if severity is Severity.severe or count == 1 else f"{severity.name}s"


def styled(*parts: tuple[str, str]) -> "Text":
    from rich.text import Text

    return Text.assemble(*parts)


def as_data(assessment: Assessment, suggestion: Suggestion | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    pairs = zip(assessment.findings, assessment.marks, strict=True)
    return {
        "root": str(assessment.project.root),
        "files": len(assessment.project.names),
        "read_as_code": len(assessment.project.modules),
        "counts": {severity.name: assessment.count(severity) for severity in reversed(Severity)},
        "suppressed": assessment.suppressed,
        "findings": [
            finding._asdict() | {"severity": finding.severity.name, "fingerprint": mark} for finding, mark in pairs
        ],
        "not_assessed": [unread._asdict() for unread in assessment.unread],
        "suggestion": suggestion
        and {
            "answers": {answer.name: answer.value for answer in suggestion.answers},
            "why": {answer.name: answer.why for answer in suggestion.answers},
            "command": suggestion.command,
        },
    }
