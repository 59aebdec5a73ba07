"""``add``: not built yet."""

from .. import console


def add() -> None:
    """Not built yet."""
    console.fail("not built yet")
