"""What a rule is, and what it is given."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import NamedTuple

from .findings import Finding, Severity
from .project import Project
from .spending import Spending
from .syntax import Module


@dataclass
class Case:
    """One project on one day, before the rules."""

    project: Project
    today: date

    @cached_property
    def spending(self) -> Spending:
        return Spending(self.project)


class Rule(NamedTuple):
    """*why* says what it costs or leaks, *mend* what to do; a finding may say both closer to its case."""

    id: str
    title: str
    severity: Severity
    why: str
    mend: str
    check: Callable[[Case], Iterator["Hit"]]


class Hit(NamedTuple):
    """A finding in the making: where, and what differs from what its rule says of all of them."""

    file: str
    line: int
    column: int
    what: str
    why: str = ""
    mend: str = ""
    severity: Severity | None = None

    def as_found(self, rule: Rule) -> Finding:
        severity = rule.severity if self.severity is None else self.severity
        said = (self.what, self.why or rule.why, self.mend or rule.mend)
        return Finding(rule.id, severity, self.file, self.line, self.column, *said)


def at(
    module: Module, node: ast.AST, what: str, *, why: str = "", mend: str = "", severity: Severity | None = None
) -> Hit:
    line, column = module.place(node)
    return Hit(module.source.name, line, column, what, why, mend, severity)
