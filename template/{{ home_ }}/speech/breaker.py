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
from typing import Any, Literal

from .clock import now
from .errors import CircuitOpen, UpstreamFault
from .faults import TABLE, Fault

logger = logging.getLogger(__name__)

REFUSALS = 3  # of our key, in a row: a single one may be a hiccup of theirs
LATCH_PROBE_S = 60.0
PROBE_TAKES_S = 1.0  # when to ask again while a probe is out

Outcome = Literal["well", "alive", "ill", "key", "quota"] | None  # None: tells nothing


class Latch:
    """Shut when our key is refused three times in a row, or the credits are spent; one probe a minute opens it."""

    def __init__(self) -> None:
        self._why: Literal["", "key", "quota"] = ""
        self._refusals = self._generation = 0
        self._since = self._probe_at = 0.0
        self._probing = False

    def enter(self) -> int:
        """The number of the state a call begins in. Raises what latched it, but for the probe."""
        if self._why:
            left_s = max(self._probe_at - now(), PROBE_TAKES_S if self._probing else 0.0)
            if left_s > 0:
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
            self._clear()
        elif not self._why and (outcome == "quota" or outcome == "key"):
            self._refusals += outcome == "key"
            if outcome == "quota" or self._refusals >= REFUSALS:
                self._shut(outcome)

    def snapshot(self) -> dict[str, Any]:
        """Plain data; ``since`` is an instant of the loop's clock."""
        state, since = ("latched", self._since) if self._why else ("closed", None)
        return {"state": state, "why": self._why, "since": since}

    def __repr__(self) -> str:
        return f"<Latch shut: {self._why}>" if self._why else f"<Latch closed, {self._refusals} refusals in a row>"

    def _shut(self, why: Literal["key", "quota"]) -> None:
        self._why, self._since, self._probe_at = why, now(), now() + LATCH_PROBE_S
        self._generation += 1
        logger.error("%s: from now on calls fail at once, but for one probe a minute", TABLE[why].says)

    def _clear(self) -> None:
        if self._why:
            logger.warning("ElevenLabs serves this account again")
            self._generation += 1
        self._why, self._refusals = "", 0


class Breaker:
    """One pool's. The mutable state is ``_state`` and what was counted in it; only ``_move`` changes the former."""

    def __init__(
        self,
        latch: Latch,
        *,
        enforce: bool = True,
        failures: int = 5,
        window: int = 10,
        open_s: float = 5.0,
        open_s_max: float = 60.0,
    ) -> None:
        self.latch, self.enforce, self.failures = latch, enforce, failures
        self.open_s, self.open_s_max = open_s, open_s_max
        self._state: Literal["closed", "open", "half_open"] = "closed"
        self._failed: deque[bool] = deque(maxlen=window)
        self._open_s, self._until = open_s, 0.0
        self._generation = self._opened = 0
        self._probing = False

    def guard(self) -> "Guard":
        """``async with`` it around a call. Raises CircuitOpen, or what the latch says, with ``retry_after_s``."""
        return Guard(self)

    def snapshot(self) -> dict[str, Any]:
        """Plain data, to be asked for on the loop; ``failures`` of the last calls, ``opened`` how often."""
        left_s = max(0.0, self._until - now()) if self._state == "open" else None
        return {"state": self._state, "failures": sum(self._failed), "retry_after_s": left_s, "opened": self._opened}

    def __repr__(self) -> str:
        """``<Breaker open for 10 s, 5 of the last 9 failed, opened 2 times>``"""
        state = f"open for {self._open_s:g} s" if self._state == "open" else self._state.replace("_", " ")
        return f"<Breaker {state}, {sum(self._failed)} of the last {len(self._failed)} failed, opened {self._opened} times>"

    def _enter(self) -> tuple[int, int] | None:
        """The states the call begins in, ours and the latch's; None for one that is let through only to watch."""
        try:
            self._ask()
            states = self._generation, self.latch.enter()
        except (CircuitOpen, UpstreamFault):
            if self.enforce:
                raise
            return None
        self._probing = self._state == "half_open"
        return states

    def _ask(self) -> None:
        if self._state == "open" and now() >= self._until:
            self._move("half_open")
        if self._state == "open" or self._probing:
            left_s = self._until - now() if self._state == "open" else PROBE_TAKES_S
            raise CircuitOpen("ElevenLabs is failing; try again later.", retry_after_s=left_s)

    def _leave(self, states: tuple[int, int], outcome: Outcome) -> None:
        generation, latched = states
        self.latch.leave(latched, outcome)
        if generation != self._generation:
            return
        if self._state == "half_open":
            self._end_probe(outcome)
        elif outcome in ("well", "ill"):
            self._failed.append(outcome == "ill")
            if sum(self._failed) >= self.failures:
                self._move("open")

    def _end_probe(self, outcome: Outcome) -> None:
        self._probing = False
        if outcome == "ill":
            self._open_s = min(2 * self._open_s, self.open_s_max)
            self._move("open")
        elif outcome is not None:
            self._open_s = self.open_s
            self._failed.clear()
            self._move("closed")

    def _move(self, state: Literal["closed", "open", "half_open"]) -> None:
        self._state = state
        self._generation += 1
        if state == "open":
            self._opened += 1
            self._until = now() + self._open_s


class Guard:
    """One call under the breaker's eyes: refused on the way in, judged on the way out."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._states: tuple[int, int] | None = None

    async def __aenter__(self) -> None:
        self._states = self._breaker._enter()

    async def __aexit__(self, _type: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if self._states:
            self._breaker._leave(self._states, _outcome(error))


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return "well"
    return error.verdict.health if isinstance(error, Fault) else None
