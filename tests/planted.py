"""The planted projects of tests/assess: laid out as somebody has them, with what must be found told by the files."""

import hashlib
import re
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rendering import git

from generator.assessing.assess import Assessment, assess
from generator.assessing.rules import RULES

FOLDER = Path(__file__).parent / "assess"
PROJECTS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
TODAY = date(2026, 11, 24)
EXPECT = re.compile(r"expect: ([a-z-]+(?:, [a-z-]+)*)")
DOTS = "dot_"


class Expected(NamedTuple):
    file: str
    line: int
    rule: str


def key(name: str = "a key", prefix: str = "sk_", digits: int = 48) -> str:
    """Shaped like a real one, and made here: none stands in this repository."""
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:digits]


KEYS = {
    "@KEY@": key(),
    "@KEY2@": key("2"),
    "@KEY3@": key("3"),
    "@HEX@": key("hex", "", 32),
    "@HEX2@": key("hex2", "", 32),
}


def lay_out(name: str, root: Path) -> Path:
    """A copy under Git, with keys put in and dots put before names; UNTRACKED lists what Git does not have."""
    shutil.copytree(FOLDER / name, root)
    for file in sorted(root.rglob("*")):
        if file.is_file():
            text = file.read_text("utf-8")
            for mark, value in KEYS.items():
                text = text.replace(mark, value)
            file.write_text(text, "utf-8")
            if file.name.startswith(DOTS):
                file.rename(file.with_name("." + file.name.removeprefix(DOTS)))
    untracked = (root / "UNTRACKED").read_text().split() if (root / "UNTRACKED").exists() else []
    for extra in ("UNTRACKED", "EXPECT"):
        (root / extra).unlink(missing_ok=True)
    git(root, "init", "-q")
    git(root, "add", "-A", "-f", "--", ".", *(f":!{one}" for one in untracked))
    git(root, "commit", "-q", "-m", "theirs")
    return root


def expected(name: str) -> Counter[Expected]:
    found: Counter[Expected] = Counter()
    for file in sorted((FOLDER / name).rglob("*")):
        if file.is_file() and file.name != "EXPECT":
            path = file.relative_to(FOLDER / name).as_posix().replace(DOTS, ".")
            for number, line in enumerate(file.read_text("utf-8").split("\n"), 1):
                for match in EXPECT.finditer(line):
                    found.update(Expected(path, number, rule) for rule in match[1].split(", "))
    beside = FOLDER / name / "EXPECT"
    for line in beside.read_text().splitlines() if beside.exists() else []:
        place, rule = line.split()
        found[Expected(place.rpartition(":")[0], int(place.rpartition(":")[2]), rule)] += 1
    return found


def told(assessment: Assessment) -> Counter[Expected]:
    return Counter(Expected(finding.file, finding.line, finding.rule) for finding in assessment.findings)


def judged(root: Path) -> Assessment:
    return assess(root, RULES, TODAY)
