"""``update``: a newer template, or other answers, with everything said before anything is written."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import console
from .options import CHANGEABLE, Diff, DryRun, Json, answered_by

if TYPE_CHECKING:
    from ..changes import Change
    from ..updating.preview import Preview

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask: apply what is previewed.")]
CONFLICTS = 3

EXAMPLES = """
copier-elevenlabs update . --dry-run --diff
copier-elevenlabs update . --pricing-tier pro
copier-elevenlabs update apps/voice --yes --json
"""


@answered_by(*CHANGEABLE)
def update(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="The project: the folder that holds its answers file.")],
    given: dict[str, Any],
    dry_run: DryRun = False,
    diff: Diff = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Bring a project up to date, or to other answers, edits kept.

    Names what would happen, asks, and then does exactly that, or nothing. Exit code 3: conflicts, in the files named.
    """
    with console.one_line(as_json=as_json):
        if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
            raise ValueError("no terminal here to ask at: say --yes or --dry-run")
        from ..updating.applying import apply
        from ..updating.preview import foresee

        with console.stoppable():
            with console.doing("updating a copy", quiet=as_json):
                what = foresee(dest, given, unasked=yes and not dry_run)
            if not as_json:
                tell(what, diff=diff)
            applied = bool(what.changes) and not dry_run and agreed(unasked=yes)
            if applied:
                apply(what)
    if as_json:
        console.as_data(summary(what, applied=applied, diff=diff))
    elif what.changes:
        conclude(dest, what, applied=applied)
    if what.conflicts:
        raise typer.Exit(CONFLICTS)


def agreed(*, unasked: bool) -> bool:
    if unasked or console.confirm("Apply this?", otherwise="--yes"):
        return True
    raise KeyboardInterrupt


def tell(what: "Preview", *, diff: bool) -> None:
    """What a person has to know before saying yes, what can be lost at the end, next to the question."""
    project = what.project
    if not what.changes:
        typer.echo(f"nothing to do: {project.folder} is at {what.version}, with these answers")
        return
    if diff:
        console.as_diff(patch(what))
    newer = f" -> {what.version}" if what.version != project.commit else ", answered anew"
    typer.echo(f"{project.folder}: {project.commit}{newer}")
    losable = {*what.conflicts, *what.edited}
    for change in what.changes:
        if change.path not in losable:
            entry_of(change)
    for name, answer in what.answers.items():
        if name not in what.reset:
            console.entry("answer", f"{name}: {shown(answer.before)} -> {shown(answer.after)}")
    warn(what)


def warn(what: "Preview") -> None:
    from ..source import SOURCE

    if what.lost:
        console.entry("source", f"{what.lost} is not to be reached: {SOURCE} from now on", "yellow")
    for name, answer in what.reset.items():
        console.entry("reset", f"{name}: {shown(answer.before)} -> {shown(answer.after)}, asked by nobody", "yellow")
    for old, new in what.moved.items():
        console.entry("moved", f"{old} is {new} now: nothing of this reaches it there", "yellow")
    for path in what.edited:
        console.entry("removed", f"{path}, though it was edited", "bold red")
    for path in what.conflicts:
        console.entry("conflict", path, "bold red")


def entry_of(change: "Change") -> None:
    from ..changes import count

    plus, minus = count(change)
    lines = f"  +{plus} -{minus}" if change.kind == "changed" else ""
    styles = {"added": "green", "changed": "", "removed": "red"}
    console.entry(change.kind, change.path + lines, styles[change.kind])


def shown(value: Any) -> str:
    return "not asked" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def patch(what: "Preview") -> str:
    """With the hunks of the conflicts, as they would stand in the files."""
    from ..changes import unified

    return "".join(map(unified, what.changes))


def conclude(dest: Path, what: "Preview", *, applied: bool) -> None:
    """What to do next."""
    if not applied:
        typer.echo("dry run: nothing was written", err=True)
    elif what.conflicts:
        typer.echo(
            f"updated, with conflicts in {', '.join(what.conflicts)}: choose between the markers (<<<<<<< your side,"
            f" >>>>>>> the template's), git add the files, commit; or go back by git -C {dest} reset --hard",
            err=True,
        )
    else:
        typer.echo(f"updated: look at it with git -C {dest} diff, run your tests, commit", err=True)


def summary(what: "Preview", *, applied: bool, diff: bool) -> dict[str, Any]:
    """For programs.  A file is in one of added, changed and removed; the lists beside them name what may be lost."""
    paths = {kind: [c.path for c in what.changes if c.kind == kind] for kind in ("added", "changed", "removed")}
    return {
        "from": what.project.commit,
        "to": what.version,
        **paths,
        "removed_though_edited": what.edited,
        "conflicts": what.conflicts,
        "answers_reset": {name: {"from": a.before, "to": a.after} for name, a in what.reset.items()},
        "moved": what.moved,
        "source_lost": what.lost,
        "applied": applied,
    } | ({"diff": patch(what)} if diff else {})
