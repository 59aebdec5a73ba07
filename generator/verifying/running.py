"""The themes, side by side: each act on a stage of its own, so that none disturbs another."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from .checks import NO_ROUTES, Act, Check, Result, Saw, Theme
from .project import Project
from .stage import DidNotStart, Stage, redis_for, scratch, staged

AT_ONCE = 6  # stages; each is two processes, and mostly waits
CHECK_S_MAX = 240.0

Tell = Callable[[str], None]


class Told(NamedTuple):
    """All of a theme; ``seconds`` is from its first stage's start to its last one's end."""

    theme: Theme
    seconds: float
    results: list[Result]


def run(project: Project, themes: Sequence[Theme], tell: Tell) -> list[Told]:
    """Raises ValueError where it can't be done here: no POSIX, or no Redis where one is needed."""
    if os.name != "posix":
        raise ValueError("verify starts and ends services by POSIX signals: run it on Linux, macOS or in WSL")
    return asyncio.run(_run(project, themes, tell))


async def _run(project: Project, themes: Sequence[Theme], tell: Tell) -> list[Told]:
    gate = asyncio.Semaphore(AT_ONCE)
    with scratch() as folder:
        async with redis_for(project, folder / "redis") as redis_url:
            runner = _Runner(project, folder, redis_url, gate, tell)
            return list(await asyncio.gather(*(runner.theme(theme) for theme in themes)))


class _Runner(NamedTuple):
    project: Project
    folder: Path
    redis_url: str
    gate: asyncio.Semaphore
    tell: Tell

    async def theme(self, theme: Theme) -> Told:
        acts = await asyncio.gather(*(self.act(theme, act, nth) for nth, act in enumerate(theme.acts)))
        instants = [instant for times, _ in acts for instant in times]
        seconds = max(instants) - min(instants) if instants else 0.0
        return Told(theme, seconds, [result for _, results in acts for result in results])

    async def act(self, theme: Theme, act: Act, nth: int) -> tuple[list[float], list[Result]]:
        """When it began and ended, if it was on a stage at all; and what came of it."""
        if why := act.unless(self.project):
            return [], [_result(theme, check, Saw(None, why)) for check in act.checks]
        async with self.gate:
            began, results = time.monotonic(), list[Result]()
            try:
                async with staged(self.project, act, self.folder / f"{theme.name}-{nth}", self.redis_url) as stage:
                    for check in act.checks:
                        self.tell(f"{theme.name}: {check.promise}")
                        results.append(_result(theme, check, await self.see(check, stage, act)))
            except DidNotStart as error:
                left = act.checks[len(results) :]
                results += [self.not_started(theme, check, error) for check in left]
            return [began, time.monotonic()], results

    def not_started(self, theme: Theme, check: Check, error: DidNotStart) -> Result:
        command = "serve" if self.project.routes else "speak Hello"
        itself = f"its own start: python -m {self.project.package}.speech {command} --sandbox"
        return Result(theme.name, check.promise, "failed", str(error), "it starts", itself)

    async def see(self, check: Check, stage: Stage, act: Act) -> Saw:
        if check.routes and not self.project.routes:
            return Saw(None, NO_ROUTES)
        try:
            async with asyncio.timeout(CHECK_S_MAX):
                if act.starts:
                    await stage.calm()
                return await check.see(stage)
        except TimeoutError:
            return Saw(False, f"no end after {CHECK_S_MAX:.0f} s", "an answer")
        except DidNotStart:
            raise
        except Exception as error:  # noqa: BLE001 - a broken service may answer anything
            return Saw(False, f"it could not be judged: {type(error).__name__}: {error}", "an answer that can be read")


def _result(theme: Theme, check: Check, saw: Saw) -> Result:
    if saw.ok is None:
        return Result(theme.name, check.promise, "not applicable", saw.seen)
    if saw.ok:
        return Result(theme.name, check.promise, "passed", saw.seen)
    return Result(theme.name, check.promise, "failed", saw.seen, saw.expected, check.look)
