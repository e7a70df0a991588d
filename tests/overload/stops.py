"""SIGTERM under load, again and again: whoever was heard is answered, and the next life goes on where it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping

import uvloop

from tests.faults.cluster import PATIENCE
from tests.faults.outcome import Outcome, none, worst
from tests.overload.clients import Load, Record
from tests.overload.systems import Place

EXIT_SECONDS = 10.0
SLOW_SECONDS = 0.2
ACCEPTED_BETWEEN = 200
"""How many orders are accepted between two stops at least: the load is back."""


def sigterm(
    place: Place, *, stops: int, clients: int, whole: bool = False, settings: Mapping[str, str] | None = None
) -> Outcome:
    """The cart service, or the ``whole`` of ``serve all``, is stopped and started so many times under the same
    clients."""
    return uvloop.run(_sigterm(place, stops, clients, whole, settings or {}))


async def _sigterm(place: Place, stops: int, clients: int, whole: bool, settings: Mapping[str, str]) -> Outcome:
    with place.system("sigterm", whole=whole, **settings) as system:
        record, exits, failed = Record(), list[float](), 0
        async with Load(system.cart.url, "t", clients, record=record, repeats=True):
            for number in range(stops):
                # On a fast store nearly nothing is in hand when the end begins; on a slow one everybody is.
                with system.slow_store(SLOW_SECONDS) if number % 2 and not whole else contextlib.nullcontext():
                    await _accepted(record, ACCEPTED_BETWEEN)
                    began = time.monotonic()
                    failed += await asyncio.to_thread(system.cart.stop) != 0
                    exits.append(time.monotonic() - began)
                await asyncio.to_thread(system.cart.start)
            await _accepted(record, ACCEPTED_BETWEEN)
        never = record.never()
        findings = await system.settled({**record.attempts, **never})
        said = {text: system.cart.said(text) for text in ("service.undrained", "service.unfinished", "Traceback")}
        slowly = "" if whole else ", every other one on a slow store"
        figures = (
            f"{stops} stops under {clients} clients{slowly}: {record.told()}; "
            f"{len(record.unheard)} connections closed before an answer, {len(never)} of them not asked again "
            "(so they count as refused: none may be stored)"
        )
        return Outcome(
            figures,
            findings,
            (
                worst("exit after", exits, EXIT_SECONDS),
                none("stops that did not end with 0", failed),
                none("orders repeated that were not accepted or refused", _open(record)),
                none("connections closed within an answer", len(record.broken)),
                none("answers that are neither 201 nor 503", record.others("201", "503")),
                none("events repeated in the log", findings.repeated),
                *(none(f"times it said {text}", times) for text, times in said.items()),
            ),
        )


def _open(record: Record) -> int:
    """How many of those that were asked again got no answer again."""
    return sum(len(attempts) > 1 and attempts[-1].status is None for attempts in record.attempts.values())


async def _accepted(record: Record, more: int) -> None:
    """Return when so many more orders have been accepted."""
    wanted, deadline = len(record.accepted) + more, time.monotonic() + PATIENCE
    while len(record.accepted) < wanted:
        assert time.monotonic() < deadline, f"{more} orders are not accepted within {PATIENCE} s: {record.told()}"
        await asyncio.sleep(0.01)
