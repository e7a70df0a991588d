"""Cutting the link to PostgreSQL at a chosen step of its protocol, seen in the bytes that pass a proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import attrs

from tests.services.proxy import Direction, Passing

# How the first words of a statement name what it is for; the text is in the Parse message that prepares it.
_PURPOSES: Final = (
    ("write", b"SELECT * FROM store_writes("),
    ("lock", b"SELECT FROM orders WHERE order_id = ANY"),
    ("state", b"SELECT version, event_id, schema, state FROM orders"),
    ("answer", b"SELECT key, fingerprint, status, etag, body, recorded_at FROM answers"),
    ("heads", b"FROM outbox o JOIN journal j USING (number, version)\nWHERE o.aggregate_id <> ALL"),
    ("mark", b"DELETE FROM outbox WHERE seq IN"),
    ("lease", b"INSERT INTO relay_lease"),
    ("nudge", b"SELECT pg_notify("),
)
_PARSE: Final = re.compile(rb"P.{4}([^\0]+)\0([^\0]+)\0", re.DOTALL)
_BIND: Final = re.compile(rb"B.{4}[^\0]*\0([^\0]+)\0", re.DOTALL)
_QUERY: Final = re.compile(rb"Q.{4}(BEGIN|COMMIT);?\0", re.DOTALL)
_STARTUP: Final = "startup"


@attrs.frozen
class Step:
    """Where to cut: how much of the request for this purpose, or of the answer to it, still passes.

    ``part`` is 0 for nothing, 1 for all of it; just under 1 leaves out the last byte.
    """

    purpose: str
    direction: Direction
    part: float

    def __str__(self) -> str:
        what = "request" if self.direction is Direction.TO_TARGET else "answer"
        return f"{self.purpose}: {self.part:.0%} of the {what}"

    def keeps(self, length: int) -> int:
        """How many of so many bytes pass."""
        return length if self.part == 1 else min(int(self.part * length), length - 1)


def _steps(purpose: str, requests: tuple[float, ...], answers: tuple[float, ...]) -> Iterator[Step]:
    for part in requests:
        yield Step(purpose, Direction.TO_TARGET, part)
    for part in answers:
        yield Step(purpose, Direction.TO_CLIENT, part)


_LAST: Final = 0.9999
_WRITES: Final = (
    *_steps("write", (0, 0.01, 0.2, 0.4, 0.6, 0.8, _LAST, 1), (0, 0.2, 0.5, 0.8, _LAST, 1)),
    *_steps("commit", (0, 0.5, _LAST, 1), (0, 0.5, _LAST, 1)),
)
_OTHERS: Final = (
    *_steps("begin", (0, 0.5, 1), (0, 0.5, 1)),
    *_steps("lock", (0.5, 1), (0, 0.5)),
    *_steps("prepare write", (0, 0.5, 1), (0, 0.5)),
    *_steps(_STARTUP, (0, 0.5, 1), (0, 0.5)),
    *_steps("state", (0, 0.5, 1), (0, 0.5)),
    *_steps("answer", (0.5, 1), (0, 0.5)),
    *_steps("mark", (0, 0.5, 1), (0, 0.5)),
    *_steps("heads", (0.5, 1), (0, 0.5)),
    *_steps("lease", (0.5, 1), (0, 0.5)),
)
_FEW: Final = (
    *_steps("write", (0.5, 1), (0, 0.5)),
    *_steps("commit", (1,), (0,)),
    *_steps("prepare write", (0.5,), ()),
    *_steps("mark", (1,), (0,)),
    *_steps("state", (), (0.5,)),
    *_steps(_STARTUP, (), (0.5,)),
    *_steps("lease", (1,), ()),
)


def steps(count: int) -> list[Step]:
    """So many steps: a few of each kind, or all of them, with those of the write again and again."""
    if count <= len(_FEW):
        return list(_FEW[:count])
    every = chain(_WRITES, _OTHERS, chain.from_iterable(repeat(_WRITES)))
    return [step for step, _ in zip(every, range(count), strict=False)]


class Cutter:
    """The watch of a proxy between asyncpg and PostgreSQL: cuts at the step that it is armed with."""

    def __init__(self) -> None:
        self._step: Step | None = None
        self._again = False
        self._prepared: dict[tuple[int, bytes], str] = {}
        self._asked: dict[int, str | None] = {}
        self.seen: set[str] = set()
        """What statements were for, so far."""

    def arm(self, step: Step, *, again: bool = False) -> None:
        """Cut the next link that comes to this step, or every one, ``again`` and again."""
        self._step, self._again = step, again

    def __call__(self, passing: Passing) -> int | None:
        """Runs in the proxy's thread."""
        if passing.direction is Direction.TO_TARGET:
            self._asked[passing.link] = self._purpose(passing)
        purpose = self._asked.get(passing.link)
        step = self._step
        if purpose is not None:
            self.seen.add(purpose)
        if step is None or step.direction is not passing.direction or step.purpose != purpose:
            return None
        if not self._again:
            self._step = None
        return step.keeps(len(passing.data))

    def _purpose(self, passing: Passing) -> str | None:
        """What a request is for. asyncpg sends one at a time on a link, and each in one piece unless it is long."""
        if passing.before == 0:
            return _STARTUP
        if (query := _QUERY.match(passing.data)) is not None:
            return query[1].decode().lower()
        if (parse := _PARSE.match(passing.data)) is not None:
            purpose = next((name for name, text in _PURPOSES if text in parse[2]), "other")
            self._prepared[passing.link, parse[1]] = purpose
            return f"prepare {purpose}"
        if (bind := _BIND.match(passing.data)) is not None:
            return self._prepared.get((passing.link, bind[1]))
        return None


def through(database: str, port: int) -> str:
    """The database's address with another port."""
    parted = urlsplit(database)
    return urlunsplit(parted._replace(netloc=f"{parted.netloc.rpartition(':')[0]}:{port}"))
