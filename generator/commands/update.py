"""``update``: not built yet."""

from .. import console


def update() -> None:
    """Not built yet."""
    console.fail("not built yet")
