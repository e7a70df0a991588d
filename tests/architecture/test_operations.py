"""docs/operations.md and the code tell the same: every metric, every cause, every alarm; none that does not exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from ordering.application.causes import CauseCode
from ordering.application.messages import Counter
from ordering.entrypoints.cli.commands import app
from ordering.entrypoints.metrics import table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "src/ordering").rglob("*.py"))
COMPOSED = {
    "events_{}": {f"events_{counter}" for counter in Counter},
    "projection.{}": {f"projection.{counter}" for counter in (Counter.GAPS, Counter.LATE)},
}
"""Names that the code puts together, and what can come out of it."""


def first_column(heading: str, level: int = 2) -> set[str]:
    """The code words in the first column of every table under a heading."""
    mark = "#" * level
    section = re.search(rf"^{mark} {heading}\n(.*?)(?=^#{{1,{level}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, heading
    cells = re.findall(r"^\| (`[^|]+`) \|", section[1], re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def reported(*methods: str) -> Iterator[str]:
    """The names that the code reports through these methods of the observer."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods):
                continue
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    yield name
                case [ast.JoinedStr(values=parts), *_]:
                    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
                    yield from COMPOSED[text]


def test_every_metric_is_explained_and_every_explained_metric_exists() -> None:
    """In the tables; and no other place of the page names one that does not exist."""
    assert first_column("Metrics") == table.NAMES
    named = set(re.findall(r"\bordering_[a-z_]+", PAGE))
    assert named - {"ordering_cart", "ordering_order"} <= table.NAMES  # these two are PostgreSQL's schemas


def test_every_cause_is_explained() -> None:
    """With its service, as the container builds them."""
    assert first_column("Not ready: the causes") == set(CauseCode) == set(table.CAUSES)


def test_every_alarm_that_the_code_logs_is_explained_and_counted() -> None:
    """The three lists are one: what the code says, what the table declares, what the page explains."""
    said = {*reported("alarmed", "failed"), "request.failed", "service.refused"}

    assert said == set(table.ALARMS)
    assert said == first_column("Alarms in the log")


def test_everything_the_application_counts_and_measures_is_declared() -> None:
    """A name that no metric has would be dropped silently."""
    assert set(reported("counted")) == {counter.what for counter in table.COUNTERS}
    assert set(reported("measured")) == {histogram.what for histogram in table.HISTOGRAMS}


def test_names_follow_prometheus_conventions() -> None:
    """Base units; no counter says _total itself (the library adds it); times are in seconds."""
    for counter in table.COUNTERS:
        assert not counter.name.endswith("_total")
    for name in table.NAMES:
        assert re.fullmatch(r"ordering_[a-z]+(_[a-z]+)*", name)
        assert not re.search(r"_(ms|millis|minutes|kb|mb|percent)\b", name)
    for metric in (*table.COUNTERS, *table.HISTOGRAMS, *table.GAUGES):
        assert metric.meaning.endswith(".")
        assert metric.meaning[0].isupper() or metric.meaning[0].isdigit()


def test_every_command_the_page_shows_exists() -> None:
    """With the options and arguments that it shows."""
    shown = set(re.findall(r"`(ordering [a-z][^`]*)`", PAGE)) | set(re.findall(r"^ordering .*$", PAGE, re.MULTILINE))
    assert len(shown) > 10
    for command in shown:
        words = shlex.split(command)[1:]
        if words == ["serve", "all"]:
            continue
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert bound is not None, command
