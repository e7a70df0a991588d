"""How commands print: a table for people, or one JSON object a line for programs."""

import json
import os
import select
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

Output = Literal["table", "json"]
Row = Mapping[str, object]

_BOLD: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"


def rows(found: Sequence[Row], columns: Sequence[str], output: Output, *, empty: str) -> None:
    """Print rows; of a table only ``columns``, as JSON everything they hold."""
    if output == "json":
        for row in found:
            line(row)
    elif not found:
        print(empty)
    else:
        print(table(found, columns, bold=coloured(sys.stdout)))


def line(row: Row) -> None:
    """Print one JSON object on one line, at once; it is JSON in every character set."""
    narrow = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
    print(json.dumps(row, ensure_ascii=narrow, default=str), flush=True)


def table(found: Iterable[Row], columns: Sequence[str], *, bold: bool = False) -> str:
    """Columns as wide as their widest cell; the last one is not padded."""
    cells = [[cell(row.get(column)) for column in columns] for row in found]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    lines = ["  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    header = "  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip()
    return "\n".join([f"{_BOLD}{header}{_PLAIN}" if bold else header, *lines])


def cell(value: object) -> str:
    """A value as one line without control characters, whoever sent them."""
    text = "-" if value is None else str(value)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def moment(microseconds: int) -> str:
    """A stored time as UTC ISO 8601, to the millisecond."""
    try:
        at = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return str(microseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def coloured(stream: TextIO) -> bool:
    """Whether people look at this stream and want colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def reader_gone(stream: TextIO) -> bool:
    """Whether nobody can read what is written to this stream any more (a pipe whose other end is closed)."""
    watch = select.poll()
    try:
        watch.register(stream.fileno(), 0)  # errors and hang-ups are always told
    except (OSError, ValueError):
        return False
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in watch.poll(0))


def count(number: int, noun: str) -> str:
    """``1 order``, ``2,000 orders``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
