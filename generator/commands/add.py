"""``add``: not built yet."""

from .. import console

EXAMPLES = """
copier-elevenlabs add
"""


def add() -> None:
    """Not built yet."""
    console.fail("not built yet")
