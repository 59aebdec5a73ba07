"""The blocking facade: one loop thread a process, safe from every thread, before and after a fork."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from rooms import settings

from speech.blocking import Blocking
from speech.client import Client
from speech.errors import InvalidRequest
from speech.testing.plugin import SandboxThread
from speech.wiring import SpeechClient


class Toy:
    """The async face of a client; remembers on which threads it ran and what was cancelled."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.running = self.peak = self.cancelled = 0
        self.closed = False
        self.exits: list[Any] = []

    async def synthesize(self, text: str, *, takes_s: float = 0.01) -> str:
        if not text:
            raise InvalidRequest("text is empty")
        self.threads.add(threading.get_ident())
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(takes_s)
            return text.upper()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def stream(self, text: str) -> "ToyListening":
        return ToyListening(self, text)

    def snapshot(self) -> dict[str, Any]:
        return {"running": self.running, "at": asyncio.get_running_loop().time()}

    async def aclose(self) -> None:
        self.closed = True


class ToyListening:
    def __init__(self, toy: Toy, text: str) -> None:
        self.toy, self.left = toy, [text[i : i + 2].encode() for i in range(0, len(text), 2)]

    async def __aenter__(self) -> "ToyListening":
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.toy.exits.append(error[0])

    def __aiter__(self) -> "ToyListening":
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


@pytest.fixture
def toys() -> list[Toy]:
    return []


@pytest.fixture
def speech(toys: list[Toy]) -> Iterator[Blocking]:
    def make() -> Client:
        toys.append(Toy())
        return cast(Client, toys[-1])

    with Blocking(make) as facade:
        yield facade


def test_fifty_threads_share_one_loop(speech: Blocking, toys: list[Toy]) -> None:
    """All at once, each with its own answer, on one thread that is none of theirs."""
    barrier = threading.Barrier(50)

    def call(n: int) -> Any:
        barrier.wait()
        return speech.synthesize(f"text {n}", takes_s=0.2)

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(call, range(50))) == [f"TEXT {n}" for n in range(50)]
    (toy,) = toys
    assert len(toy.threads) == 1 and toy.peak > 1
    assert threading.get_ident() not in toy.threads


def test_nothing_starts_before_the_first_call(toys: list[Toy]) -> None:
    """So it may be made at import, before a server forks."""
    before = threading.active_count()
    Blocking(lambda: cast(Client, toys.append(Toy())))
    assert toys == [] and threading.active_count() == before


def test_errors_are_the_clients_own(speech: Blocking) -> None:
    """The same classes to catch as in async code."""
    with pytest.raises(InvalidRequest, match="text is empty"):
        speech.synthesize("")


def test_a_stream_is_iterated(speech: Blocking, toys: list[Toy]) -> None:
    """Chunk by chunk; the answer's own facts are on ``listening``."""
    with speech.stream("abcdef") as chunks:
        assert list(chunks) == [b"ab", b"cd", b"ef"]
        assert chunks.listening.left == []  # type: ignore[attr-defined]
    assert toys[0].exits == [None]


def test_a_stream_left_in_the_middle_is_closed(speech: Blocking, toys: list[Toy]) -> None:
    """With what made the reader leave."""
    with pytest.raises(ZeroDivisionError), speech.stream("abcdef") as chunks:
        next(chunks)
        raise ZeroDivisionError
    assert toys[0].exits == [ZeroDivisionError]


def test_ctrl_c_cancels_what_it_interrupts(speech: Blocking, toys: list[Toy]) -> None:
    """The call upstream must not go on for somebody who stopped waiting."""
    speech.synthesize("warm")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a run in the background may have switched off
    threading.Timer(0.2, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        speech.synthesize("long", takes_s=30)
    assert time.monotonic() - began < 10
    assert eventually(lambda: toys[0].cancelled == 1)


def test_snapshot_is_taken_on_the_loop(speech: Blocking) -> None:
    """Its parts tell time by their loop."""
    assert speech.snapshot()["at"] > 0


def test_whatever_else_there_is_to_ask_is_asked_on_the_loop(speech: Blocking, toys: list[Toy]) -> None:
    """Of the client itself, for who has to know it."""

    async def ask(client: Client) -> tuple[Client, int]:
        return client, threading.get_ident()

    client, thread = speech.run(ask)
    speech.synthesize("x")
    assert client is cast(Any, toys[0]) and toys[0].threads == {thread}


def test_closing_ends_the_thread_and_further_calls_are_refused(toys: list[Toy]) -> None:
    """Twice is as good as once."""
    before = threading.active_count()

    def make() -> Client:
        toys.append(Toy())
        return cast(Client, toys[-1])

    with Blocking(make) as speech:
        speech.synthesize("x")
    speech.close()
    assert toys[0].closed and threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        speech.synthesize("x")


def test_a_factory_that_fails_is_asked_again(toys: list[Toy]) -> None:
    """Wrong settings raise at the first call, and leave no thread behind."""
    before = threading.active_count()

    def make() -> Client:
        toys.append(Toy())
        if len(toys) == 1:
            raise ValueError("wrong settings")
        return cast(Client, toys[-1])

    with Blocking(make) as speech:
        with pytest.raises(ValueError, match="wrong settings"):
            speech.synthesize("x")
        assert threading.active_count() == before
        assert cast(str, speech.synthesize("x")) == "X"


def test_closing_after_a_factory_that_failed_is_quiet() -> None:
    """What is wrong is said by the error, not hidden by another one on the way out."""

    def make() -> Client:
        raise ValueError("wrong settings")

    with pytest.raises(ValueError, match="wrong settings"), Blocking(make) as speech:
        speech.synthesize("x")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_has_a_client_of_its_own(speech: Blocking, toys: list[Toy]) -> None:
    """While the parent's threads are busy; both go on speaking."""
    with ThreadPoolExecutor(8) as pool:
        busy = [pool.submit(speech.synthesize, "x", takes_s=0.3) for _ in range(8)]
        pid = os.fork()
        if pid == 0:
            os._exit(0 if cast(str, speech.synthesize("child")) == "CHILD" and len(toys) == 2 else 1)
        assert [cast(str, future.result()) for future in busy] == ["X"] * 8
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(toys) == 1 and cast(str, speech.synthesize("parent")) == "PARENT"


def test_the_real_client_from_many_threads(speech_sandbox: SandboxThread) -> None:
    """Twenty different texts from twenty threads: all spoken, never more at once than the plan allows."""
    ours = settings(api_key="sandbox-key-0123456789", base_url=speech_sandbox.url, env="development", tier="creator")
    speech_sandbox.set(latency_s=0.05)
    with SpeechClient(ours).blocking() as speech, ThreadPoolExecutor(20) as pool:
        audios = list(pool.map(lambda n: speech.synthesize(f"text {n}", model_id="eleven_v4"), range(20)))
        assert all(audio.data for audio in audios)
        with speech.stream("streamed") as chunks:
            data = b"".join(chunks)
        assert data and chunks.listening.cache == "miss"
        assert speech.transcribe(data).text == "streamed"
    state = speech_sandbox.state()
    assert state["refused"] == 0 and state["peak"]["standard"] == 5


def eventually(holds: Callable[[], bool], within_s: float = 5) -> bool:
    """Whether it comes true."""
    until = time.monotonic() + within_s
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()
