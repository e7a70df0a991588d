"""What a read model must hold that was filled from the log: the rules of DESIGN section 6 once more, in numbers."""

from collections.abc import Collection, Mapping, Sequence, Set

import attrs

from ordering.application.messages import DecodedEvent, Record, Undecodable

Place = tuple[int, int]
"""Partition and offset."""


@attrs.define
class Folded:
    """One order: the version and event it stands at, how many events were applied, which versions are missing, and
    where it appeared first (time of the record, partition, offset)."""

    first: tuple[int, int, int] = (0, 0, 0)
    version: int = 0
    event_id: str = ""
    label: str = ""
    applied: int = 0
    missing: set[int] = attrs.Factory(set)


@attrs.define
class Model:
    """The read model in a few numbers."""

    orders: dict[str, Folded] = attrs.Factory(dict)
    duplicates: int = 0
    gaps: int = 0
    late: int = 0

    @property
    def applied(self) -> int:
        """How many events were applied."""
        return sum(order.applied for order in self.orders.values())


def folded(
    partitions: Sequence[Sequence[tuple[Record, DecodedEvent | Undecodable]]],
    floors: Mapping[int, int],
    discarded: Set[Place],
    gone: Collection[Place] = (),
) -> Model:
    """The log from these offsets on, once everything that could be released was, and all else was discarded;
    ``gone`` is what was removed before anybody could read it."""
    model = Model()
    for partition, records in enumerate(partitions):
        for record, event in records[floors.get(partition, 0) :]:
            if (partition, record.offset) in gone:
                continue
            if event.key is not None:
                place = record.timestamp, partition, record.offset
                model.orders.setdefault(event.key, Folded(place))  # a key known by a dead letter only is listed, too
            if isinstance(event, DecodedEvent) and (partition, record.offset) not in discarded:
                _add(model, event)
    return model


def _add(model: Model, event: DecodedEvent) -> None:
    order = model.orders[event.key]
    assert event.version is not None, "the world writes no inherited records"
    if event.version > order.version:
        jumped = range(order.version + 1, event.version)
        order.missing.update(jumped)
        model.gaps += bool(jumped)
        order.version, order.event_id, order.label = event.version, event.event_id, event.label
        order.applied += 1
    elif event.version == order.version and event.event_id != order.event_id:
        raise AssertionError(f"I8: an impostor of {event.key} {event.version} was not discarded")
    elif event.version in order.missing:
        order.missing.discard(event.version)
        model.late += 1
    else:
        model.duplicates += 1
