"""``assess``: not built yet."""

from .. import console

EXAMPLES = """
copier-elevenlabs assess
"""


def assess() -> None:
    """Not built yet."""
    console.fail("not built yet")
