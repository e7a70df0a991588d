"""What an answer from the SQLite store is worth when the disk is full, fails, or loses power."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.application.errors import CommitAmbiguous, StoreUnavailable
from ordering.application.messages import Stored
from tests.contract.order_store.samples import state, write
from tests.integration.faulty_disk import FaultyDisk, faulty_disk

_WAL = "cart.db-wal"
_CREATES = 1_000


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[FaultyDisk]:
    with faulty_disk(request.node.name) as made:
        yield made


def _store(folder: Path, disk: FaultyDisk, synchronous: str = "FULL") -> SqliteOrderStore:
    return SqliteOrderStore.open(folder / "cart.db", vfs=disk.name, synchronous=synchronous)


def _assert_sound(path: Path) -> None:
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


# ---------------------------------------------------------------------------------------------- fsync before the answer


async def _answers_before_their_sync(store: SqliteOrderStore, disk: FaultyDisk) -> int:
    """Of 1,000 creates, how many were answered although the last thing done to the WAL was not a sync of theirs.

    Marks, which need no sync, run in between and must not take the next create's sync away.
    """
    early = 0
    for number in range(_CREATES):
        order_id = f"order-{number}"
        disk.trace.clear()
        assert await store.write([write(order_id)]) == [Stored(True)]
        to_wal = [what for what, name in disk.trace if name == _WAL]
        assert "write" in to_wal
        early += to_wal[-1] != "sync"
        if number % 3 == 0:
            await store.mark_published([(order_id, 1)])
    return early


async def test_each_create_is_synced_before_its_answer(tmp_path: Path, disk: FaultyDisk) -> None:
    """For 1,000 creates the WAL's last write is followed by a sync when the answer comes."""
    store = _store(tmp_path, disk)
    assert await _answers_before_their_sync(store, disk) == 0
    await store.close()


async def test_the_sync_check_fails_without_full_sync(tmp_path: Path, disk: FaultyDisk) -> None:
    """Negative control: with synchronous=NORMAL the same check finds answers before their sync."""
    store = _store(tmp_path, disk, synchronous="NORMAL")
    assert await _answers_before_their_sync(store, disk) > _CREATES // 2
    await store.close()


async def test_marks_leave_the_sync_out(tmp_path: Path, disk: FaultyDisk) -> None:
    """Forgetting a mark means publishing twice, so it does not cost a sync; the next create syncs it too."""
    store = _store(tmp_path, disk)
    await store.write([write("a")])
    await store.mark_published([("a", 1)])
    assert not disk.is_synced(_WAL)
    await store.write([write("b")])
    assert disk.is_synced(_WAL)
    await store.close()


# ---------------------------------------------------------------------------------------------- power cuts

_CUTS = 200


async def _orders_lost_in_power_cuts(folder: Path, disk: FaultyDisk, synchronous: str) -> int:
    """Cut the power at random moments between batches of writes; how many acknowledged orders were gone, in all."""
    chance = random.Random(20_260_101)
    store = _store(folder / "live", disk, synchronous)
    acknowledged: list[str] = []
    cuts: list[tuple[Path, int]] = []
    for number in range(_CUTS):
        batch = [write(f"order-{number}-{row}", key=f"k-{number}-{row}") for row in range(chance.randint(1, 8))]
        await store.write(batch)
        acknowledged += [one.aggregate_id for one in batch]
        if chance.random() < 0.5:
            await store.mark_published([(one.aggregate_id, 1) for one in batch])
        disk.cut_power(folder / f"cut-{number}", chance)
        cuts.append((folder / f"cut-{number}" / "cart.db", len(acknowledged)))
    await store.close()
    return sum([await _missing(path, acknowledged[:count]) for path, count in cuts])


async def _missing(path: Path, expected: list[str]) -> int:
    """How many of these orders are missing or without their journal row."""
    await SqliteOrderStore.open(path).close()
    connection = apsw.Connection(str(path))
    rows = connection.execute("SELECT order_id FROM orders JOIN journal USING (number) WHERE state = body").fetchall()
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
    return len(set(expected) - {order_id for (order_id,) in rows})


@pytest.mark.slow
async def test_no_acknowledged_order_is_lost_in_a_power_cut(tmp_path: Path, disk: FaultyDisk) -> None:
    """200 power cuts that drop or tear what was not synced: every answered order and its event are there."""
    assert await _orders_lost_in_power_cuts(tmp_path, disk, "FULL") == 0


@pytest.mark.slow
async def test_the_power_cut_check_fails_without_full_sync(tmp_path: Path, disk: FaultyDisk) -> None:
    """Negative control: with synchronous=NORMAL acknowledged orders are lost."""
    assert await _orders_lost_in_power_cuts(tmp_path, disk, "NORMAL") > 0


async def test_what_is_visible_after_opening_is_durable(tmp_path: Path, disk: FaultyDisk) -> None:
    """A crash may leave commits that the disk never got; whoever opens the file syncs them before showing them."""
    crashed = _store(tmp_path, disk, synchronous="NORMAL")
    await crashed.write([write("a")])
    assert not disk.is_synced(_WAL)
    opened = SqliteOrderStore.open(tmp_path / "cart.db", vfs=disk.name, exclusive=False)
    assert await opened.get("a") is not None
    disk.cut_power(tmp_path / "cut", random.Random(1))
    assert await _missing(tmp_path / "cut" / "cart.db", ["a"]) == 0
    await opened.close()
    await crashed.close()


# ---------------------------------------------------------------------------------------------- a full disk


async def test_a_full_disk_refuses_writes_and_recovers_by_itself(tmp_path: Path, disk: FaultyDisk) -> None:
    """Ten times full and free: nothing of a refused write remains, reads go on, the first write afterwards works."""
    store = _store(tmp_path, disk)
    for cycle in range(10):
        kept, refused = write(f"kept-{cycle}", key=f"k-{cycle}"), write(f"refused-{cycle}", key=f"r-{cycle}")
        assert await store.write([kept]) == [Stored(True)]
        disk.full = True
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="full"):
                await store.write([refused])
        assert await store.get(kept.aggregate_id) == state(kept)
        assert await store.get(refused.aggregate_id) is None
        assert await store.answer_to(f"r-{cycle}") is None
        disk.full = False
    assert await store.write([write("refused-0", key="r-0")]) == [Stored(True)]
    await store.close()
    _assert_sound(tmp_path / "cart.db")


async def test_a_disk_that_fills_up_within_a_transaction(tmp_path: Path, disk: FaultyDisk) -> None:
    """A batch too big for the page cache reaches the disk before its commit; it is refused and gone all the same."""
    store = _store(tmp_path, disk)
    await store.write([write("before")])
    disk.full = True
    with pytest.raises(StoreUnavailable, match="full"):
        await store.write([write(f"big-{number}", key=f"k{number}", body=bytes(1 << 20)) for number in range(40)])
    disk.full = False
    assert await store.get("big-0") is None
    assert await store.write([write("after")]) == [Stored(True)]
    await store.close()
    _assert_sound(tmp_path / "cart.db")


async def test_what_was_refused_on_a_full_disk_does_not_come_back(tmp_path: Path, disk: FaultyDisk) -> None:
    """A power cut after the refusal does not bring it back: not stored means not stored."""
    store = _store(tmp_path, disk)
    await store.write([write("a")])
    disk.full = True
    with pytest.raises(StoreUnavailable):
        await store.write([write("b")])
    for number in range(20):
        disk.cut_power(tmp_path / f"cut-{number}", random.Random(number))
        after = SqliteOrderStore.open(tmp_path / f"cut-{number}" / "cart.db")
        assert await after.get("a") is not None
        assert await after.get("b") is None
        await after.close()
    await store.close()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("NOT SHOWN: a really full file system (mounting a tmpfs needs root)")
    mount = ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", "size=2m", "ordering-test", str(tmp_path)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("NOT SHOWN: a really full file system (mounting a tmpfs was refused)")
    yield tmp_path
    subprocess.run(["/usr/bin/env", "umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.process
async def test_a_full_file_system(tiny: Path) -> None:
    """The same on a real file system of 2 MiB, filled to the brim and freed ten times."""
    await _fill_and_free(tiny)


async def _fill_and_free(folder: Path) -> None:
    store = SqliteOrderStore.open(folder / "data" / "cart.db")
    await store.write([write("first")])
    stored = ["first"]
    for cycle in range(10):
        refused = await _write_until_full(store, f"{cycle}", stored, folder / "filler")
        assert await store.get(stored[-1]) is not None
        assert await store.get(refused) is None
        _free(folder / "filler")
        assert await store.write([write(refused)]) == [Stored(True)]
        stored.append(refused)
    for order_id in stored:
        assert await store.get(order_id) is not None
    await store.close()
    _assert_sound(folder / "data" / "cart.db")


def _fill(filler: Path) -> None:
    free = os.statvfs(filler.parent)
    filler.write_bytes(bytes(max(0, free.f_bavail - 24) * free.f_bsize))


def _free(filler: Path) -> None:
    filler.unlink()


async def _write_until_full(store: SqliteOrderStore, cycle: str, stored: list[str], filler: Path) -> str:
    """Fill what is left of the disk, then write until it is refused; the id that was."""
    _fill(filler)
    for number in range(1_000):
        order_id = f"order-{cycle}-{number}"
        try:
            await store.write([write(order_id)])
        except StoreUnavailable:
            return order_id
        stored.append(order_id)
    raise AssertionError("the disk never became full")


# ---------------------------------------------------------------------------------------------- a failing sync


async def test_a_failed_sync_is_ambiguous_and_a_repetition_gives_the_truth(tmp_path: Path, disk: FaultyDisk) -> None:
    """The connection is dropped; the next batch runs on a new one, whose whole view was synced first."""
    store = _store(tmp_path, disk)
    await store.write([write("before")])
    batch = [write("a", key="k"), write("b")]
    disk.trace.clear()
    disk.failing_syncs = 1
    with pytest.raises(CommitAmbiguous):
        await store.write(batch)
    assert await store.write(batch) == [Stored(True), Stored(True)]
    assert ("open", "cart.db") in disk.trace[disk.trace.index(("sync failed", _WAL)) :]
    assert await store.write(batch) == [Stored(True), Stored(True)]
    assert await store.get("a") == state(batch[0])
    assert len(await store.waiting(10)) == 3
    await store.close()
    _assert_sound(tmp_path / "cart.db")


@pytest.mark.parametrize("read_first", [False, True])
async def test_orders_after_a_failed_sync_survive_a_power_cut(
    tmp_path: Path, disk: FaultyDisk, read_first: bool
) -> None:
    """The pages of the failed sync never reach the platter, and nothing acknowledged later depends on them: whether
    the dropped connection was the file's last one or a reader keeps the WAL alive."""
    store = _store(tmp_path, disk)
    if read_first:
        assert await store.get("nobody") is None
    acknowledged = []
    for number in range(40):
        batch = [write(f"order-{number}", key=f"k{number}")]
        if number % 4 == 3:
            disk.failing_syncs = 1
            with pytest.raises(CommitAmbiguous):
                await store.write(batch)
            if number % 8 == 3:
                continue  # this one is never asked about again
        await store.write(batch)
        acknowledged.append(f"order-{number}")
        disk.cut_power(tmp_path / f"cut-{number}", random.Random(number))
        assert await _missing(tmp_path / f"cut-{number}" / "cart.db", acknowledged) == 0
    await store.close()


async def test_while_the_disk_keeps_failing_nothing_is_stored(tmp_path: Path, disk: FaultyDisk) -> None:
    """Until a connection with a synced view can be had every write is refused; then the truth is told."""
    store = _store(tmp_path, disk)
    await store.write([write("a")])
    disk.failing_syncs = 1_000
    with pytest.raises(CommitAmbiguous):
        await store.write([write("b")])
    for _ in range(5):
        with pytest.raises((StoreUnavailable, CommitAmbiguous)):
            await store.write([write("c")])
    disk.failing_syncs = 0
    outcome = await store.write([write("b"), write("c")])
    assert outcome == [Stored(True), Stored(True)]
    assert len(await store.timeline("b")) == 1
    await store.close()
    _assert_sound(tmp_path / "cart.db")


async def test_a_mark_that_cannot_be_known_may_be_repeated(tmp_path: Path, disk: FaultyDisk) -> None:
    """Changes that may be done twice report plain unavailability: their callers simply repeat them."""
    store = _store(tmp_path, disk)
    await store.write([write("a")])
    disk.failing_syncs = 1
    with pytest.raises(StoreUnavailable):
        await store.park("a", 1, "too large")
    await store.park("a", 1, "too large")
    assert await store.retry("a") == 1
    await store.close()
