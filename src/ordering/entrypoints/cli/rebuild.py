"""``ordering rebuild``: the read model from the log once more, compared with the live one, and put in its place."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ordering.application.generations import Difference, Kind, RebuildReport
from ordering.application.messages import Encoded, Place, Record
from ordering.application.rebuild import Wishes
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.progress import Told, progress
from ordering.entrypoints.cli.tools import Tools, use

DIFFERS: Final = 3
"""Exit status of ``--verify-only`` when the two are not equal."""


def rebuild(wishes: Wishes, limit: int, output: out.Output) -> int:
    """Rebuild or verify, and print what differed; 0, or 3 when ``--verify-only`` found a difference."""

    async def work(tools: Tools) -> int:
        await tools.require_answers()
        with _told(limit, output) as (told, found):
            report = await tools.rebuild(told, found, told.waits).run(wishes)
        _print(report, wishes, output)
        return DIFFERS if wishes.verify_only and not report.is_equal else 0

    try:
        return use(work)
    except KeyboardInterrupt:
        sys.stderr.write("ordering: interrupted; run it again to go on from here\n")
        return 130


@contextmanager
def _told(limit: int, output: out.Output) -> Iterator[tuple[Told, Callable[[Difference], None]]]:
    """Where progress goes, and the first differences; the others are only counted."""
    left = limit
    with progress(sys.stderr) as told:

        def found(difference: Difference) -> None:
            nonlocal left
            if difference.what == "figure":  # there are only a few of them
                _difference(difference, output)
            elif left > 0:
                left -= 1
                _difference(difference, output)

        yield told, found


def _difference(difference: Difference, output: out.Output) -> None:
    if output == "json":
        out.line(
            {
                "what": difference.what,
                "kind": difference.kind.value,
                "orderId" if difference.what != "figure" else "figure": difference.key,
                "fields": {name: {"live": _text(live), "rebuilt": _text(new)} for name, live, new in difference.fields},
            }
        )
        return
    told = f"{difference.what} {difference.kind}: {out.cell(difference.key)}"
    if difference.kind is Kind.DIFFERENT:
        fields = (f"{name} {_text(live)}, rebuilt {_text(new)}" for name, live, new in difference.fields)
        told += " (" + out.cell("; ".join(fields)) + ")"
    print(told, flush=True)


def _text(value: object) -> object:
    """A field for people and programs: what is long is told by its size and beginning."""
    match value:
        case None | int():
            return value
        case Encoded(schema, body):
            return f"{schema}, {len(body)} bytes {body[:12].hex()}"
        case Place(timestamp, partition, offset):
            return f"{partition}/{offset} at {out.moment(timestamp * 1_000)}"
        case Record():
            return f"{value.partition}/{value.offset}, {len(value.value or b'')} bytes"
        case tuple():
            return ", ".join(f"{first}..{last}" for first, last in value) or "none"
        case _:
            return str(value)


def _print(report: RebuildReport, wishes: Wishes, output: out.Output) -> None:
    if output == "json":
        out.line(
            {
                "generation": report.generation,
                "resumed": report.resumed,
                "events": report.events,
                "seconds": round(report.seconds, 3),
                "eventsPerSecond": _rate(report),
                "compared": report.compared,
                "differences": {f"{what} {kind.value}": count for (what, kind), count in report.differences.items()},
                "held": dict(report.held),
                "partial": dict(report.partial),
                "flipped": report.flipped,
                "notApplied": report.ahead,
            }
        )
        return
    for line in _lines(report, wishes):
        print(line)


def _lines(report: RebuildReport, wishes: Wishes) -> Iterator[str]:
    if report.is_equal:
        upto = " up to where it is" if report.ahead else ""
        yield f"differences      none: the read model is what the log says{upto}"
    for (what, kind), count in sorted(report.differences.items()):
        yield f"differences      {count:,} {what} {kind.value}"
    yield f"orders compared  {report.compared:,}"
    for reason, count in sorted(report.held.items()):
        yield f"held back        {count:,} {reason}"
    for partition, begin in sorted(report.partial.items()):
        yield f"partial          partition {partition}: nothing from before offset {begin}"
    if report.ahead:
        yield f"not looked at    {report.ahead:,} events that the order service has not applied yet"
    if wishes.verify_only:
        yield "verified         nothing was changed"
    elif report.is_equal:
        yield f"exchanged        generation {report.generation} is live"
    elif report.partial:
        yield f"exchanged        generation {report.generation} is live, with what the log still has"
    else:
        yield f"exchanged        generation {report.generation} is live: the differences are repaired"
    resumed = ", after what an earlier run had read" if report.resumed else ""
    yield f"events read      {report.events:,} in {report.seconds:.1f} s ({_rate(report):,}/s){resumed}"


def _rate(report: RebuildReport) -> int:
    return round(report.events / report.seconds) if report.seconds else 0
