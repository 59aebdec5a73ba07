"""SARIF 2.1.0, as code hosts and editors read it."""

from typing import Any

from .assess import Assessment
from .findings import Finding, Severity
from .rules import RULES

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.severe: "error", Severity.warning: "warning", Severity.note: "note"}
FINGERPRINT = "copierElevenlabs/v1"


def log(assessment: Assessment, version: str) -> dict[str, Any]:
    """Paths are relative to the folder that was assessed, as URIs."""
    driver = {
        "name": "copier-elevenlabs assess",
        "version": version,
        "rules": [rule(name) for name in assessment.rules],
    }
    results = [
        result(finding, mark, assessment.rules)
        for finding, mark in zip(assessment.findings, assessment.marks, strict=True)
    ]
    unread = [
        {"level": "note", "message": {"text": f"not assessed as code: {one.why}"}, "locations": [location(one.file)]}
        for one in assessment.unread
    ]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"ROOT": {"uri": assessment.project.root.as_uri() + "/"}},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": unread}],
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def rule(name: str) -> dict[str, Any]:
    its = RULES[name]
    return {
        "id": its.id,
        "shortDescription": {"text": its.title},
        "fullDescription": {"text": f"{its.title}: {its.why}."},
        "help": {"text": f"{its.why}. Mend: {its.mend}.", "markdown": f"**Why**: {its.why}.\n\n**Mend**: {its.mend}."},
        "defaultConfiguration": {"level": LEVELS[its.severity]},
    }


def result(finding: Finding, mark: str, rules: list[str]) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.what}. {finding.why}. Mend: {finding.mend}."},
        "locations": [location(finding.file, {"startLine": finding.line, "startColumn": finding.column})],
        "partialFingerprints": {FINGERPRINT: mark},
    }


def location(name: str, region: dict[str, int] | None = None) -> dict[str, Any]:
    from urllib.parse import quote

    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(name), "uriBaseId": "ROOT"}}
    return {"physicalLocation": physical | ({"region": region} if region else {})}
