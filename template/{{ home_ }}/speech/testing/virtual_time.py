"""A loop whose clock jumps: sleeping costs nothing, order is exact. For tests without sockets and threads."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pytest

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: where nothing is ready, the clock goes on by as much as the loop would have slept."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0 if timeout is not None else 1)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: everybody waits, and nothing is left that could wake them")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """``asyncio`` in virtual time, from zero."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on a VirtualLoop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def pytest_asyncio_loop_factories(item: "pytest.Item") -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """``@pytest.mark.virtual`` gives a test this loop; every other has the real one."""
    if item.get_closest_marker("virtual"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}
