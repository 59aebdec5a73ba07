"""Stop asking while upstream is ill, and find out with one call at a time when it is well again.

    closed ──── 5 of the last 10 failed ────► open ◄──── the probe failed: stays open twice as long, up to 60 s
       ▲                                        │
       │                                        └── 5 s later ──► half open: one probe, everybody else is refused
       └───────────── the probe was answered, well or with a "no" that shows they are alive ───┘

Every call carries the number of the state it began in, and its result counts only while that state lasts: what began
before an outage can't end it, and a straggler can't open what has just closed. A cancelled probe is given back. Only
what ``faults.py`` calls ill counts: not a caller's mistake, nor his haste, nor an error of our own.

The latch is about our account instead: a refused key or spent credits don't mend in seconds and concern every pool.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from .clock import now
from .errors import CircuitOpen, SpeechError
from .faults import TABLE, Fault

logger = logging.getLogger(__name__)

FAILURES, WINDOW = 5, 10
OPEN_S, OPEN_S_MAX = 5.0, 60.0
REFUSALS = 3  # of our key, in a row: a single one may be a hiccup of theirs
LATCH_PROBE_S = 60.0
PROBE_TAKES_S = 1.0  # when to ask again while a probe is out

ONLY_WATCHED = -1, -1  # states that never were: such a call's result counts nowhere

Outcome = Literal["well", "alive", "ill", "key", "quota"] | None  # None: tells nothing


class Latch:
    """Shut when our key is refused three times in a row, or the credits are spent; one probe a minute opens it."""

    def __init__(self) -> None:
        self._why, self._probe_at, self._probing = "", 0.0, False
        self._since: float | None = None
        self._refusals = self._generation = 0

    def enter(self) -> int:
        """The number of the state a call begins in. Raises what latched it, but for the probe."""
        if self._why:
            if left_s := _left_s(self._probe_at, self._probing):
                raise TABLE[self._why].error(f"{TABLE[self._why].says}.", retry_after_s=left_s)
            self._probing, self._probe_at = True, now() + LATCH_PROBE_S
        return self._generation

    def leave(self, generation: int, outcome: Outcome) -> None:
        """Judge a call by what came of it."""
        if generation != self._generation:
            return
        self._probing = False
        if self._why and outcome is None:
            self._probe_at = now()
        elif outcome == "well":
            if self._why:
                logger.warning("ElevenLabs serves this account again")
            self._why, self._since, self._refusals = "", None, 0
        elif not self._why and (outcome == "quota" or outcome == "key"):
            self._refusals += outcome == "key"
            if outcome == "quota" or self._refusals >= REFUSALS:
                self._shut(outcome)

    def snapshot(self) -> dict[str, Any]:
        """Plain data; ``since`` is an instant of the loop's clock."""
        return {"state": "latched" if self._why else "closed", "why": self._why, "since": self._since}

    def _shut(self, why: str) -> None:
        self._why, self._since, self._probe_at = why, now(), now() + LATCH_PROBE_S
        self._generation += 1
        logger.error("%s: from now on calls fail at once, but for one probe a minute", TABLE[why].says)


class Breaker:
    """One pool's. The mutable state is ``_state`` and what was counted in it.

    Calls carry ``_opened``: that is number enough, for between an opening and a closing nobody begins but the probe.
    """

    def __init__(self, latch: Latch, *, observed: Callable[[str], None] | None = None) -> None:
        self.latch, self._observed = latch, observed
        self._state: Literal["closed", "open", "half_open"] = "closed"
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self._open_s, self._until, self._opened, self._probing = OPEN_S, 0.0, 0, False

    def guard(self) -> "Guard":
        """``async with`` it around a call. Raises CircuitOpen, or what the latch says, with ``retry_after_s``."""
        return Guard(self)

    def snapshot(self) -> dict[str, Any]:
        """Plain data, to be asked for on the loop; ``failures`` of the last calls, ``opened`` how often."""
        left_s = max(0.0, self._until - now()) if self._state == "open" else None
        return {"state": self._state, "failures": sum(self._failed), "retry_after_s": left_s, "opened": self._opened}

    def _enter(self) -> tuple[int, int]:
        """The states the call begins in, ours and the latch's: who is refused by the one doesn't ask the other."""
        try:
            if self._state != "closed" and (left_s := _left_s(self._until, self._probing)):
                raise CircuitOpen("ElevenLabs is failing; try again later.", retry_after_s=left_s)
            states = self._opened, self.latch.enter()
        except SpeechError as refusal:
            if not self._observed:
                raise
            self._observed(refusal.code)
            return ONLY_WATCHED
        if self._state != "closed":
            self._state, self._probing = "half_open", True
        return states

    def _leave(self, states: tuple[int, int], outcome: Outcome) -> None:
        opened, latched = states
        self.latch.leave(latched, outcome)
        if opened != self._opened:
            return
        if self._state == "half_open":
            self._probing = False
            if outcome == "ill":
                self._open(min(2 * self._open_s, OPEN_S_MAX))
            elif outcome is not None:
                self._state = "closed"
                self._failed.clear()
        elif outcome in ("well", "ill"):
            self._failed.append(outcome == "ill")
            if sum(self._failed) >= FAILURES:
                self._open(OPEN_S)

    def _open(self, seconds: float) -> None:
        self._state, self._open_s, self._until = "open", seconds, now() + seconds
        self._opened += 1


def breakers(pools: tuple[str, ...], **terms: Any) -> dict[str, Breaker]:
    """One for each pool, and one latch for them all."""
    latch = Latch()
    return {pool: Breaker(latch, **terms) for pool in pools}


class Guard:
    """One call under the breaker's eyes: refused on the way in, judged on the way out."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker, self._states = breaker, ONLY_WATCHED

    async def __aenter__(self) -> None:
        self._states = self._breaker._enter()

    async def __aexit__(self, _type: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        failed: Outcome = error.verdict.health if isinstance(error, Fault) else None
        self._breaker._leave(self._states, "well" if error is None else failed)


def _left_s(until: float, probing: bool) -> float:
    """How long nobody may ask; 0 if the next one may."""
    return max(until - now(), PROBE_TAKES_S if probing else 0.0)
