"""How far a long command is: a bar where people look at a terminal, else a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from ordering.application.generations import Phase, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Told(Protocol):
    """Whom a long command tells about itself."""

    def __call__(self, one: Progress) -> None:
        """How far it is; as often as one likes."""

    def waits(self, reason: str, seconds: float) -> None:
        """Why it is no further, and for how many seconds it tries again."""


LINE_SECONDS: Final = 5.0
_BAR_WIDTH: Final = 12
"""With one word for the phase, figures up to a thousand million and the time left it fits into 80 columns."""
_UNITS: Final = {Phase.FILLING: "events", Phase.COMPARING: "orders", Phase.CLEARING: "rows", Phase.DROPPING: "rows"}


@contextmanager
def progress(stream: TextIO, clock: Callable[[], float] = time.monotonic) -> Iterator[Told]:
    """Something to call as often as one likes; ``clock`` tells seconds."""
    if stream.isatty():
        with _bars(stream, clock) as told:
            yield told
    else:
        lines = Lines(stream, clock)
        yield lines
        lines.end()


@contextmanager
def _bars(stream: TextIO, clock: Callable[[], float]) -> Iterator[Told]:
    from rich.console import Console  # noqa: PLC0415 -- slow to load, and only terminals need it
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    phase, told_so_far = TextColumn("{task.description:<10}"), TextColumn("{task.fields[told]}")
    columns = (phase, BarColumn(_BAR_WIDTH), told_so_far, TimeRemainingColumn())
    # What is printed meanwhile goes above the bars, but only where it would have gone to a terminal anyway.
    both = sys.stdout.isatty()
    with Bars(*columns, console=Console(file=stream), redirect_stdout=both, get_time=clock) as bars:
        yield _Terminal(bars, clock)


class _Terminal:
    """A bar for each phase; what else is to be told goes above them."""

    def __init__(self, bars: "RichProgress", clock: Callable[[], float]) -> None:
        self._bars, self._clock = bars, clock
        self._tasks: dict[Phase, TaskID] = {}
        self._meters: dict[Phase, Meter] = {}

    def __call__(self, one: Progress) -> None:
        if one.phase not in self._tasks:
            self._tasks[one.phase] = self._bars.add_task(one.phase.split()[0], told="")
            self._meters[one.phase] = Meter(self._clock)
        text = self._meters[one.phase].text(one, with_end=False)
        self._bars.update(self._tasks[one.phase], completed=one.done, total=one.total, told=text)

    def waits(self, reason: str, seconds: float) -> None:
        self._bars.console.print(_waiting(reason, seconds), markup=False, highlight=False)


class Meter:
    """Counts what a phase does in a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()

    def text(self, one: Progress, *, with_end: bool) -> str:
        """Done, of how many, how fast, and how long it will take."""
        unit = _UNITS.get(one.phase)
        if unit is None:
            return ""
        took = self._clock() - self._began
        rate = one.done / took if took > 0 else 0.0
        of = f" of {one.total:,}" if one.total is not None else ""
        left = ""
        if with_end and one.total and rate:
            left = f", {max(0.0, one.total - one.done) / rate:,.0f} s left"
        return f"{one.done:,}{of} {unit}, {rate:,.0f}/s{left}"


class Lines:
    """One line when a phase begins, one every few seconds, one when it has ended."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream, self._clock = stream, clock
        self._last: Progress | None = None
        self._meter = Meter(clock)
        self._next = 0.0

    def __call__(self, one: Progress) -> None:
        if self._last is None or self._last.phase is not one.phase:
            self.end()
            self._meter = Meter(self._clock)
            self._next = self._clock() + LINE_SECONDS
        elif self._clock() >= self._next:
            self._next = self._clock() + LINE_SECONDS
            self._print(one, with_end=True)
        self._last = one

    def waits(self, reason: str, seconds: float) -> None:
        print(_waiting(reason, seconds), file=self._stream, flush=True)

    def end(self) -> None:
        """The last word on the phase that was under way."""
        if self._last is not None:
            self._print(self._last, with_end=False)
        self._last = None

    def _print(self, one: Progress, *, with_end: bool) -> None:
        told = self._meter.text(one, with_end=with_end)
        print(f"{one.phase}{': ' if told else ''}{told}", file=self._stream, flush=True)


def _waiting(reason: str, seconds: float) -> str:
    return f"waiting: {reason} (it is asked again for {seconds:.0f} s)"
