"""What `ordering doctor` says of order store, read model and log in files: it looks, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ordering.adapters.sqlite.database import open_writer
from ordering.adapters.sqlite.log import SqlitePublisher, log_path
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.adapters.sqlite.views import SqliteViews
from ordering.application.errors import StoreUnavailable
from ordering.application.failures import Refused
from ordering.application.messages import DeadReason, LogIdentity, OutgoingRecord
from ordering.entrypoints.doctor import stores
from ordering.entrypoints.doctor.findings import Check, Finding, Level, examine
from ordering.entrypoints.settings import Mode, Settings
from tests.contract.order_store.samples import write
from tests.contract.read_model.samples import changes, letter, row

TOPIC = "order-events"
VIEWS_1 = Path(__file__).parents[2] / "integration" / "views_1.sql"
"""The read model's schema of the first release."""


def soon() -> int:
    """The time of events that have not waited, however slow the machine is."""
    return int((time.time() + 3_600) * 1_000_000)


def embedded(folder: Path, **others: object) -> Settings:
    """Settings of the embedded mode on a folder."""
    return Settings(mode=Mode.EMBEDDED, data_dir=folder, **others)  # type: ignore[arg-type]


def told(findings: Sequence[Finding]) -> dict[tuple[str, str], str]:
    """Messages by check and level."""
    return {(finding.check, str(finding.level)): finding.message for finding in findings}


async def filled(folder: Path, at: int = soon()) -> None:
    """The files of an order service that has not seen the two events of the log, and of a cart service."""
    store = SqliteOrderStore.open(folder / "cart.db")
    await store.write([write("A", at=at), write("B", at=at)])
    await store.partitions(TOPIC, 3)
    await store.close()
    log = SqlitePublisher.open(folder, TOPIC, 3)
    records = [OutgoingRecord(TOPIC, 0, key, b"value", (), at // 1_000) for key in (b"A", b"B")]
    await log.publish(records)
    await log.close()
    views = SqliteViews.open(folder / "view.db")
    await views.close()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with what is in it."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_files_that_are_not_there_are_a_warning(tmp_path: Path) -> None:
    """Right before the first start that is as it should be."""
    settings = embedded(tmp_path)
    looks = {"order store": stores.order_store, "read model": stores.read_model, "event log": stores.event_log}
    for name, look in {**looks, "history": stores.history, "lag": stores.lag}.items():
        (finding,) = examine([Check(name, lambda look=look: look(settings))], 20)  # type: ignore[misc]
        assert finding.level is Level.WARN
        assert "service has not run on this data folder yet" in finding.message


async def test_a_file_that_was_there_is_a_failure(tmp_path: Path) -> None:
    """Nobody is told to go on as before a first start when the order store, or the log, is lost."""
    await filled(tmp_path)
    looks = {"cart.db": stores.order_store, log_path(tmp_path, TOPIC).name: stores.event_log}
    for name, look in looks.items():
        (tmp_path / name).rename(tmp_path / "away")
        (finding,) = examine([Check(name, lambda look=look: look(embedded(tmp_path)))], 20)  # type: ignore[misc]
        (tmp_path / "away").rename(tmp_path / name)
        assert finding.level is Level.FAIL
        assert f"there is no {tmp_path / name}, but there was one" in finding.message
        assert "docs/operations.md" in finding.message


async def test_looking_changes_no_file_and_leaves_none_behind(tmp_path: Path) -> None:
    """Not even the WAL and its index, which SQLite makes for every reader."""
    await filled(tmp_path)
    before = contents(tmp_path)
    for look in (stores.order_store, stores.history, stores.read_model, stores.event_log, stores.lag):
        assert await look(embedded(tmp_path))
    assert contents(tmp_path) == before


async def test_looking_sees_what_a_running_service_has_just_stored(tmp_path: Path) -> None:
    """Beside its open files."""
    await filled(tmp_path)
    store = SqliteOrderStore.open(tmp_path / "cart.db")
    try:
        await store.park("A", 1, "because")
        found = told(await stores.order_store(embedded(tmp_path)))
    finally:
        await store.close()
    assert found["outbox", "warn"] == "parked orders, whose events are not published: 1"


async def test_a_store_opened_for_looking_takes_nothing(tmp_path: Path) -> None:
    """Whatever asks it to."""
    await filled(tmp_path)
    store = SqliteOrderStore.look(tmp_path / "cart.db")
    for change in (store.write([write("C")]), store.park("A", 1, "x"), store.mark_published([("A", 1)])):
        with pytest.raises(StoreUnavailable):
            await change
    await store.close()


@pytest.mark.parametrize(("age", "level"), [(0, Level.OK), (7_200, Level.WARN)])
async def test_events_that_wait_long_to_be_published_are_a_warning(age: int, level: Level, tmp_path: Path) -> None:
    """With their number and the age of the oldest."""
    await filled(tmp_path, soon() - age * 1_000_000)
    _, outbox = await stores.order_store(embedded(tmp_path))
    assert (outbox.check, outbox.level) == ("outbox", level)
    assert ": 2" in outbox.message


@pytest.mark.parametrize(("age", "level"), [(0, Level.OK), (7_200, Level.WARN)])
async def test_events_that_wait_long_to_be_applied_are_a_warning(age: int, level: Level, tmp_path: Path) -> None:
    """With their number and the age of the oldest."""
    await filled(tmp_path, soon() - age * 1_000_000)
    (lag,) = await stores.lag(embedded(tmp_path))
    assert lag.level is level
    assert ": 2" in lag.message


async def test_a_read_model_that_has_everything_says_so(tmp_path: Path) -> None:
    """And one that has more than the log fails: an older log was restored."""
    await filled(tmp_path)
    views = SqliteViews.open(tmp_path / "view.db")
    await views.commit(changes(positions={0: (0, 2)}))
    assert [finding.level for finding in await stores.lag(embedded(tmp_path))] == [Level.OK]
    await views.commit(changes(positions={0: (2, 3)}))
    await views.close()
    (beyond,) = await stores.lag(embedded(tmp_path))
    assert beyond.level is Level.FAIL
    assert "is at 3 of partition 0, and the log ends at 2" in beyond.message


async def test_a_read_model_of_another_log_is_a_failure(tmp_path: Path) -> None:
    """The topic was made anew, or the folder is a mix of two."""
    await filled(tmp_path)
    views = SqliteViews.open(tmp_path / "view.db")
    await views.record_identity(TOPIC, LogIdentity("another", "log"))
    await views.close()
    (finding,) = await stores.lag(embedded(tmp_path))
    assert finding.level is Level.FAIL
    assert "another log" in finding.message


async def test_dead_letters_are_a_warning_and_two_histories_are_a_failure(tmp_path: Path) -> None:
    """Reasons are counted."""
    views = SqliteViews.open(tmp_path / "view.db")
    held = (letter("A", 0), letter("A", 1, DeadReason.PARKED), letter("B", 2))
    await views.commit(changes(row("A", held=2), row("B", at=1, held=1), held=held, positions={0: (0, 3)}))
    found = told(await stores.read_model(embedded(tmp_path)))
    assert found["dead letters", "warn"] == "records held back: 2 (corrupt 2), orders that wait for them: 2"
    conflict = letter("C", 3, DeadReason.VERSION_CONFLICT)
    counted = {"gaps": 1, "late": 2}
    await views.commit(changes(row("C", at=2, held=1), held=(conflict,), positions={0: (3, 4)}, counters=counted))
    await views.close()
    after = await stores.read_model(embedded(tmp_path))
    assert "version-conflict 1" in told(after)["dead letters", "fail"]
    missed = [finding.message for finding in after if finding.check == "read model" and finding.level is Level.WARN]
    assert missed == ["gaps before events of their order: 1", "events after later ones of their order: 2"]


def mark(file: Path, version: int) -> None:
    """Make it a file of another schema version."""
    content = bytearray(file.read_bytes())
    content[60:64] = version.to_bytes(4, "big")  # SQLite's user_version
    file.write_bytes(content)


@pytest.mark.parametrize("version", [1, 999])
async def test_files_of_other_releases_are_told_as_the_start_tells_them(version: int, tmp_path: Path) -> None:
    """A read model that the start converts works: a warning that says so. What a newer release wrote does not, be it a
    read model or a log. Only the message says what to do, and the files stay as they are."""
    await filled(tmp_path)
    settings, log, view = embedded(tmp_path), log_path(tmp_path, TOPIC), tmp_path / "view.db"
    if version == 1:
        view.unlink()
        await open_writer(view, VIEWS_1.read_text(), 1).close()
    else:
        mark(view, version)
        mark(log, version)
    before = contents(tmp_path)
    model, events = examine(
        [
            Check("read model", lambda: stores.read_model(settings), "restore it"),
            Check("event log", lambda: stores.event_log(settings), "restore it"),
        ],
        20,
    )
    assert contents(tmp_path) == before
    assert "restore it" not in (model.hint, events.hint)
    if version == 1:
        assert (model.level, events.level) == (Level.WARN, Level.OK)
        with pytest.raises(Refused) as told_to_tools:
            SqliteViews.open(view, exclusive=False)
        assert model.message == str(told_to_tools.value)
        assert "start the service of this release once, it converts the file" in model.message
        await SqliteViews.open(view).close()
        assert (await stores.read_model(settings))[0].level is Level.OK
    else:
        with pytest.raises(Refused) as of_the_model:
            SqliteViews.open(view)
        with pytest.raises(Refused) as of_the_log:
            SqlitePublisher.open(tmp_path, TOPIC, 3)
        assert [(found.level, found.message) for found in (model, events)] == [
            (Level.FAIL, str(of_the_model.value)),
            (Level.FAIL, str(of_the_log.value)),
        ]


@pytest.mark.parametrize("damage", ["newer", "older", "garbage"])
async def test_a_file_that_cannot_be_used_fails_with_its_own_reason(damage: str, tmp_path: Path) -> None:
    """The lines of the others stay."""
    await filled(tmp_path)
    file = tmp_path / "cart.db"
    if damage == "garbage":
        file.write_bytes(b"x" * 4_096 + file.read_bytes()[4_096:])
    else:
        mark(file, 999 if damage == "newer" else 1)
    settings = embedded(tmp_path)
    found = examine(
        [Check("order store", lambda: stores.order_store(settings)), Check("lag", lambda: stores.lag(settings))], 20
    )
    reasons = {"newer": "use a newer release", "older": "use the release that wrote it", "garbage": "not a database"}
    assert found[0].level is Level.FAIL
    assert reasons[damage] in found[0].message
    assert found[1].level is Level.OK
