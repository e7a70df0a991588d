"""What a rebuild and the read model's store tell each other, and what a rebuild tells people. Knows no business."""

from collections.abc import Mapping
from enum import StrEnum

import attrs

from ordering.application.failures import StalePosition
from ordering.application.messages import HeldRecord, ViewRow, ViewStats


@attrs.frozen
class GenerationsFound:
    """Which generations a store holds.

    ``building`` is one that a rebuild began and has not finished; ``leftovers`` are neither that nor the live one, and
    only wait to be removed. ``topics`` are those that the live generation was filled from.
    """

    live: int
    building: int | None
    leftovers: tuple[int, ...]
    topics: tuple[str, ...]


@attrs.frozen
class RowsPage:
    """Rows of one generation by ascending key, and its positions as of the same moment."""

    positions: Mapping[int, int]
    rows: tuple[ViewRow, ...]


@attrs.frozen
class HeldPage:
    """Held records of one generation by partition and offset, and its positions as of the same moment."""

    positions: Mapping[int, int]
    held: tuple[HeldRecord, ...]


@attrs.frozen
class Figures:
    """The figures of one generation, and its positions as of the same moment."""

    positions: Mapping[int, int]
    stats: ViewStats


def require_equal(live: Mapping[int, int], new: Mapping[int, int], floors: Mapping[int, int]) -> None:
    """What a flip asks for: raises StalePosition unless the new generation stands exactly where the live one does. Live
    positions below their floor count as standing there."""
    for partition in live.keys() | new.keys() | floors.keys():
        wanted, found = max(live.get(partition, 0), floors.get(partition, 0)), new.get(partition, 0)
        if wanted != found:
            raise StalePosition(f"partition {partition} is at {found} in the new generation, at {wanted} in the live")


# ---------------------------------------------------------------------------------------------- what people are told


class Phase(StrEnum):
    """What a rebuild is doing."""

    CLEARING = "removing what an earlier rebuild left"
    FILLING = "filling the new generation"
    COMPARING = "comparing it with the live one"
    FLIPPING = "exchanging them"
    DROPPING = "removing the generation that is not needed"


@attrs.frozen
class Progress:
    """How far a phase is: events read, rows compared or rows removed, of how many as far as that is known."""

    phase: Phase
    done: int
    total: int | None


class Kind(StrEnum):
    """How the live generation differs from what the log says."""

    MISSING = "missing"
    """The log has it, the live generation has not."""
    EXTRA = "extra"
    """The live generation has it, the log has not."""
    DIFFERENT = "different"


@attrs.frozen
class Difference:
    """One difference, found at equal positions of both generations.

    ``what`` is ``row``, ``dead letter`` or ``figure``; ``key`` names the aggregate (of a dead letter without a key its
    PARTITION/OFFSET, of a figure the figure). ``fields`` holds name, live value, rebuilt value.
    """

    what: str
    kind: Kind
    key: str
    fields: tuple[tuple[str, object, object], ...] = ()


@attrs.frozen
class RebuildReport:
    """What a rebuild did. ``resumed``: it went on with what an earlier one had filled.

    ``events`` were read by this run in ``seconds``. ``differences`` counts by (what, kind); ``held`` counts the rebuilt
    generation's held records by reason. ``flipped``: the rebuilt generation is the live one now. ``ahead``: events at
    the log's end that the live read model had not applied, so nobody has looked at them.
    """

    generation: int
    resumed: bool
    events: int
    seconds: float
    compared: int
    differences: Mapping[tuple[str, Kind], int]
    held: Mapping[str, int]
    flipped: bool
    partial: Mapping[int, int]
    """Partitions whose log begins later than at 0, and where; what was there before is not in the new generation."""
    ahead: int

    @property
    def is_equal(self) -> bool:
        """Whether nothing differed."""
        return not self.differences
