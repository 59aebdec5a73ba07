"""What one process and Redis say to each other about who may call next, for all its pools.

A process says only what has changed with it (released, wanted, left), as one *step*: the script ``redis_step.lua``,
which decides for everybody. One step is under way at a time and what happens meanwhile travels in the next, so batching
costs no wait. A slot for an own waiter comes in the answer; one for another's goes to that process's inbox, a channel:
when nobody listens there any more, Redis knows at once that the process has died.

    joined     the script gives the slots. None is begun on a word older than TTL_S: others may have it since
       │ no answer, an error, "unknown"; or we slept
    alone      each pool goes on by itself (``redis_limiter.py``). A step that says everything, a *claim*, is tried
       │ until Redis answers; while it is under way nothing begins, so that it stays true
    learning   Redis was empty or away, and first hears for 2 s what everybody holds: alone until it knows

A Redis user that may not do everything needs ``~speech:* &speech:*`` and, of the dangerous commands, ``INFO``.
"""

import asyncio
import importlib
import json
import logging
import random
import secrets
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Protocol

from ..clock import now
from .redis_connection import Connection, Script

logger = logging.getLogger(__name__)

SCRIPT = Script.read("redis_step")
FRESH_S = 3.5  # how long a word of Redis holds: it gives up whoever was silent for 4 s
BEAT_S = 1.0
LEARNING_S = 0.25  # between two claims while Redis is learning
ACK_S = 0.05  # any step shows that we read our inbox: the next one goes out so soon after a letter came
PAUSE_S = 0.2, 0.5  # between two tries to reach Redis: at random, so that not all come back at once

Told = Mapping[str, Any]


class Pool(Protocol):
    """A limiter, as the conversation sees it. Names are those of leases."""

    def claim(self, first: bool) -> dict[str, Any]:
        """All there is of it in this process; ``first`` if Redis has never heard of us."""

    def news(self) -> dict[str, Any]:
        """What has changed since it was last asked."""

    def hear(self, told: Told) -> None:
        """What Redis knows of the pool."""

    def give(self, name: str, weight: int) -> None:
        """A slot for who waits by this name, or did."""

    def shed(self, name: str, code: str, retry_us: float) -> None:
        """Who waits by this name is refused."""

    def queued(self, name: str, wait_us: float) -> None:
        """Who came by this name has to wait, for so long."""

    def cut_off(self, ours: bool) -> None:
        """Alone from now on; ``ours`` if what Redis gave us is still kept for us."""

    def join(self) -> None:
        """No more alone."""

    def advance_alone(self) -> None:
        """Let in whom it may by itself."""


class Steps:
    """One client's conversation. ``joined``: the script gives the slots; ``frozen``: nobody does, a claim is out."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._root = connection, f"{connection.prefix}:leases"
        self.pools: dict[str, Pool] = {}
        self.joined = self.frozen = self.learning = False
        self._tasks: list[asyncio.Task[None]] = []
        self._work, self._names, self._me = asyncio.Event(), count(1), ""
        self._born = 0  # ms of Redis's clock; 0 until it has heard of us
        self._seq = self._claimed = self._letters = self._letters_sent = 0
        self._heard_at = self._sent_at = self._beat_at = 0.0
        self._early: list[Told] = []  # letters that overtook the answer to our claim
        self._missed = False  # Redis, and said so

    @property
    def state(self) -> str:
        if not self._tasks:
            return "idle"
        return "joined" if self.joined else "learning" if self.learning else "alone"

    def begin(self) -> None:
        """At the first use: what is built before a fork is then a process of its own in each child."""
        if self._tasks:
            return
        self._work, self._me, self._born, self._seq = asyncio.Event(), secrets.token_hex(6), 0, 0
        self._work.set()
        self._tasks = [asyncio.create_task(self._talk())]

    def name(self, weight: int) -> str:
        """For a lease: never used twice."""
        return f"{self._me}:{next(self._names)}:{weight}"

    def wake(self) -> None:
        """There is something to tell. While we are alone it waits for the next claim."""
        if self.joined:
            self._work.set()

    async def aclose(self) -> None:
        """Say goodbye, so that what we hold is another's at once."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self.joined = [], False
        with suppress(Exception):  # then it finds out
            await self._send({"bye": True, "pools": {name: {} for name in self.pools}})

    # ---------------------------------------------------------------------------------------------------- the steps

    async def _talk(self) -> None:
        """For as long as the client lives: an error of whatever kind is an absence, and must not end it."""
        await asyncio.to_thread(importlib.import_module, "redis.asyncio")  # half a second
        for pool in self.pools.values():
            pool.cut_off(ours=False)
        while True:
            await self._news()
            try:
                await (self._step() if self.joined else self._join())
            except Exception as error:
                self._miss(error)
                await asyncio.sleep(random.uniform(*PAUSE_S))
                self._beat_at = now()

    async def _news(self) -> None:
        """Something to tell, if only that we are there."""
        alarm = asyncio.get_running_loop().call_at(self._beat_at, self._work.set)
        await self._work.wait()
        self._work.clear()
        alarm.cancel()

    async def _step(self) -> None:
        """Tell what is new, and once a second that we are there."""
        began = now()
        beat = began >= self._beat_at
        pools = {name: news for name, pool in self.pools.items() if (news := pool.news()) or beat}
        answer = await self._send({"beat": beat, "pools": pools})
        if not self.joined or answer["status"] == "unknown":  # we slept; or were given up
            return self._leave()
        self._hear(answer, began)
        if beat and self._is_deaf(answer["letters"]):
            self._leave()

    async def _join(self) -> None:
        """Claim what we run and want again what waits. Is anybody there? Until there is, we go on."""
        await self._connection.ask("PING")
        began = self._heard_at = now()
        self.frozen, self._claimed, self._early = True, self._seq + 1, []
        self._letters = self._letters_sent = 0
        try:
            pools = {name: pool.claim(first=not self._born) for name, pool in self.pools.items()}
            claim = {"claim": True, "beat": True, "first": not self._born, "born": self._born, "pools": pools}
            answer = await self._send(claim)
        finally:
            self.frozen = False
        self._born = self._born or answer["now"]
        if len(self._tasks) == 1:  # only now: open inboxes tell an empty Redis that it has to learn
            self._tasks.append(asyncio.create_task(self._listen()))
        self.joined, self.learning = answer["status"] == "joined", answer["status"] == "learning"
        for pool in self.pools.values():
            pool.join() if self.joined else pool.advance_alone()
        if not self.joined:
            self._beat_at = now() + LEARNING_S
            return
        self._hear(answer, began)
        for letter in self._early:
            self._deliver(letter)
        self._work.set()  # for what happened while the claim was out
        if self._missed:
            self._missed = False
            logger.info("Redis answers again: the limits are shared by all processes")

    async def _send(self, message: dict[str, Any]) -> dict[str, Any]:
        self._seq += 1
        self._sent_at = now()
        if message.get("beat"):
            self._beat_at = self._sent_at + BEAT_S
        body = json.dumps(message, separators=(",", ":"))
        return dict(json.loads(await self._connection.run(SCRIPT, self._root, self._me, self._seq, body)))

    def _hear(self, answer: Told, began: float) -> None:
        self._heard_at = began
        for name, told in answer["pools"].items():
            self.pools[name].hear(told)
        for pool, name, wait_us in answer["queued"]:
            self.pools[pool].queued(name, wait_us)
        self._deliver(answer)

    def _deliver(self, said: Told) -> None:
        """In an answer or a letter: for whom there is a slot, and for whom there will be none."""
        if now() - self._heard_at > FRESH_S:  # we slept: they may be another's by now
            return self._leave()
        for pool, name, code, retry_us in said["shed"]:
            self.pools[pool].shed(name, code, retry_us)
        for pool, name, weight in said["given"]:
            self.pools[pool].give(name, weight)

    def _leave(self) -> None:
        """Alone until the next claim, which follows at once."""
        ours = now() - self._heard_at < FRESH_S
        if self.joined:
            self.joined = False
            for pool in self.pools.values():
                pool.cut_off(ours)
                pool.advance_alone()
        self._work.set()

    def _miss(self, error: Exception) -> None:
        self.learning = False
        self._leave()
        for pool in self.pools.values():
            pool.advance_alone()  # frozen until now
        if not self._missed:
            self._missed = True
            why = "goes on with its own share of the limits until it does"
            logger.warning("Redis does not answer (%s): this process %s", type(error).__name__, why)

    # ---------------------------------------------------------------------------------------------------- the inbox

    async def _listen(self) -> None:
        while True:
            with suppress(Exception):  # the steps tell of it
                async with self._connection.redis.pubsub(ignore_subscribe_messages=True) as inbox:
                    await inbox.subscribe(f"{self._root}:wake:{self._me}")
                    async for message in inbox.listen():
                        self._read(json.loads(message["data"]))
            await asyncio.sleep(random.uniform(*PAUSE_S))

    def _read(self, letter: Told) -> None:
        """Void if it is to whom we were before we claimed again. Alone too: the slot may be one that we gave back in a
        step whose answer never came, and use again. The next claim, which follows soon, gives it to another.
        """
        if letter["claim"] != self._claimed:
            return
        self._letters += 1
        if self.frozen:
            self._early.append(letter)
        elif self.joined:
            self._deliver(letter)
            asyncio.get_running_loop().call_later(ACK_S, self._acknowledge)

    def _acknowledge(self) -> None:
        if now() - self._sent_at >= ACK_S:
            self.wake()

    def _is_deaf(self, letters: int) -> bool:
        """Whether a letter sent before the last beat has not come since. Then we listen anew, and claim again."""
        lost, self._letters_sent = self._letters < self._letters_sent, letters
        if lost:
            self._tasks[1].cancel()
            self._tasks[1] = asyncio.create_task(self._listen())
        return lost
