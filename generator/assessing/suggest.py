"""The answers that ``add`` would be given for this project, and where each comes from."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from ..hosting.detect import detect
from . import facts, files
from .assess import Assessment
from .deployment import processes
from .guards import guards_around
from .rule import Case


class Answer(NamedTuple):
    name: str
    value: str
    why: str


class Suggestion(NamedTuple):
    answers: list[Answer]
    command: str


def suggest(assessment: Assessment, path: Path) -> Suggestion | None:
    """None where there is no ElevenLabs code to replace, or ours is there already."""
    project, case = assessment.project, assessment.case
    if path.is_file() or not case.spending.all or any(name.endswith("speech/MANIFEST.json") for name in project.names):
        return None
    host = detect(project.root)
    answers = [Answer("framework", host.framework.value, host.framework.why)]
    if host.package_dir.value:
        answers.append(Answer("package_dir", host.package_dir.value, host.package_dir.why))
    answers.append(cache(case))
    if tier := plan(case):
        answers.append(tier)
    given = [f"-d {answer.name}={shlex.quote(answer.value)}" for answer in answers]
    return Suggestion(answers, " ".join(["copier-elevenlabs add", shlex.quote(str(path)), *given]))


def cache(case: Case) -> Answer:
    for source in case.project.texts:
        if source.suffix in files.CODE | files.CONFIG | {".txt"} and (
            found := re.search(r"^.*\bredis\b(?!.*elasti).*$", source.text, re.MULTILINE | re.IGNORECASE)
        ):
            return Answer("cache_backend", "redis", f"{source.name} has Redis: {found[0].strip()[:60]}")
    if (many := processes(case.project)) is not None:
        return Answer("cache_backend", "redis", f"several processes share one plan ({many.where})")
    return Answer("cache_backend", "memory", "one process, and no Redis in sight")


def plan(case: Case) -> Answer | None:
    """The smallest plan whose limit is as wide as the semaphore that is there; nothing where there is none."""
    paid = [spend for spend in case.spending.all if spend.paid]
    guards = [guard for spend in paid for guard in guards_around(spend.call, spend.scope, case.spending)]
    sizes = {guard.size: guard for guard in guards if guard.size and guard.size > 1}
    if not sizes:
        return None
    widest = max(sizes)
    plans = facts.load()["plans"]
    for name in sorted(plans, key=lambda name: plans[name]["concurrency"]["standard"]["limit"] or 10_000):
        if name not in ("payg", "enterprise") and facts.limit("standard", name) >= widest:
            return Answer(
                "pricing_tier",
                name,
                f"{sizes[widest].said} lets in {widest:g}, and {name} takes {facts.limit('standard', name)}",
            )
    return None
