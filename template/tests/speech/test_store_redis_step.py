"""The script of the leases against anything: random wants, releases, refusals, deaths and an emptied Redis.

Its rules must hold after every step, whatever came before. Processes here are little more than what they say to it.
"""

import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from backend_redis import RedisServer
from redis import Redis

from speech.clock import now
from speech.limiter import Limiter, Ticket
from speech.request import Priority
from speech.stores.redis_steps import SCRIPT
from speech.testing.virtual_time import run

QUICK = SCRIPT.text.replace("4e6, 2e6, 1.5e6, 0.1e6", "60e6, 0.3e6, 0.1e6, 60e6")  # who is deaf is dead after 0.1 s
PLAN, RESERVED = 6, 1
POOL = "root:stt"


@dataclass(frozen=True)
class Waiter:
    name: str
    urgency: int  # its class
    weight: int
    came: float = field(default_factory=time.monotonic)

    def before(self, other: "Waiter") -> bool:
        """Or so nearly at the same time that nobody can tell."""
        return self.urgency < other.urgency or (self.urgency == other.urgency and self.came < other.came + 0.02)


@dataclass(eq=False)
class Process:
    """``news`` is what the script has not been told."""

    me: str
    connection: Any
    inbox: Any
    seq: int = 0
    claim: int = 0
    born: int = 0
    letters: int = 0  # since the claim
    waiting: dict[str, Waiter] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    news: dict[str, list[Any]] = field(default_factory=dict)

    def tell(self, kind: str, what: Any) -> None:
        self.news.setdefault(kind, []).append(what)


class World:
    """``limit`` and ``learning`` are as the last answer told."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self.redis: Any = Redis.from_url(url, decode_responses=True)
        self.url, self.chance = url, chance
        self.sha = self.redis.script_load(QUICK)
        self.processes, self.limit, self.learning = list[Process](), PLAN, False
        self.urgent = set[str]()  # who began as interactive
        self.number = self.served = 0
        for _ in range(2):
            self.start()
        self.settle()

    def any_of(self, *having: str) -> Process | None:
        fitting = [process for process in self.processes if all(getattr(process, name) for name in having)]
        return self.chance.choice(fitting) if fitting else None

    # ------------------------------------------------------------------------------------------------- what may happen

    def start(self) -> None:
        if len(self.processes) < 4:
            self.number += 1
            own: Any = Redis.from_url(self.url, decode_responses=True)
            process = Process(f"p{self.number}", own, own.pubsub(ignore_subscribe_messages=True))
            process.inbox.subscribe(f"root:wake:{process.me}")
            self.processes.append(process)
            self.join(process)

    def want(self) -> None:
        process = self.chance.choice(self.processes)
        for _ in range(self.chance.randint(1, 4)):
            self.number += 1
            weight = self.chance.choice([1, 1, 1, 2, 9])
            waiter = Waiter(f"{process.me}:{self.number}:{weight}", self.chance.randint(0, 2), weight)
            process.waiting[waiter.name] = waiter
            process.tell("want", as_want(waiter))
        self.step(process)

    def end(self) -> None:
        if process := self.any_of("running"):
            name = self.chance.choice(sorted(process.running))
            if self.chance.random() < 0.2:
                process.tell("refused", [name, 0])
            del process.running[name]
            process.tell("release", [name, self.chance.choice([0, 5000])])
            if self.chance.random() < 0.8:
                self.step(process)

    def leave(self) -> None:
        if process := self.any_of("waiting"):
            name = self.chance.choice(sorted(process.waiting))
            del process.waiting[name]
            process.tell("leave", name)

    def beat(self) -> None:
        self.step(self.chance.choice(self.processes), beat=True)

    def kill(self) -> None:
        """Its calls are over with it; what Redis has of it is found out later."""
        if len(self.processes) > 1:
            process = self.chance.choice(self.processes)
            self.processes.remove(process)
            process.connection.close()
            until = time.monotonic() + 2
            while self.redis.pubsub_numsub(f"root:wake:{process.me}")[0][1]:
                assert time.monotonic() < until, "its inbox is still open"
            self.beat()

    def pass_time(self) -> None:
        """Everybody beats more often than Redis wonders where they are."""
        for _ in range(2):
            time.sleep(0.06)
            for process in self.chance.sample(self.processes, len(self.processes)):
                self.step(process, beat=True)

    def empty(self) -> None:
        self.redis.flushdb()
        self.settle()

    def settle(self) -> None:
        """Until Redis has learnt what everybody holds."""
        self.pass_time()
        while self.learning:
            self.pass_time()

    def lose_an_answer(self) -> None:
        self.send(self.processes[0], {"beat": False, "pools": {}})

    # --------------------------------------------------------------------------------------------------- what they say

    def step(self, process: Process, beat: bool = False) -> None:
        news, process.news = process.news, {}
        answer = self.send(process, {"beat": beat, "pools": {"stt": news}})
        if answer["status"] == "unknown":
            self.join(process)
        else:
            self.hear(process, answer)

    def join(self, process: Process) -> None:
        process.claim, process.letters, process.news = process.seq + 1, 0, {}
        news = {
            "terms": {"plan": PLAN, "fixed": 0, "reserved": RESERVED, "size": 1000},
            "limit": self.limit,
            "ceiling": PLAN,
            "share": 0,
            "held": [[name, 1000, weight, int(name in self.urgent)] for name, weight in process.running.items()],
            "want": [as_want(waiter) for waiter in process.waiting.values()],
        }
        claim = {"claim": True, "beat": True, "first": not process.born, "born": process.born, "pools": {"stt": news}}
        answer = self.send(process, claim)
        process.born = process.born or answer["now"]
        self.hear(process, answer)

    def send(self, process: Process, message: dict[str, Any]) -> Any:
        process.seq += 1
        return json.loads(self.redis.evalsha(self.sha, 1, "root", process.me, process.seq, json.dumps(message)))

    def hear(self, process: Process, answer: dict[str, Any]) -> None:
        self.learning, self.limit = answer["status"] == "learning", answer["pools"]["stt"]["limit"]
        self.begin(process, answer)
        for other in self.processes:
            self.read(other)

    def read(self, process: Process) -> None:
        """All letters that were sent to it since its claim; others are void."""
        sent = int(self.redis.hget("root", f"mail:{process.me}") or 0)
        until = time.monotonic() + 2
        while process.letters < sent:
            assert time.monotonic() < until, "a letter was sent and has not come"
            if (message := process.inbox.get_message(timeout=1)) is not None:
                letter = json.loads(message["data"])
                if letter["claim"] == process.claim:
                    process.letters += 1
                    self.begin(process, letter)

    def begin(self, process: Process, said: dict[str, Any]) -> None:
        for _, name, weight in said["given"]:
            if name in process.waiting:
                waiter = process.waiting.pop(name)
                self.check_order(waiter)
                process.running[name] = weight
                self.served += 1
                running = {n: w for each in self.processes for n, w in each.running.items()}
                assert sum(running.values()) <= self.limit
                if waiter.urgency == 0:
                    self.urgent.add(name)
                else:
                    assert sum(w for n, w in running.items() if n not in self.urgent) <= self.common
            else:
                process.tell("release", [name, 0])

    # ------------------------------------------------------------------------------------------------- what must hold

    def check_order(self, given: Waiter) -> None:
        """Nobody was passed by somebody worse, however light."""
        waiting = [waiter for process in self.processes for waiter in process.waiting.values()]
        known = set(self.redis.zrange(f"{POOL}:line", 0, -1))
        assert all(given.before(waiter) for waiter in waiting if waiter.name in known)

    def check(self) -> None:
        """Nothing lies idle: the best waiter of the living would not fit. And the shares are never more than is."""
        known = self.redis.hgetall(POOL)
        assert sum(int(value) for name, value in known.items() if name.startswith("share:")) <= PLAN
        names = {process.me for process in self.processes}
        line = [name for name in self.redis.zrange(f"{POOL}:line", 0, -1) if name.split(":")[0] in names]
        if line and not self.learning:
            urgent = [name for name in line if self.redis.zscore(f"{POOL}:urgent", name) is not None]
            over = line[0] not in urgent and self.others + min(weight(line[0]), self.common) > self.common
            slots = self.limit if line[0] in urgent else self.common
            assert over or self.held + min(weight(line[0]), slots) > self.limit
            assert not (over and urgent) or self.held + min(weight(urgent[0]), self.limit) > self.limit

    @property
    def common(self) -> int:
        """Slots for those that are not interactive."""
        return self.limit - min(RESERVED, self.limit - 1)

    @property
    def held(self) -> int:
        return sum(int(lease.split()[2]) for lease in self.redis.hvals(f"{POOL}:held"))

    @property
    def others(self) -> int:
        leases = [lease.split() for lease in self.redis.hvals(f"{POOL}:held")]
        return sum(int(lease[2]) for lease in leases if lease[3] == "0")

    def close(self) -> None:
        """Everybody leaves, and then nothing is held by anybody."""
        for _ in range(3):
            for process in self.processes:
                for name in process.running:
                    process.tell("release", [name, 0])
                for name in process.waiting:
                    process.tell("leave", name)
                process.running, process.waiting = {}, {}
            self.pass_time()
        assert (self.held, self.redis.zcard(f"{POOL}:line")) == (0, 0)
        known = self.redis.hgetall(POOL)
        assert sum(int(value) for name, value in known.items() if name.startswith("share:")) <= self.limit
        for process in self.processes:
            process.connection.close()
        self.redis.close()


def weight(name: str) -> int:
    return int(name.split(":")[2])


def as_want(waiter: Waiter) -> list[Any]:
    waited_us = int(1e6 * (time.monotonic() - waiter.came))
    return [waiter.name, waiter.urgency, waited_us, 10**10, 0, 10**6]


@pytest.mark.parametrize("seed", range(6))
def test_anything(redis_server: RedisServer, seed: int) -> None:
    """Never more at once than the limit, nobody passed, nothing idle, nothing lost: over 120 random events."""
    world = World(redis_server.url, random.Random(seed))
    events = [world.want] * 8 + [world.end] * 10 + [world.leave] * 2 + [world.beat] * 3 + [world.start, world.kill]
    events += [world.pass_time, world.empty, world.lose_an_answer]
    for _ in range(120):
        world.chance.choice(events)()
        world.check()
    assert world.served > 10
    world.close()


@dataclass(frozen=True)
class Crowd:
    """Class, for how long (s) and weight of those that run already on so many slots, some of them kept; that come and
    have waited; and that do after the limit was lowered. Calls take 1000 s."""

    plan: int
    reserved: float
    lowered: int
    running: list[tuple[int, float, int]]
    before: list[tuple[int, float, int]]
    after: list[tuple[int, float, int]]

    @classmethod
    def random(cls, chance: random.Random) -> "Crowd":
        plan, weights = chance.randint(2, 10), chance.choice([[1], [1, 1, 1, 2, 4]])
        waited_s = [7.0 * n for n in chance.sample(range(40), plan + 25)]  # so no two ranks are within a second
        each = [(chance.randint(0, 2), since_s, chance.choice(weights)) for since_s in waited_s]
        running = [(urgency, 1000 * chance.random(), 1) for urgency, _, _ in each[: chance.randint(0, plan)]]
        return cls(plan, chance.choice([0, 1, 2, 0.3]), chance.randint(1, plan), running, each[:plan], each[plan:])


async def turns_by_limiter(crowd: Crowd) -> list[float]:
    """What each who comes late enough to wait hears of its turn; 0 for who need not wait."""
    limiter, turns = Limiter("stt", crowd.plan, reserved=crowd.reserved), list[float]()
    for urgency, since_s, weight in crowd.running:
        lease = limiter.admit(Ticket(Priority(urgency), 1e6, False, 1000.0, weight))
        limiter.grant(lease)
        lease.started = now() - since_s
    for urgency, waited_s, weight in crowd.before + crowd.after:
        if len(turns) == len(crowd.before):
            limiter.heard(crowd.lowered, None)
        lease = limiter.admit(Ticket(Priority(urgency), 1e6, False, 1000.0, weight, now() - waited_s))
        limiter.enter(lease)
        turns.append(0.0 if lease.turn.done() else limiter.turn_in_s(lease.ticket, lease.number))
    return turns


class Script:
    """One process, alone, with a pool for each of the crowds."""

    def __init__(self, url: str, crowds: list[Crowd]) -> None:
        self.redis: Any = Redis.from_url(url, decode_responses=True)
        self.seq = 0
        pools = {}
        for number, each in enumerate(crowds):
            terms = {"plan": each.plan, "fixed": 0, "reserved": each.reserved, "size": 1000}
            held = [[f"me:-{n}:{w}", int(1e6 * s), w, int(u == 0)] for n, (u, s, w) in enumerate(each.running)]
            known = {"limit": each.plan, "ceiling": each.plan, "share": 0, "held": held, "want": []}
            pools[str(number)] = {"terms": terms} | known
        self.say(pools, claim=True, beat=True, first=True, born=0)
        while self.say({})["status"] == "learning":
            time.sleep(0.05)

    def say(self, pools: dict[str, Any], **more: Any) -> Any:
        self.seq += 1
        return json.loads(self.redis.eval(QUICK, 1, "root", "me", self.seq, json.dumps(more | {"pools": pools})))

    def turns(self, pool: str, crowd: Crowd) -> list[float]:
        turns = list[float]()
        for urgency, waited_s, weight in crowd.before + crowd.after:
            name, lowered = f"me:{self.seq}:{weight}", [[crowd.lowered, -1]] if len(turns) == len(crowd.before) else []
            wanted = [name, urgency, int(1e6 * waited_s), 10**12, 0, 10**9]
            answer = self.say({pool: {"heard": lowered, "want": [wanted]}})
            waits = [wait_us / 1e6 for _, known, wait_us in answer["queued"] if known == name]
            assert len(waits) + sum(known == name for _, known, _ in answer["given"]) == 1
            turns.append(waits[0] if waits else 0.0)
        return turns


def test_turns_are_told_as_by_the_limiter(redis_server: RedisServer) -> None:
    """Of every class and weight, with slots kept and not, behind whoever has aged, also after the limit was lowered."""
    crowds = [Crowd.random(random.Random(seed)) for seed in range(60)]
    script = Script(redis_server.url, crowds)
    for number, crowd in enumerate(crowds):
        told = script.turns(str(number), crowd)

        assert told == pytest.approx(run(turns_by_limiter(crowd)), abs=20), crowd
    script.redis.close()
