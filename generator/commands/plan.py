"""``plan``: not built yet."""

from .. import console

EXAMPLES = """
copier-elevenlabs plan
"""


def plan() -> None:
    """Not built yet."""
    console.fail("not built yet")
