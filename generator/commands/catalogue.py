"""``catalogue``: not built yet."""

from .. import console

EXAMPLES = """
copier-elevenlabs catalogue
"""


def catalogue() -> None:
    """Not built yet."""
    console.fail("not built yet")
