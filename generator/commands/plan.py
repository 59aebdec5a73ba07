"""``plan``: not built yet."""

from .. import console


def plan() -> None:
    """Not built yet."""
    console.fail("not built yet")
