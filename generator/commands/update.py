"""``update``: not built yet."""

from .. import console

EXAMPLES = """
copier-elevenlabs update
"""


def update() -> None:
    """Not built yet."""
    console.fail("not built yet")
