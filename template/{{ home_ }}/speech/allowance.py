"""How many calls at once: the plan's number, corrected by what upstream says. ``limiter.py`` holds everybody to it.

Three things are known about an account, each in its own way. What it *allows* (``ceiling``): the plan, then the headers
of good answers, or the number in a refusal's text. What *others* take of it: the dashboard, agents, another service
with another key, seen in the headers too. And what it just *refused*: then we take less, and grow back by 1 every 10 s.

A lower number counts at once, for the next call too many is refused; a higher one must be said three times in a row.
STT answers carry no headers: there refusals and growth are all there is.
"""

from collections import deque
from typing import Any

from .clock import now

GROWS_S = 10.0


class Allowance:
    """One process's share of one pool's limit, at least 1.

    ``limit`` is what may be in flight, at most ``top``; ``limit_changes`` counts how often it became another. ``epoch``
    counts the times it fell: a call that was let in before the last fall tells nothing new by being refused, so that
    one incident cuts once.
    """

    def __init__(self, pool: str, plan: int, processes: int, fixed: bool) -> None:
        if plan < processes:
            raise ValueError(f"{pool}: {plan} calls at once can't be shared out to {processes} processes; run fewer")
        self.plan, self.processes, self.fixed = plan, processes, fixed
        self._limit = self.ceiling = self._share(plan)
        self.others = self.epoch = self.cuts = self.limit_changes = 0
        self._said = deque([self.limit] * 3, maxlen=3)
        self._foreign = deque([0] * 5, maxlen=5)
        self._moved_at = float("-inf")

    @property
    def limit(self) -> int:
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self.limit_changes += limit != self._limit  # here, for some stores bring the limit that others have found
        self._limit = limit

    @property
    def top(self) -> int:
        """What others leave us of the ceiling."""
        return max(1, self.ceiling - self.others)

    def heard(self, maximum: int | None, current: int | None, ours: int) -> None:
        """A good answer's headers; ``ours`` is the most we had in flight while it was made. None is no news."""
        if self.fixed:
            return
        if maximum is not None and 1 <= maximum <= 4 * self.plan:
            self._believe(self._share(maximum))
        if current is not None and self.processes == 1:
            self._make_room(max(0, current - ours))

    def refused(self, epoch: int, said: int | None) -> None:
        """A call let in at ``epoch`` was one too many; ``said`` is the account's number, if upstream named it."""
        if epoch < self.epoch:
            return
        self.cuts += 1
        if said is None or self._share(said) >= self.limit:
            self._move(max(1, int(0.8 * self.limit)))
        elif self.fixed:
            self._move(self._share(said))
        else:
            self._believe(self._share(said))

    def grow(self) -> bool:
        """One more, if it is time for it. To be asked while somebody waits."""
        if due := self.limit < self.top and now() - self._moved_at >= GROWS_S:
            self._move(self.limit + 1)
        return due

    def snapshot(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("limit", "ceiling", "plan", "others", "cuts", "limit_changes")}

    def _share(self, account: int) -> int:
        return max(1, account // self.processes)

    def _believe(self, ceiling: int) -> None:
        """The least of the last three: so a lower number counts at once, a higher one when it has been said thrice."""
        self._said.append(ceiling)
        before, self.ceiling = self.ceiling, min(self._said)
        self._move(self.top if self.ceiling > before else min(self.limit, self.top))

    def _make_room(self, foreign: int) -> None:
        """Others count with what all of the last five answers saw of them: one alone may have crossed a call's end."""
        self._foreign.append(foreign)
        before, self.others = self.others, min(self._foreign)
        self._move(min(self.limit + max(0, before - self.others), self.top))

    def _move(self, limit: int) -> None:
        if limit != self.limit:
            self.epoch += limit < self.limit
            self.limit, self._moved_at = limit, now()
