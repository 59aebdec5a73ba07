"""``assess``: not built yet."""

from .. import console


def assess() -> None:
    """Not built yet."""
    console.fail("not built yet")
