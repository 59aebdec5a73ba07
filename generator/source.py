"""Where the template comes from.

A project records the public address, so that plain Copier and Renovate can update it.  For this process Git's own
``insteadOf`` turns that address into what is already here: the bundle in the wheel, or the checkout this runs from.
So nothing is downloaded, and only committed states are rendered: Copier takes uncommitted changes from local paths
alone.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = "gh:copier-elevenlabs/copier-elevenlabs"
ADDRESS = "https://github.com/copier-elevenlabs/copier-elevenlabs.git"
BUNDLE = Path(__file__).parent / "template.bundle"
CHECKOUT = Path(__file__).parent.parent


def here() -> Path:
    """What stands in for ADDRESS.  Raises FileNotFoundError where neither a bundle nor a checkout is here."""
    found = next((place for place in (BUNDLE, CHECKOUT / ".git") if place.exists()), None)
    if found is None:
        raise FileNotFoundError(f"no template in {CHECKOUT}: neither a git checkout nor an installed wheel")
    return found


def is_shallow() -> bool:
    """Whether this runs from a checkout that lacks the template's past, which is enough for `new` alone."""
    return (here() / "shallow").exists()


@contextmanager
def offline() -> Iterator[None]:
    """Answer ADDRESS from this machine.  Enter before Copier is imported: its git keeps the environment of that moment.

    Raises FileNotFoundError where neither a bundle nor a checkout is here.
    """
    count = int(os.environ.get("GIT_CONFIG_COUNT", 0))
    stand_in, usual = here(), dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="copier-elevenlabs.") as mirrors:
        # A mirror of our own: Copier's shared one goes by the address, and would be pruned to what is here.
        os.environ |= {
            "COPIER_CACHE_DIR": mirrors,
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": f"url.{stand_in}.insteadOf",
            f"GIT_CONFIG_VALUE_{count}": ADDRESS,
        }
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(usual)
