"""What a check is: a promise, a way to see whether it is kept, and where to look if it isn't."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from .project import Project
    from .stage import Stage

State = Literal["passed", "failed", "not applicable"]


class Saw(NamedTuple):
    """What came of it.  ``ok`` None: it can't be asked of this project, and ``seen`` says why."""

    ok: bool | None
    seen: str
    expected: str = ""


@dataclass(frozen=True)
class Check:
    """``look`` is the module below ``speech/`` that keeps the promise, or a file; ``routes``: it takes HTTP routes."""

    promise: str
    look: str
    see: "Callable[[Stage], Awaitable[Saw]]"
    routes: bool = False


def check(promise: str, look: str, *, routes: bool = False) -> "Callable[[Callable[[Stage], Awaitable[Saw]]], Check]":
    return lambda see: Check(promise, look, see, routes)


@dataclass(frozen=True)
class Act:
    """Checks that share a stage, one after another.  ``environment`` is the service's, beyond what every stage sets.

    ``starts`` False: they start what they need themselves.
    """

    checks: tuple[Check, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    starts: bool = True
    driven: bool = False  # by its Python API, though it has routes
    unless: "Callable[[Project], str]" = lambda project: ""  # why it can't be asked of this project


class Theme(NamedTuple):
    name: str
    about: str
    acts: tuple[Act, ...]


class Result(NamedTuple):
    theme: str
    promise: str
    state: State
    seen: str
    expected: str = ""
    look: str = ""


NO_ROUTES = "this project has no HTTP routes of its own"


def without_routes(project: "Project") -> str:
    return "" if project.routes else NO_ROUTES
