"""Whether two generations hold the same, page by page, each page at equal positions of both.

The live generation moves on meanwhile, so there is no moment at which everything could be compared. But a page of it
and its positions are read as of one moment; the rebuilt one is brought to exactly these positions, which nobody else
moves, and then the two pages must agree. What differs is looked at once more, apart, after the rebuilt generation was
given what people and the registry have decided about held records meanwhile.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import attrs

from ordering.application.generations import Difference, Figures, HeldPage, Kind, RowsPage
from ordering.application.messages import HeldRecord, Snapshot, ViewRow, ViewStats
from ordering.application.patience import Patience
from ordering.application.ports import Generations, ProjectionStore

PAGE: Final = 1_000
LOOKS: Final = 10
"""How often something is looked at again that the live generation keeps changing."""

ROW_FIELDS: Final = (
    "version",
    "event_id",
    "label",
    "encoded",
    "lineage",
    "events_applied",
    "held",
    "missing",
    "first",
)
"""What makes a row: all but ``revision``, which counts transactions."""

HELD_FIELDS: Final = ("key", "reason", "record")
"""What makes a held record; its ``detail`` is for people, and ``held_at`` is when this generation came to it."""

Level = Callable[[Mapping[int, int]], Awaitable[None]]
Settle = Callable[[str | None], Awaitable[None]]
SettleAll = Callable[[], Awaitable[None]]


@attrs.frozen
class Pair:
    """The two generations, and how the rebuilt one is brought to positions (``level``) and given what was decided about
    a key's held records (``settle``), or about all of them (``settle_all``)."""

    live: int
    rebuilt: int
    level: Level
    settle: Settle
    settle_all: SettleAll


class Comparison:
    """Compares; ``found`` hears of every difference as it is found, so that nothing grows with their number."""

    def __init__(
        self,
        generations: Generations,
        pair: Pair,
        topic: str,
        found: Callable[[Difference], None],
        compared: Callable[[int], None],
        patience: Patience,
        page: int = PAGE,
    ) -> None:
        self._generations, self._pair, self._topic = generations, pair, topic
        self._found, self._compared, self._ask, self._page = found, compared, patience, page
        self._rebuilt = generations.store(pair.rebuilt)
        self._live = generations.store(pair.live)
        self.rows = 0
        self.held: Counter[str] = Counter()
        """The rebuilt generation's held records by reason."""
        self.differences: Counter[tuple[str, Kind]] = Counter()

    async def __call__(self) -> None:
        """Rows, held records, figures. Raises StoreUnavailable, and what ``level`` raises."""
        await self._compare_rows()
        await self._compare_held()
        await self._compare_figures()

    def _tell(self, difference: Difference) -> None:
        self.differences[difference.what, difference.kind] += 1
        self._found(difference)

    # ------------------------------------------------------------------ rows

    async def _compare_rows(self) -> None:
        after: str | None = None
        while True:
            live = await self._rows_of(self._pair.live, after)
            await self._pair.level(live.positions)
            rebuilt = await self._rows_of(self._pair.rebuilt, after)
            ends = [page.rows[-1].key for page in (live, rebuilt) if len(page.rows) == self._page]
            theirs, ours = _by_key(live.rows, ends), _by_key(rebuilt.rows, ends)
            suspects = [key for key in sorted(theirs | ours) if _row_fields(theirs.get(key), ours.get(key))]
            for key in suspects:
                await self._look_again(key)
            self.rows += len(theirs | ours)
            self._compared(self.rows)
            if not ends:
                return
            after = min(ends)

    async def _look_again(self, key: str) -> None:
        """Until the live row stays the same while the rebuilt one is made ready: a release moves it, not a position."""
        live = await self._row_of(self._live, key)
        looks = 0
        while True:
            looks += 1
            theirs = live.rows.get(key)
            await self._pair.level(live.positions)
            await self._pair.settle(key)
            ours = (await self._row_of(self._rebuilt, key)).rows.get(key)
            fields = _row_fields(theirs, ours)
            if not fields:
                return
            live = await self._row_of(self._live, key)
            if live.rows.get(key) == theirs or looks == LOOKS:
                break
        self._tell(Difference("row", _kind(theirs, ours), key, fields))

    # ------------------------------------------------------------------ held records

    async def _compare_held(self) -> None:
        after = (-1, -1)
        while True:
            live = await self._held_of(self._pair.live, after, self._page)
            await self._pair.level(live.positions)
            rebuilt = await self._held_of(self._pair.rebuilt, after, self._page)
            ends = [page.held[-1].place for page in (live, rebuilt) if len(page.held) == self._page]
            theirs, ours = _by_place(live.held, ends), _by_place(rebuilt.held, ends)
            self.held.update(str(letter.reason) for letter in ours.values())
            for place in sorted(theirs | ours):
                if _held_fields(theirs.get(place), ours.get(place)):
                    await self._look_at_held_again(place, theirs.get(place) or ours[place])
            if not ends:
                return
            after = min(ends)

    async def _look_at_held_again(self, place: tuple[int, int], letter: HeldRecord) -> None:
        """Until nothing of its key was decided meanwhile in the live generation, which the rebuilt one then follows."""
        row, looks = await self._live_row(letter.key), 0
        while True:
            looks += 1
            live = await self._held_of(self._pair.live, _before(place), 1)
            await self._pair.level(live.positions)
            await self._pair.settle(letter.key)
            rebuilt = await self._held_of(self._pair.rebuilt, _before(place), 1)
            theirs, ours = _by_place(live.held, [place]).get(place), _by_place(rebuilt.held, [place]).get(place)
            fields = _held_fields(theirs, ours)
            if [name for name, *_ in fields] == ["reason"] and letter.key is not None:
                # Of those behind the first one the reason is what was known when they were read.
                firsts = {await self._first_held(store, letter.key) for store in (self._live, self._rebuilt)}
                fields = fields if place in firsts else ()
            if not fields:
                return
            before, row = row, await self._live_row(letter.key)
            still = _by_place((await self._held_of(self._pair.live, _before(place), 1)).held, [place]).get(place)
            if (row == before and still == theirs) or looks == LOOKS:
                break
        key = f"{place[0]}/{place[1]}" if letter.key is None else letter.key
        self._tell(Difference("dead letter", _kind(theirs, ours), key, fields))

    async def _live_row(self, key: str | None) -> ViewRow | None:
        """Every change of what is held of a key shows in its row."""
        return None if key is None else (await self._row_of(self._live, key)).rows.get(key)

    # ------------------------------------------------------------------ figures

    async def _compare_figures(self) -> None:
        """What was decided after its rows and held records were compared shows in the figures only."""
        live = await self._figures_of(self._pair.live)
        looks = 0
        while True:
            looks += 1
            theirs = _flat(live.stats)
            await self._pair.level(live.positions)
            if looks > 1:
                await self._pair.settle_all()
            ours = _flat((await self._figures_of(self._pair.rebuilt)).stats)
            if theirs == ours:
                return
            live = await self._figures_of(self._pair.live)
            if looks > 1 and (_flat(live.stats) == theirs or looks == LOOKS):
                break
        for name in sorted(theirs.keys() | ours.keys()):
            one, other = theirs.get(name, 0), ours.get(name, 0)
            if one != other:
                self._tell(Difference("figure", Kind.DIFFERENT, name, ((name, one, other),)))

    # ------------------------------------------------------------------ asking patiently

    async def _rows_of(self, generation: int, after: str | None) -> RowsPage:
        return await self._ask(lambda: self._generations.rows(generation, self._topic, after, self._page))

    async def _row_of(self, store: ProjectionStore, key: str) -> Snapshot:
        return await self._ask(lambda: store.load(self._topic, [key]))

    async def _held_of(self, generation: int, after: tuple[int, int], limit: int) -> HeldPage:
        return await self._ask(lambda: self._generations.letters(generation, self._topic, after, limit))

    async def _first_held(self, store: ProjectionStore, key: str) -> tuple[int, int] | None:
        held = await self._ask(lambda: store.held(key))
        return held[0].place if held else None

    async def _figures_of(self, generation: int) -> Figures:
        return await self._ask(lambda: self._generations.figures(generation, self._topic))


# ---------------------------------------------------------------------------------------------- one against the other


def _kind(live: object, rebuilt: object) -> Kind:
    if live is None:
        return Kind.MISSING
    return Kind.EXTRA if rebuilt is None else Kind.DIFFERENT


def _row_fields(live: ViewRow | None, rebuilt: ViewRow | None) -> tuple[tuple[str, object, object], ...]:
    return _fields(ROW_FIELDS, live, rebuilt)


def _held_fields(live: HeldRecord | None, rebuilt: HeldRecord | None) -> tuple[tuple[str, object, object], ...]:
    return _fields(HELD_FIELDS, live, rebuilt)


def _fields(names: Sequence[str], live: object, rebuilt: object) -> tuple[tuple[str, object, object], ...]:
    """Name, live value, rebuilt value of what differs; all of it where one side has nothing."""
    both = [(name, getattr(live, name, None), getattr(rebuilt, name, None)) for name in names]
    return tuple(one for one in both if one[1] != one[2])


def _by_key(rows: Sequence[ViewRow], ends: Sequence[str]) -> dict[str, ViewRow]:
    """Those up to where both pages reach."""
    return {row.key: row for row in rows if not ends or row.key <= min(ends)}


def _by_place(held: Sequence[HeldRecord], ends: Sequence[tuple[int, int]]) -> dict[tuple[int, int], HeldRecord]:
    return {letter.place: letter for letter in held if not ends or letter.place <= min(ends)}


def _before(place: tuple[int, int]) -> tuple[int, int]:
    return place[0], place[1] - 1


def _flat(stats: ViewStats) -> dict[str, int]:
    """Those that are kept count of; held records are counted when they are asked for."""
    found = {"total": stats.total}
    found |= {f"label {name}": count for name, count in stats.by_label.items()}
    return found | {f"counter {name}": count for name, count in stats.counters.items()}
