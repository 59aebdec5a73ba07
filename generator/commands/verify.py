"""``verify``: not built yet."""

from .. import console


def verify() -> None:
    """Not built yet."""
    console.fail("not built yet")
