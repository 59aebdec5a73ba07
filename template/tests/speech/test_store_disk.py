"""What the disk alone can say: it outlives its process, whenever that ends, and belongs to all of them."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from rooms import a_room, key

import speech
from speech.cache import Kept
from speech.errors import BudgetExceeded
from speech.ledger import Budgets, Charge, Ledger, Row, Usage
from speech.stores import Stores, disk
from speech.stores.disk_audio import UNTOLD_MAX, DiskAudio

DAY = "2026-11-24"
CALL = Charge("anna", "flash", credits=7, usd=0.01, characters=14)
ENTRY = Kept(b"audio" * 1000, {"voice_id": "anna"})


def opened(root: Path, **room: Any) -> Stores:
    return disk.open(a_room(root, **room))


def books(stores: Stores, **budgets: float) -> Ledger:
    return Ledger(stores.ledger, Budgets(**budgets), today=lambda: DAY)  # type: ignore[arg-type]  # no callers here


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".speech"


@pytest.fixture
async def stores(root: Path) -> AsyncIterator[Stores]:
    pair = opened(root)
    yield pair
    await pair.close()


class Child:
    """Another process with the same folder. It prints a line for each thing that was acknowledged."""

    def __init__(self, root: Path, does: str) -> None:
        source = Path(speech.__file__).parents[2]
        code = _CHILD.format(package=speech.__name__, root=str(root), day=DAY, does=does)
        environ = os.environ | {"PYTHONPATH": str(source)}
        self.process = subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, env=environ, text=True)

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def rest(self) -> list[str]:
        """Whole lines only, to its end."""
        assert self.process.stdout
        return [line for line in self.process.stdout.read().splitlines(True) if line.endswith("\n")]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


_CHILD = """
import asyncio, os, time
from pathlib import Path
from {package}.cache import Kept
from {package}.errors import BudgetExceeded
from {package}.ledger import Budgets, Charge, Ledger
from {package}.stores import Room, disk

CALL = Charge("anna", "flash", credits=7, usd=0.01, characters=14)

async def main():
    stores = disk.open(Room(Path({root!r}), 10**7, 120.0, "", "an-account"))
    ledger = Ledger(stores.ledger, Budgets(daily_usd=2.0), today=lambda: {day!r})
{does}

asyncio.run(main())
"""

BOOK = """
    ledger.budgets = Budgets()
    while True:
        async with await ledger.reserve(CALL) as bill:
            await bill.send()
            bill.billed()
        print("booked")
"""
PLACES, SIZE = 20, 200_000
KEEP = f"""
    number = 0
    while True:
        number += 1
        await stores.audio.put(f"{{number % {PLACES}:064x}}", Kept(bytes([number % 251]) * {SIZE}, {{}}))
        print(number)
"""
HOLD = """
    queued, sent = await ledger.reserve(CALL), await ledger.reserve(CALL)
    await sent.send()
    print("held")
    time.sleep(60)
"""
SPEND = """
    spent = 0
    try:
        while True:
            async with await ledger.reserve(CALL) as bill:
                await bill.send()
                await asyncio.sleep(0)
                bill.billed()
            spent += 1
    except BudgetExceeded:
        print(spent)
"""


# ------------------------------------------------------------------------------------------------------- kill -9


def test_no_booking_is_lost_by_a_kill(root: Path) -> None:
    """What was acknowledged is on the books; of the rest at most the one that was under way, as uncertain."""
    acknowledged = 0
    for _ in range(4):
        child = Child(root, BOOK)
        child.says()
        time.sleep(0.2)
        child.kill()
        acknowledged += 1 + len(child.rest())
    stores = opened(root)
    (sums,) = asyncio.run(stores.ledger.rows()).values()
    assert acknowledged > 40
    assert acknowledged * 7 <= sums.credits + sums.uncertain_credits <= (acknowledged + 4) * 7
    assert sums.uncertain_credits <= 4 * 7
    asyncio.run(books(stores, daily_usd=sums.spent_usd + CALL.usd).reserve(CALL))  # nothing is set aside any more
    asyncio.run(_closed(stores))


def test_nothing_torn_is_served_after_a_kill(root: Path) -> None:
    """What was acknowledged is there, and every entry is whole: as acknowledged, or as was being written over it."""
    acknowledged: dict[int, int] = {}
    for _ in range(4):
        child = Child(root, KEEP)
        numbers = [int(child.says())]
        time.sleep(0.2)
        child.kill()
        numbers += map(int, child.rest())
        acknowledged |= {number % PLACES: number for number in numbers}
        under_way = numbers[-1] + 1
        for place, number in acknowledged.items():
            data = asyncio.run(_heard(root, key(place)))
            assert len(data) == SIZE and data in (bytes([number % 251]) * SIZE, bytes([under_way % 251]) * SIZE)
        acknowledged.pop(under_way % PLACES, None)  # either may be there from now on


async def _closed(stores: Stores) -> None:
    await stores.close()


async def _heard(root: Path, name: str) -> bytes:
    found = await opened(root).audio.get(name)
    assert found is not None
    return found[0].data


def test_a_killed_process_frees_what_it_never_sent(root: Path, stores: Stores) -> None:
    """While it lives nobody touches it; then what it sent is uncertain, and the rest may be spent again."""
    child, ledger = Child(root, HOLD), books(stores, daily_usd=0.02)
    child.says()
    with pytest.raises(BudgetExceeded):
        asyncio.run(ledger.reserve(CALL))
    child.kill()
    asyncio.run(ledger.reserve(CALL))
    with pytest.raises(BudgetExceeded):
        asyncio.run(ledger.reserve(CALL))
    assert asyncio.run(ledger.rows()) == {Row(DAY, "anna", "flash"): Usage(uncertain_credits=7, uncertain_usd=0.01)}


# ------------------------------------------------------------------------------------------------ several processes


def test_processes_share_a_budget_to_the_cent(root: Path, stores: Stores) -> None:
    """Three spend at once what is for all: together exactly that."""
    children = [Child(root, SPEND) for _ in range(3)]
    spent = [int(child.says()) for child in children]
    for child in children:
        child.process.wait()
    assert sum(spent) == 200
    assert [sums.credits for sums in asyncio.run(books(stores).rows()).values()] == [1400]


def test_a_fork_after_the_first_use_is_a_process_of_its_own(stores: Stores) -> None:
    """It neither keeps its parent's money alive nor takes its parent's connections with it."""
    ledger = books(stores)
    bill = asyncio.run(ledger.reserve(CALL))
    if not (child := os.fork()):
        asyncio.run(_send_one(ledger))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(BudgetExceeded):  # the dead child's is uncertain, the parent's own is still set aside
        asyncio.run(books(stores, daily_usd=0.025).reserve(CALL))
    bill.billed()
    asyncio.run(bill.__aexit__())
    assert asyncio.run(ledger.rows()) == {
        Row(DAY, "anna", "flash"): Usage(
            credits=7, cost_usd=0.01, characters=14, uncertain_credits=7, uncertain_usd=0.01
        )
    }


async def _send_one(ledger: Ledger) -> None:
    await (await ledger.reserve(CALL)).send()


def test_what_a_child_books_survives_its_parent(root: Path, stores: Stores) -> None:
    """The parent closes while a forked child is at work: an inherited lock would lose bookings."""
    ledger = books(stores)
    asyncio.run(_spend(ledger))
    closed, close = os.pipe()
    if not (child := os.fork()):
        asyncio.run(_spend(ledger))
        os.read(closed, 1)
        asyncio.run(_spend(ledger))
        os._exit(0)
    time.sleep(0.2)
    asyncio.run(_closed(stores))
    os.write(close, b".")
    assert os.waitpid(child, 0)[1] == 0
    assert [sums.credits for sums in asyncio.run(books(opened(root)).rows()).values()] == [21]


async def _spend(ledger: Ledger) -> None:
    async with await ledger.reserve(CALL) as bill:
        bill.billed()


# ------------------------------------------------------------------------------------------------------- the folder


async def test_audio_and_books_survive_a_restart(root: Path) -> None:
    """A new process finds what the last one kept, and its budget as it was left."""
    first = opened(root)
    await first.audio.put(key(1), ENTRY)
    await _spend(books(first))
    await first.close()
    second = opened(root)
    found = await second.audio.get(key(1))
    assert found is not None and found[0] == ENTRY
    with pytest.raises(BudgetExceeded):
        await books(second, daily_usd=0.015).reserve(CALL)
    await second.close()


async def test_nothing_is_touched_before_the_first_use(root: Path) -> None:
    """So it is safe to build before a fork."""
    await opened(root).close()
    assert not root.exists()


async def test_the_folder_is_ours_alone(root: Path, stores: Stores) -> None:
    """Folders 0700, files 0600 whatever the umask, and git doesn't see them."""
    before = os.umask(0)
    try:
        await stores.audio.put(key(1), ENTRY)
        await _spend(books(stores))
    finally:
        os.umask(before)
    assert (root / ".gitignore").read_text() == "*\n"
    for path in (root, *root.rglob("*")):
        if path.name != ".gitignore":
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_names_and_index_hold_no_text(root: Path, stores: Stores) -> None:
    """A file is named by its key."""
    await stores.audio.put(key(1), ENTRY)
    assert [path.name for path in (root / "audio").glob("*.audio")] == [f"{key(1)}.audio"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:10],
        lambda raw: b"",
        lambda raw: raw[:500] + b"?" + raw[501:],
        lambda raw: raw[:6] + b"\xff" + raw[7:],
        lambda raw: raw + b"more",
        lambda raw: b"ID3 somebody's own mp3" * 50,
    ],
)
async def test_a_torn_or_foreign_file_is_a_miss(root: Path, stores: Stores, harm: Callable[[bytes], bytes]) -> None:
    """It isn't played, and it is removed."""
    await stores.audio.put(key(1), ENTRY)
    path = root / "audio" / f"{key(1)}.audio"
    path.write_bytes(harm(path.read_bytes()))
    assert await stores.audio.get(key(1)) is None
    assert not path.exists()


async def test_a_row_without_a_file_is_a_miss_and_forgotten(root: Path, stores: Stores) -> None:
    """Somebody cleaned up by hand."""
    await stores.audio.put(key(1), ENTRY)
    (root / "audio" / f"{key(1)}.audio").unlink()
    assert await stores.audio.get(key(1)) is None
    assert await stores.audio.purge("nobody") == 0
    assert (await stores.audio.stats())["entries"] == 0


async def test_a_file_without_a_row_is_adopted(root: Path, stores: Stores) -> None:
    """A kill between file and index costs nothing: it is heard, it counts, and it can be purged by voice."""
    await stores.audio.put(key(1), ENTRY)
    await stores.close()
    for index in (root / "audio").glob("index.sqlite*"):
        index.unlink()
    again = opened(root)
    assert await again.audio.get(key(1)) is not None
    assert await again.audio.purge("nobody") == 0
    assert (await again.audio.stats())["entries"] == 1
    assert await again.audio.purge("anna") == 1
    await again.close()


async def test_only_old_drafts_are_swept(root: Path, stores: Stores) -> None:
    """A neighbour may be writing the fresh one this very moment."""
    await stores.audio.put(key(1), ENTRY)
    fresh, old = root / "audio" / "fresh.tmp", root / "audio" / "old.tmp"
    for path in (fresh, old):
        path.write_bytes(b"half an entry")
    os.utime(old, (time.time() - 90,) * 2)
    await stores.audio.purge("nobody")
    assert fresh.exists() and not old.exists()


async def test_age_goes_on_while_nobody_runs(root: Path) -> None:
    """An entry is as old as the wall clock says; what is too old for anybody leaves the disk."""
    young = DiskAudio(root, 1_000_000, age_s_max=120, wall=lambda: 1000.0)
    await young.put(key(1), ENTRY)
    found = await DiskAudio(root, 1_000_000, age_s_max=120, wall=lambda: 1100.0).get(key(1))
    assert found is not None and found[1] == 100.0
    await DiskAudio(root, 1_000_000, age_s_max=120, wall=lambda: 1120.0).put(key(2), ENTRY)
    assert [path.stem for path in (root / "audio").glob("*.audio")] == [key(2)]


async def test_many_puts_reach_the_index_in_bulk(root: Path) -> None:
    """They count at once where they were made, elsewhere when there are a hundred, or a hundredth of all bytes."""
    stores, other = opened(root), opened(root)
    await stores.audio.stats()
    for number in range(UNTOLD_MAX):
        assert (await stores.audio.stats())["entries"] == number
        assert await other.audio.get(key(number)) is None
        await stores.audio.put(key(number), Kept(b"short", {}))
        assert await other.audio.get(key(number)) is not None
    assert (await other.audio.stats())["entries"] == UNTOLD_MAX
    await stores.audio.put(key(UNTOLD_MAX), Kept(b"x" * 300_000, {}))
    assert (await opened(root).audio.stats())["entries"] == UNTOLD_MAX + 1
    await stores.close()
    await other.close()


async def test_short_ones_never_fill_more_than_there_is(root: Path) -> None:
    """Neither before the index hears of them: what may be new is kept free."""
    stores = opened(root, bytes_max=100_000)
    for number in range(300):
        await stores.audio.put(key(number), Kept(b"x" * 400, {}))
        assert stored(root) <= 100_000
    assert 98_000 < stored(root)
    await stores.close()


def stored(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / "audio").glob("*.audio"))


async def test_what_is_left_to_tell_is_told_at_the_end(root: Path) -> None:
    """The next process needn't look for it in the folder."""
    stores, other = opened(root), opened(root)
    await stores.audio.put(key(1), ENTRY)
    await stores.close()
    assert (await other.audio.stats())["entries"] == 1
    await other.close()


async def test_an_old_word_says_nothing_of_a_new_file(root: Path) -> None:
    """Two wrote the same, and the first one's word comes last: what counts is what lies there."""
    stores, other = opened(root), opened(root)
    await stores.audio.put(key(1), Kept(b"short", {}))
    await other.audio.put(key(1), Kept(b"x" * 9000, {}))
    assert (await stores.audio.stats())["bytes"] == stored(root)
    await stores.close()
    await other.close()


async def test_what_was_purged_elsewhere_does_not_come_back(root: Path) -> None:
    """Its row was still to be written when its file went."""
    stores, other = opened(root), opened(root)
    await stores.audio.put(key(1), Kept(b"short", {"voice_id": "anna"}))
    assert await other.audio.purge("anna") == 1
    await stores.audio.purge("nobody")
    assert (await stores.audio.stats())["entries"] == 0
    await stores.close()
    await other.close()


async def test_many_hits_reach_the_index_without_a_put(root: Path, stores: Stores) -> None:
    """So that a process that only plays protects what it plays from one that only writes."""
    for number in range(3):
        await stores.audio.put(key(number), Kept(b"x" * 300_000, {}))
    for _ in range(UNTOLD_MAX):
        await stores.audio.get(key(0))
    writer = opened(root)
    await writer.audio.put(key(3), Kept(b"x" * 300_000, {}))
    assert [await writer.audio.get(key(n)) is not None for n in range(4)] == [True, False, True, True]
    await writer.close()


def test_windows_is_refused_in_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``flock`` nobody could tell whose money is whose."""
    assert disk.unsupported() is None
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(RuntimeError, match="Windows") as refused:
        opened(root)
    assert str(refused.value) == disk.unsupported() and "\n" not in str(refused.value)
