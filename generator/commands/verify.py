"""``verify``: not built yet."""

from .. import console

EXAMPLES = """
copier-elevenlabs verify
"""


def verify() -> None:
    """Not built yet."""
    console.fail("not built yet")
