"""What is paid for once by all processes of a host, and how many requests a caller has in all of them."""

import asyncio
import errno
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from backend_disk import Child, processes
from rooms import a_room, key

from speech.cache import AudioStore, Kept
from speech.stores import Stores, disk
from speech.stores.disk_owner import is_orphaned
from speech.stores.disk_seats import DiskSeats
from speech.testing.plugin import SandboxThread

ENTRY = Kept(b"audio" * 1000, {"voice_id": "anna"})

Start = Callable[[str], Child]
Open = Callable[[], Stores]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".speech"


@pytest.fixture
async def opened(root: Path) -> AsyncIterator[Open]:
    """The stores of as many processes as are asked for."""
    made: list[Stores] = []

    def another() -> Stores:
        made.append(disk.open(a_room(root)))
        return made[-1]

    yield another
    for stores in made:
        await stores.close()


@pytest.fixture
def children() -> Iterator[Start]:
    with processes() as start:
        yield start


def claims(root: Path) -> list[str]:
    return [path.name for path in (root / "audio" / "claims").glob("*")]


def code(root: Path, does: str) -> str:
    return f"""
from pathlib import Path
from {{speech}}.cache import Kept
from {{speech}}.stores.disk_audio import DiskAudio
from {{speech}}.stores.disk_seats import DiskSeats
audio, seats = DiskAudio(Path({str(root)!r}), 10**6, 120), DiskSeats(Path({str(root)!r}))
{does}
"""


# The child lives for as long as this test has a hand on its parent's input.
FORK = "os.fork() or os._exit(len(os.read(0, 1))); print('forked'); time.sleep(60)"


# ----------------------------------------------------------------------------------------------------- who pays


async def test_who_waits_gets_what_was_paid_for(opened: Open, root: Path) -> None:
    """The first has nothing and pays; the second waits for it, and hears it."""
    a, b = opened().audio, opened().audio
    async with a.claim(key(1)) as found:
        assert found is None
        waiting = asyncio.create_task(_claim(b, key(1)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await a.put(key(1), ENTRY)
    heard = await asyncio.wait_for(waiting, 10)

    assert heard is not None and heard[0] == ENTRY
    assert [] == claims(root)


async def _claim(audio: AudioStore, name: str) -> tuple[Kept, float] | None:
    async with audio.claim(name) as found:
        return found


async def test_another_audio_waits_for_nobody(opened: Open) -> None:
    """Each key is a claim of its own."""
    a, b = opened().audio, opened().audio
    async with a.claim(key(1)), asyncio.timeout(10), b.claim(key(2)) as found:
        assert found is None


async def test_where_the_first_fails_the_next_pays(opened: Open) -> None:
    """Nothing was kept, so it is the next one's turn to try."""
    a, b = opened().audio, opened().audio
    with pytest.raises(RuntimeError):
        async with a.claim(key(1)):
            waiting = asyncio.create_task(_claim(b, key(1)))
            await asyncio.sleep(0.05)
            raise RuntimeError("upstream failed")

    assert await asyncio.wait_for(waiting, 10) is None


async def test_one_at_a_time_whoever_comes_and_goes(opened: Open, root: Path) -> None:
    """40 claim the same in four processes' stores, ten of them give up: never two at once, and nothing is left."""
    stores, inside, most, paid = [opened() for _ in range(4)], 0, 0, 0

    async def pay(number: int) -> None:
        nonlocal inside, most, paid
        async with stores[number % 4].audio.claim(key(1)):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside, paid = inside - 1, paid + 1

    tasks = [asyncio.create_task(pay(number)) for number in range(40)]
    await asyncio.sleep(0.05)
    for task in tasks[30:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert (1, True, []) == (most, paid >= 30, claims(root))


async def test_a_killed_process_claims_nothing(opened: Open, root: Path, children: Start) -> None:
    """Its claim is another's at once, though its file is still there."""
    child = children(code(root, f"async with audio.claim({key(1)!r}):\n    print('mine')\n    time.sleep(60)"))
    await child.said()
    waiting = asyncio.create_task(_claim(opened().audio, key(1)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    child.kill()

    assert await asyncio.wait_for(waiting, 10) is None


async def test_a_fork_claims_nothing(opened: Open, root: Path, children: Start) -> None:
    """The parent dies while its child lives on."""
    child = children(code(root, f"async with audio.claim({key(1)!r}):\n    {FORK}"))
    await child.said()
    child.process.kill()
    child.process.wait()

    assert await asyncio.wait_for(_claim(opened().audio, key(1)), 10) is None


async def test_a_dead_ones_claim_is_removed_once(
    opened: Open, root: Path, children: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two find it: whoever comes second must not take the first one's new claim for it."""
    child = children(code(root, f"async with audio.claim({key(1)!r}):\n    print('mine')\n    time.sleep(60)"))
    await child.said()
    child.kill()
    orphan, flock, paying = root / "audio" / "claims" / key(1), fcntl.flock, AsyncExitStack()
    taking = opened().audio.claim(key(1))

    def after_another(file: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        assert is_orphaned(orphan)
        with pytest.raises(StopIteration):  # nothing in it has to wait
            paying.enter_async_context(taking).__await__().send(None)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", after_another)
    assert not is_orphaned(orphan)
    assert [key(1)] == claims(root)
    await paying.aclose()


async def test_a_removed_folder_is_made_anew(opened: Open, root: Path) -> None:
    """Somebody cleaned up while we ran."""
    audio = opened().audio
    assert await _claim(audio, key(1)) is None
    shutil.rmtree(root)
    async with asyncio.timeout(10), audio.claim(key(1)):
        assert [key(1)] == claims(root)


async def test_where_nothing_can_be_locked_everybody_pays(opened: Open, root: Path) -> None:
    """A folder that isn't one: the cache fails, and no call waits for it."""
    root.mkdir()
    (root / "audio").write_text("no folder")
    a = opened().audio
    async with a.claim(key(1)) as first, a.claim(key(1)) as second:
        assert (None, None) == (first, second)


async def test_without_hard_links_everybody_pays(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT, exFAT and some of the folders that a virtual machine shares: audio is kept all the same."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    a = opened().audio
    async with a.claim(key(1)) as first, a.claim(key(1)) as second:
        assert (None, None) == (first, second)
        await a.put(key(1), ENTRY)
    assert await a.get(key(1)) is not None


SPEAK = """
from {speech} import SpeechClient
async with SpeechClient.from_env() as speech:
    print("ready")
    await asyncio.to_thread(sys.stdin.readline)
    audios = await asyncio.gather(*(speech.synthesize("A text that all want to hear.") for _ in range(25)))
    print(*sorted({audio.cache for audio in audios}), len({audio.data for audio in audios}))
"""


async def test_a_hundred_equal_requests_of_four_processes_are_one_call(
    speech_sandbox: SandboxThread, children: Start
) -> None:
    """Sent at once: upstream is asked once, and everybody hears the same."""
    speech_sandbox.set(latency_s=0.3)
    crowd = [children(SPEAK) for _ in range(4)]
    for child in crowd:
        assert "ready" == await child.said()
    for child in crowd:
        assert child.process.stdin
        child.process.stdin.write("go\n")
        child.process.stdin.flush()
    said = [await child.said() for child in crowd]

    assert 1 == speech_sandbox.state()["calls"], said
    assert {"1"} == {words.split()[-1] for words in said}
    assert 1 == sum("miss" in words for words in said)


# -------------------------------------------------------------------------------------------------------- seats


async def test_seats_are_counted_over_all(root: Path) -> None:
    """Two of three are taken here, the third there; each caller has its own."""
    a, b = DiskSeats(root), DiskSeats(root)
    taken = [await each.take("anna", 3) for each in (a, b, a, b)]

    assert [True, True, True, False] == taken
    assert await b.take("bert", 1)
    await b.free("anna")
    assert await a.take("anna", 3) and not await a.take("anna", 3)
    a.close()
    b.close()


async def test_a_freed_seat_is_the_next_ones(root: Path) -> None:
    """As often as one likes; and who has none frees none."""
    a, b = DiskSeats(root), DiskSeats(root)
    for _ in range(3):
        assert await a.take("anna", 1) and not await b.take("anna", 1)
        await a.free("anna")
        await a.free("anna")
    a.close()
    b.close()


async def test_a_killed_process_has_no_seats(root: Path, children: Start) -> None:
    """They are free at that instant."""
    child = children(code(root, "print(await seats.take('anna', 1))\ntime.sleep(60)"))
    assert "True" == await child.said()
    mine = DiskSeats(root)
    assert not await mine.take("anna", 1)
    child.kill()
    assert await mine.take("anna", 1)
    mine.close()


async def test_a_fork_has_no_seats(root: Path, children: Start) -> None:
    """The parent dies while its child lives on."""
    child = children(code(root, f"await seats.take('anna', 1)\n{FORK}"))
    await child.said()
    mine = DiskSeats(root)
    assert not await mine.take("anna", 1)
    child.process.kill()
    child.process.wait()
    async with asyncio.timeout(10):
        while not await mine.take("anna", 1):
            await asyncio.sleep(0.01)
    mine.close()


async def test_a_seat_is_free_at_once_whoever_inherited_it(root: Path) -> None:
    """Also if a child was forked this very moment and had no time to let go: what is closed is unlocked before."""
    seats, other = DiskSeats(root), DiskSeats(root)
    assert await seats.take("anna", 1)
    inherited = [os.dup(file) for file in seats._locks._files.values()]
    seats.close()
    assert await other.take("anna", 1)
    other.close()
    for file in inherited:
        os.close(file)


async def test_a_seat_tells_nothing_of_the_caller(root: Path) -> None:
    """Names of files are seen by whoever lists the folder."""
    seats = DiskSeats(root)
    await seats.take("tenant-7", 1)
    (seat,) = (root / "seats").iterdir()
    assert "tenant" not in seat.name
    seats.close()
