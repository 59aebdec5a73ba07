"""The plan that was chosen, as a file that ``new --answers`` takes."""

from pathlib import Path

from .choose import Plan


def refuse_what_is_there(file: Path | None) -> None:
    """Raise ValueError: what somebody else wrote is not ours to replace."""
    if file and (file.exists() or file.is_symlink()):
        raise ValueError(f"{file} exists; name a file that does not")


def write(file: Path, plan: Plan) -> None:
    """Raise OSError where it can't be written, ValueError where nothing was chosen."""
    if not plan.chosen:
        raise ValueError(f"{file} was not written: no published plan is enough")
    with file.open("x", encoding="utf-8") as answers:
        answers.write(f"pricing_tier: {plan.chosen.name}\n")
