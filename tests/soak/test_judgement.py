"""What counts as growth, told from samples that are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.soak import mutants
from tests.soak.judgement import Run
from tests.soak.sampling import OUTBOX_MIB, OUTBOX_ROWS, Sample, Vitals

SECONDS, RATE = 600.0, 1_000.0
SOUND = Vitals(rss=120.0, anonymous=80.0, descriptors=30, connections=80, threads=8)

Process = Callable[[float], Vitals]


def run_of(process: Process, stock: Callable[[float], Mapping[str, float]] = lambda _: {}) -> Run:
    """Ten minutes of one process, looked at every 5 s."""
    times = [number * 5.0 for number in range(120)]
    return Run([Sample(at, {"cart": process(at)}, stock(at)) for at in times], SECONDS, RATE)


def broken(run: Run) -> list[str]:
    """The limits that do not hold."""
    return [str(limit) for limit in run.limits() if not limit.holds()]


def grown(minute: float, **more: float) -> Process:
    """Sound before a minute, and from then on so much more of something."""

    def at(seconds: float) -> Vitals:
        after = seconds >= minute * 60
        held = {name: getattr(SOUND, name) + (more.get(name, 0) if after else 0) for name in Vitals.__annotations__}
        return Vitals(**held)

    return at


@pytest.mark.parametrize(
    "process",
    [
        grown(0),
        grown(2.5, anonymous=100.0, descriptors=20, threads=9),
        grown(5, anonymous=7.9, descriptors=4, threads=2),
        grown(5, rss=100.0),
        grown(5, connections=50),
    ],
    ids=["flat", "grown before minute 3", "a little", "backed by files", "clients"],
)
def test_what_is_there_by_minute_three_or_is_backed_by_files_is_no_growth(process: Process) -> None:
    """Caches fill and pools get their size; libraries and the WAL's index are the kernel's business, and how many
    connections there are is the clients'."""
    assert not broken(run_of(process))


@pytest.mark.parametrize(
    ("process", "told"),
    [
        (grown(4, anonymous=9.0), "cart: anonymous memory at the end over that of 3:00 9.0 MiB (at most 8 MiB)"),
        (grown(9, descriptors=5), "cart: descriptors at the end over that of 3:00 5 (at most 4)"),
        (grown(3, threads=3), "cart: threads at the end over that of 3:00 3 (at most 2)"),
    ],
    ids=["memory", "descriptors", "threads"],
)
def test_what_comes_after_minute_three_and_stays_is_growth(process: Process, told: str) -> None:
    """The limit says of what, how much, and since when."""
    assert broken(run_of(process)) == [told]


def test_a_short_run_is_measured_by_its_third_tenth() -> None:
    """Of a minute, that is until second 18."""
    samples = [Sample(float(at), {"cart": grown(0.4, anonymous=9.0)(at)}, {}) for at in range(60)]
    assert broken(Run(samples, 60.0, RATE)) == [
        "cart: anonymous memory at the end over that of 0:18 9.0 MiB (at most 8 MiB)"
    ]


@pytest.mark.parametrize("silent", [(120.0, 240.0), (540.0, 600.0)], ids=["minute 3", "the end"])
def test_a_machine_that_stood_still_is_judged_by_what_was_seen_next_to_it(silent: tuple[float, float]) -> None:
    """Nobody looked for a whole part: growth is seen all the same, and nothing else is."""
    for process, growth in ((grown(0), 0), (grown(6, threads=3), 1)):
        run = run_of(process)
        seen = [sample for sample in run.samples if not silent[0] <= sample.at < silent[1]]
        assert len(broken(Run(seen, SECONDS, RATE))) == growth


@pytest.mark.parametrize(
    ("stock", "told"),
    [
        ({"view.db-wal MiB": 65.0}, "view.db-wal, at any time 65.0 MiB (at most 64 MiB)"),
        ({OUTBOX_ROWS: 5_001.0}, "outbox rows, at any time 5001 (at most 5000)"),
        ({OUTBOX_MIB: 65.0}, "outbox, at any time 65.0 MiB (at most 64 MiB)"),
    ],
    ids=["wal", "rows", "table"],
)
def test_what_piles_up_is_seen_whenever_it_happens(stock: Mapping[str, float], told: str) -> None:
    """Also when it was worked off before the end."""
    assert broken(run_of(grown(0), lambda at: stock if at == 300.0 else {})) == [told]
    assert not broken(run_of(grown(0), lambda _: {name: value - 1 for name, value in stock.items()}))


def test_the_table_has_a_row_for_each_minute_and_process() -> None:
    """With the most that was held in it."""
    lines = run_of(grown(9.5, rss=1.0), lambda _: {"cart.db-wal MiB": 16.0}).tables().splitlines()
    assert lines[0].split("  ")[0] == "until"
    assert [line.split()[0] for line in lines[1:11]] == [f"{minute}:00" for minute in range(1, 11)]
    assert lines[9].split() == ["9:00", "cart", "120.0", "80.0", "30", "80", "8"]
    assert lines[10].split() == ["10:00", "cart", "121.0", "80.0", "30", "80", "8"]
    assert lines[13].split() == ["1:00", "16.0"]


@pytest.mark.parametrize("name", sorted(mutants.MUTANTS))
def test_each_broken_build_can_still_be_made(name: str, tmp_path: Path) -> None:
    """The text that it breaks is there exactly once; `make soak MUTANT=...` runs it."""
    assert (mutants.build(name, tmp_path) / "ordering").is_dir()
