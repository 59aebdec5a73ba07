"""What is known of the account's limit, as one process of the host may tell it to another."""

from collections.abc import Callable

from ..allowance import Allowance
from ..clock import now


class SharedAllowance(Allowance):
    """One for all processes. Whoever becomes the broker resumes what the last one told; a host that starts knows the
    plan alone, as a bare process does: so nothing is believed for longer than somebody lives who has heard it."""

    def __init__(self, pool: str, plan: int, fixed: bool) -> None:
        super().__init__(pool, plan, 1, fixed)

    @property
    def state(self) -> list[int]:
        return [self.limit, self.ceiling, self.others, self.epoch, self.cuts]

    def resume(self, state: list[int]) -> None:
        """Take over what another has learned."""
        self.limit, self.ceiling, self.others, self.epoch, self.cuts = state
        self._said.extend([self.ceiling] * 3)
        self._foreign.extend([self.others] * 5)
        self._moved_at = now()


class ToldAllowance(SharedAllowance):
    """As the broker last told it. A refusal is evidence for the broker to judge."""

    def __init__(self, pool: str, plan: int, fixed: bool, tell: Callable[..., None]) -> None:
        super().__init__(pool, plan, fixed)
        self._tell = tell

    def refused(self, epoch: int, said: int | None) -> None:
        self._tell("refused", epoch, said)
