"""The rendered tests are worth something: break one thing in the render, and one of them fails."""

import shutil
from pathlib import Path

import pytest
from rendering import Renders, run_rendered_tests

BREAKS = {
    "one call more than the limit": (
        "limiter.py",
        "self._in_flight + self._weight(ticket) <= self.allowance.limit and",
        "self._in_flight + self._weight(ticket) <= self.allowance.limit + 1 and",
    ),
    "a retry after the first byte": ("retry.py", "else trip.billed", "else False"),
    "the key in a log": (
        "upstream.py",
        "        return self._sdk\n",
        '        logger.debug("calling with %s", self._api_key)\n        return self._sdk\n',
    ),
    "twice the price": ("catalogue.py", "/ 1000, 9)", "/ 500, 9)"),
    "no breaker": ("breaker.py", "self._states = self._breaker._enter()", "self._states = ONLY_WATCHED"),
    "a refund for what timed out": (
        "faults.py",
        '"timeout": Verdict("budget", "ill", "uncertain"',
        '"timeout": Verdict("budget", "ill", "free"',
    ),
}


# The others are broken in test_verify.py too.
FIRST = ("one call more than the limit", "a retry after the first byte")


@pytest.mark.parametrize(
    "what", [what if what in FIRST else pytest.param(what, marks=pytest.mark.full) for what in BREAKS]
)
def test_a_break_is_noticed(renders: Renders, tmp_path: Path, what: str) -> None:
    name, old, new = BREAKS[what]
    project = shutil.copytree(renders.of({}), tmp_path / "broken")
    file = project / "src/acme_voice/speech" / name
    assert old in file.read_text("utf-8"), f"{name} has changed: say here how to break it now"
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")
    tests = ("test_whole_path.py", "test_flight.py", "test_retry.py", "test_limiter.py")
    done = run_rendered_tests(project, *(f"tests/speech/{test}" for test in tests), "-x")
    assert done.returncode == 1, done.stdout[-2000:]
    assert "FAILED" in done.stdout
