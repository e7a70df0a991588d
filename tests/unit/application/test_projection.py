"""The projection's rules, one by one, and that no interleaving changes where they lead."""

import random
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordering.application.messages import Changes, DecodedEvent, Lineage, Place, Record, Snapshot, Undecodable, ViewRow
from ordering.application.projection import project
from tests.unit.application.read_bench import TOPIC, StrictViews, decoded

Happening = DecodedEvent | Undecodable


class Folding:
    """A read model and one log of three partitions; each key lives in one of them."""

    def __init__(self) -> None:
        self.views = StrictViews()
        self.ends = [0, 0, 0]
        self.clock = 0

    def records(self, events: Sequence[Happening], partitions: Sequence[int] | None = None) -> list[Record]:
        """Records for these events, appended to the log."""
        records = []
        for partition in partitions or [0] * len(events):
            self.clock += 1
            records.append(Record(TOPIC, partition, self.ends[partition], self.clock, b"key", b"raw"))
            self.ends[partition] += 1
        return records

    def fold(self, *events: Happening) -> Changes:
        """Fold one batch and store it."""
        return self.apply(self.records(events), events)

    def apply(self, records: Sequence[Record], events: Sequence[Happening]) -> Changes:
        keys = {event.key for event in events if event.key is not None}
        rows = {key: self.views.rows[key] for key in keys if key in self.views.rows}
        changes = project(TOPIC, Snapshot(1, dict(self.views.at), rows), records, events, now=77)
        self.views.apply(changes)
        return changes

    def row(self, key: str = "a") -> ViewRow:
        return self.views.rows[key]

    @property
    def counters(self) -> dict[str, int]:
        return {str(name): count for name, count in self.views.counters.items()}

    @property
    def labels(self) -> dict[str, int]:
        return {label: count for label, count in self.views.labels.items() if count}

    def reasons(self) -> list[tuple[int, str]]:
        """Offset and reason of what is held."""
        return [(letter.record.offset, str(letter.reason)) for _, letter in sorted(self.views.letters_held.items())]


@pytest.fixture
def folding() -> Folding:
    """An empty read model."""
    return Folding()


def poison(key: str | None = "a", reason: str = "corrupt") -> Undecodable:
    """A record that is no event."""
    return Undecodable(reason, "cannot be read", key)


# ------------------------------------------------------------------ own events


def test_the_next_version_is_applied(folding: Folding) -> None:
    """State, version, event id and label are the newest; the first place stays the first."""
    folding.fold(decoded("a", 1))
    folding.fold(decoded("a", 2), decoded("a", 3))
    row = folding.row()
    assert (row.version, row.event_id, row.label, row.events_applied) == (3, "a-3", "s3", 3)
    assert row.encoded == decoded("a", 3).encoded
    assert row.first == Place(1, 0, 0)
    assert row.revision == 2
    assert folding.counters == {"applied": 3}
    assert folding.labels == {"s3": 1}
    assert folding.views.at == {0: 3}


def test_a_duplicate_is_dropped_and_counted(folding: Folding) -> None:
    """The same event again, the newest or an older one, changes nothing."""
    folding.fold(decoded("a", 1), decoded("a", 2))
    before = folding.row()
    folding.fold(decoded("a", 2), decoded("a", 1), decoded("a", 2))
    after = folding.row()
    assert after == before
    assert folding.counters == {"applied": 2, "duplicates": 3}
    assert folding.views.at == {0: 5}


def test_a_gap_is_applied_counted_and_remembered(folding: Folding) -> None:
    """Events carry the whole state, so a jump loses no state; that something was lost is visible."""
    folding.fold(decoded("a", 1), decoded("a", 4))
    assert folding.row().version == 4
    assert folding.row().missing == ((2, 3),)
    assert folding.row().events_applied == 2
    assert folding.counters == {"applied": 2, "gaps": 1}


def test_a_gap_before_the_first_event_is_a_gap_too(folding: Folding) -> None:
    """An order whose first seen version is 3 misses 1 and 2."""
    folding.fold(decoded("a", 3))
    assert folding.row().missing == ((1, 2),)
    assert folding.counters == {"applied": 1, "gaps": 1}


@pytest.mark.parametrize(
    ("late", "left"),
    [
        ([2], ((3, 5),)),
        ([5], ((2, 4),)),
        ([3], ((2, 2), (4, 5))),
        ([3, 4], ((2, 2), (5, 5))),
        ([2, 3, 4, 5], ()),
    ],
)
def test_an_event_that_a_gap_jumped_over_is_late_once(
    folding: Folding, late: list[int], left: tuple[tuple[int, int], ...]
) -> None:
    """It is dropped, counted as late, and no longer missing: the second time it is a duplicate."""
    folding.fold(decoded("a", 1), decoded("a", 6), decoded("a", 9))
    for version in late:
        folding.fold(decoded("a", version))
    assert folding.row().missing == (*left, (7, 8))
    assert folding.row().version == 9
    assert folding.counters == {"applied": 3, "gaps": 2, "late": len(late)}
    folding.fold(*(decoded("a", version) for version in late))
    assert folding.counters["duplicates"] == len(late)
    assert folding.row().events_applied == 3


def test_the_applied_version_under_another_id_is_a_conflict(folding: Folding) -> None:
    """A restored backup shows up here: the other event is kept, the order waits for people."""
    folding.fold(decoded("a", 1), decoded("a", 1, event_id="another"), decoded("a", 2))
    assert folding.row().version == 1
    assert folding.row().held == 2
    assert folding.reasons() == [(1, "version-conflict"), (2, "parked")]
    assert folding.counters == {"applied": 1}


# ------------------------------------------------------------------ poison


def test_poison_parks_its_own_key_and_no_other(folding: Folding) -> None:
    """Later records of the key wait behind it; the neighbours in the batch are applied."""
    folding.fold(decoded("a", 1), poison("a"), decoded("b", 1), decoded("a", 2), poison("a"), decoded("b", 2))
    assert folding.row("a").version == 1
    assert folding.row("a").held == 3
    assert folding.row("b").version == 2
    assert folding.reasons() == [(1, "corrupt"), (3, "parked"), (4, "corrupt")]
    assert folding.views.at == {0: 6}


def test_a_key_parked_in_an_earlier_batch_stays_parked(folding: Folding) -> None:
    """Parking is in the row, not in a batch's memory."""
    folding.fold(poison("a"))
    folding.fold(decoded("a", 1))
    assert folding.reasons() == [(0, "corrupt"), (1, "parked")]
    assert folding.row().held == 2


def test_a_key_known_only_by_poison_has_a_place_and_no_state(folding: Folding) -> None:
    """It is listed by its key from its first record on, and counted nowhere."""
    folding.fold(poison("a"))
    row = folding.row()
    assert (row.version, row.encoded, row.events_applied, row.first) == (0, None, 0, Place(1, 0, 0))
    assert folding.labels == {}
    assert folding.counters == {}


def test_poison_without_a_readable_key_blocks_nobody(folding: Folding) -> None:
    """It is kept with its place, and that is all."""
    folding.fold(poison(None, "bad-key"), decoded("a", 1))
    assert folding.row().version == 1
    assert folding.reasons() == [(0, "bad-key")]
    assert set(folding.views.rows) == {"a"}


# ------------------------------------------------------------------ inherited records


def test_inherited_records_count_their_changes_of_state(folding: Folding) -> None:
    """They carry no version: each other state is one more, the same state again is a duplicate."""
    folding.fold(decoded("a", None, body="x"), decoded("a", None, body="x"), decoded("a", None, body="y"))
    assert (folding.row().version, folding.row().lineage) == (2, Lineage.INHERITED)
    assert folding.counters == {"applied": 2, "duplicates": 1}


@pytest.mark.parametrize("version", [1, 2, 3, 7])
def test_the_first_own_event_takes_a_key_over_whatever_its_version(folding: Folding, version: int) -> None:
    """From then on inherited records of the key are ignored."""
    folding.fold(decoded("a", None, body="x"), decoded("a", None, body="y"), decoded("a", None, body="z"))
    folding.fold(decoded("a", version))
    folding.fold(decoded("a", None, body="w"))
    row = folding.row()
    assert (row.version, row.lineage, row.missing) == (version, Lineage.OWN, ())
    assert row.encoded == decoded("a", version).encoded
    assert row.events_applied == 4
    assert folding.labels == {f"s{version}": 1}
    assert folding.counters == {"applied": 4, "duplicates": 1}


def test_the_end_state_does_not_depend_on_how_inherited_and_own_records_mix() -> None:
    """Two histories of one key, merged in any way: the same state in the end."""
    own, inherited = [decoded("a", 1), decoded("a", 2)], [decoded("a", None, body="x"), decoded("a", None, body="y")]
    ends = set()
    for seed in range(50):
        rng, queues, folding = random.Random(seed), [list(own), list(inherited)], Folding()
        while any(queues):
            queue = rng.choice([queue for queue in queues if queue])
            folding.fold(queue.pop(0))
        ends.add((folding.row().version, folding.row().event_id, folding.row().encoded, folding.row().missing))
    assert len(ends) == 1


# ------------------------------------------------------------------ positions


def test_records_before_the_position_are_ignored(folding: Folding) -> None:
    """A batch read again after a rewind counts nothing twice, not even duplicates."""
    events = [decoded("a", 1), decoded("a", 2), decoded("a", 3)]
    records = folding.records(events)
    folding.apply(records[:2], events[:2])
    changes = folding.apply(records, events)
    assert changes.positions == {0: (2, 3)}
    assert folding.counters == {"applied": 3}


def test_positions_move_per_partition_from_the_expected_to_the_next_offset(folding: Folding) -> None:
    """Each partition has its own compare-and-set; one without a record moves nothing."""
    events = [decoded("a", 1), decoded("b", 1), decoded("a", 2)]
    changes = folding.apply(folding.records(events, [0, 2, 0]), events)
    assert changes.positions == {0: (0, 2), 2: (0, 1)}


def test_offsets_may_have_holes(folding: Folding) -> None:
    """A broker leaves offsets out (transaction markers, compaction): the next offset follows the record's own."""
    record = attrs.evolve(folding.records([decoded("a", 1)])[0], offset=41)
    assert folding.apply([record], [decoded("a", 1)]).positions == {0: (0, 42)}


def test_a_batch_without_effect_on_a_row_does_not_touch_it(folding: Folding) -> None:
    """A plain duplicate writes no row."""
    folding.fold(decoded("a", 1))
    assert folding.fold(decoded("a", 1)).rows == ()


# ------------------------------------------------------------------ any interleaving


def _history(rng: random.Random, keys: int, longest: int) -> dict[str, list[DecodedEvent]]:
    """For each key its versions in order, with duplicates of what came before mixed in."""
    history = {}
    for number in range(keys):
        events: list[DecodedEvent] = []
        for version in range(1, rng.randint(1, longest) + 1):
            events.append(decoded(f"k{number}", version))
            while rng.random() < 0.4:
                events.append(decoded(f"k{number}", rng.randint(1, version)))
        history[f"k{number}"] = events
    return history


def _play(history: dict[str, list[DecodedEvent]], rng: random.Random) -> Folding:
    """Merge the keys' events in a random order, cut into random batches, sometimes reading a batch twice."""
    queues = {key: list(events) for key, events in history.items()}
    merged: list[DecodedEvent] = []
    while queues:
        key = rng.choice(sorted(queues))
        merged.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    folding = Folding()
    records = folding.records(merged, [int(event.key[1:]) % 3 for event in merged])
    at = 0
    while at < len(merged):
        size = rng.randint(1, 12)
        back = rng.randint(0, min(at, 5)) if rng.random() < 0.3 else 0
        folding.apply(records[at - back : at + size], merged[at - back : at + size])
        at += size
    return folding


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=100)
def test_no_interleaving_and_no_batch_boundary_changes_the_rows(seed: int, keys: int, longest: int) -> None:
    """Two shuffles of the same histories give the same states, each event applied exactly once."""
    history = _history(random.Random(seed), keys, longest)
    one, other = _play(history, random.Random(seed + 1)), _play(history, random.Random(seed + 2))
    for key, events in history.items():
        newest = max(events, key=lambda event: event.version or 0)
        for folding in (one, other):
            row = folding.row(key)
            assert (row.version, row.event_id, row.encoded) == (newest.version, newest.event_id, newest.encoded)
            assert row.events_applied == row.version
            assert row.missing == ()
    total = sum(len(events) for events in history.values())
    for folding in (one, other):
        assert sum(folding.counters.values()) == total
        assert sum(folding.labels.values()) == keys


def test_thousands_of_shuffles_with_gaps_and_late_events_are_consistent() -> None:
    """Whatever the order, the newest version wins and every version is applied, missing, or counted."""
    for seed in range(2000):
        rng, folding = random.Random(seed), Folding()
        versions = [rng.randint(1, 8) for _ in range(rng.randint(1, 12))]
        folding.fold(*(decoded("a", version) for version in versions))
        row, top = folding.row(), max(versions)
        missing = {version for first, last in row.missing for version in range(first, last + 1)}
        assert row.version == top, seed
        assert missing == set(range(1, top)) - set(versions), seed
        late = folding.counters.get("late", 0)
        assert row.events_applied + late == len(set(versions)), seed
        assert row.events_applied + late + folding.counters.get("duplicates", 0) == len(versions), seed
