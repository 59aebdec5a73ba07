"""What a person reads in ten seconds, and what a program reads."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .checks import Result
from .project import Project
from .running import Told

MARKS = {"passed": "✓", "failed": "✗", "not applicable": "–"}
PLAIN = {"passed": "+", "failed": "x", "not applicable": "-"}  # where the terminal can't show those
STYLES = {"passed": "green", "failed": "bold red", "not applicable": "dim"}


class Scorecard(NamedTuple):
    """``changed`` are the template's files that were edited here: good to know, no failure."""

    project: Project
    told: Sequence[Told]
    seconds: float
    changed: list[str]

    @property
    def results(self) -> list[Result]:
        return [result for told in self.told for result in told.results]

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if result.state == "failed"]

    @property
    def summary(self) -> str:
        checked = [result for result in self.results if result.state != "not applicable"]
        if self.failed:
            return f"{len(self.failed)} of {len(checked)} checks failed, in {self.seconds:.0f} s"
        return f"all {len(checked)} checks passed, in {self.seconds:.0f} s"

    @property
    def notes(self) -> list[str]:
        """What was not checked, and what else is worth knowing."""
        said = [f"not checked: {why} ({', '.join(which)})" for why, which in self._not_applicable().items()]
        if self.project.layout == "package":
            how = "its routes were served" if self.project.routes else "its client was driven"
            said.append(f"not checked: the application around it; {how} alone")
        if self.changed:
            said.append(f"changed by hand, for an update to merge: {', '.join(self.changed)}")
        return said

    def _not_applicable(self) -> dict[str, list[str]]:
        grouped: dict[str, dict[str, int]] = {}
        for result in self.results:
            if result.state == "not applicable":
                themes = grouped.setdefault(result.seen, {})
                themes[result.theme] = themes.get(result.theme, 0) + 1
        return {why: [f"{count} of {theme}" for theme, count in themes.items()] for why, themes in grouped.items()}

    def look(self, result: Result) -> str:
        """Paths from the project's top."""
        return ", ".join(map(self._path, result.look.split(", ")))

    def _path(self, name: str) -> str:
        if (self.project.path / name).exists() or " " in name:
            return name
        return f"{self.project.speech.relative_to(self.project.path).as_posix()}/{name}"


def draw(card: Scorecard, console: Any) -> None:
    """On a rich Console."""
    marks = MARKS if "utf" in console.encoding.lower() else PLAIN
    console.print(f"[bold]{card.project.path.name}[/]: {card.project.about}\n", soft_wrap=True)
    width = max(len(told.results) for told in card.told)
    for told in card.told:
        drawn = _marks(told.results, marks)
        blank = " " * (width - len(told.results))
        console.print(f"{told.theme.name:9} {drawn}{blank} {told.seconds:6.1f} s  {told.theme.about}")
    for results in _by_reason(card.failed):
        _draw_failure(card, results, console, marks["failed"])
    console.print()
    for note in card.notes:
        console.print(note, style="dim", markup=False)
    console.print(card.summary, style="bold red" if card.failed else "bold green", markup=False)


def _marks(results: Iterable[Result], marks: dict[str, str]) -> str:
    return "".join(f"[{STYLES[result.state]}]{marks[result.state]}[/]" for result in results)


def _by_reason(failed: Iterable[Result]) -> list[list[Result]]:
    """Together what failed for one reason: where a service does not start, that is said once."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in failed:
        groups.setdefault((result.theme, result.seen), []).append(result)
    return list(groups.values())


def _draw_failure(card: Scorecard, results: list[Result], console: Any, mark: str) -> None:
    result, more = results[0], f" (and {len(results) - 1} more)" if len(results) > 1 else ""
    console.print(f"\n{mark} {result.theme}: {result.promise}{more}", style="bold red", markup=False)
    for name, said in (("seen", result.seen), ("expected", result.expected), ("look at", card.look(result))):
        console.print(f"  {name:9} {said}", markup=False)


def as_data(card: Scorecard) -> dict[str, Any]:
    project = card.project
    facts = {name: getattr(project, name) for name in ("layout", "framework", "backend", "metrics", "tier", "routes")}
    themes = [
        {
            "name": told.theme.name,
            "about": told.theme.about,
            "seconds": round(told.seconds, 1),
            "checks": [
                {
                    "promise": result.promise,
                    "state": result.state,
                    "seen": result.seen,
                    "expected": result.expected or None,
                    "look_at": card.look(result) if result.look else None,
                }
                for result in told.results
            ],
        }
        for told in card.told
    ]
    return {
        "path": str(project.path),
        "project": facts | {"package": project.package, "python": project.python},
        "passed": not card.failed,
        "summary": card.summary,
        "seconds": round(card.seconds, 1),
        "themes": themes,
        "notes": card.notes,
        "changed_by_hand": card.changed,
    }
