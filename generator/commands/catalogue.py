"""``catalogue``: not built yet."""

from .. import console


def catalogue() -> None:
    """Not built yet."""
    console.fail("not built yet")
