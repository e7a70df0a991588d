"""Five times as many clients as are admitted at once."""

from __future__ import annotations

import asyncio
import contextlib
import time

import uvloop

from tests.faults.outcome import Limit, Outcome, none
from tests.overload.clients import Load, Record, ask, percentile, until_normal, usual
from tests.overload.systems import Place

TIMES = 5
OPENING_SECONDS = 1.0
"""The clients come within this time: a connection costs more than a refusal, and all at once they would measure how
fast connections are made."""

ACCEPTED_SECONDS = 1.0
REFUSED_SECONDS = 0.1
NORMAL_SECONDS = 5.0
NORMAL_ANSWER = 0.5
"""How fast an order is accepted where nothing is wrong, generously: the generator has just stopped. A machine that
took longer before it came may take twice as long as then."""

HEALTH_EACH = 0.2
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def closed_loop(place: Place, *, admitted: int, seconds: float, slow: float) -> Outcome:
    """``admitted`` is the limit; for so many ``seconds``, on a store of which each batch takes ``slow`` longer."""
    return uvloop.run(_closed_loop(place, admitted, seconds, slow))


async def _closed_loop(place: Place, admitted: int, seconds: float, slow: float) -> Outcome:
    with place.system("overload", ORDERING_ADMISSION_MAX=str(admitted)) as system:
        record, after = Record(), Record()
        before = await usual(system.cart.url, after, "before")
        with system.slow_store(slow) if slow else contextlib.nullcontext():
            async with (
                Health(system.cart.url) as health,
                Load(system.cart.url, "o", TIMES * admitted, record=record, opening=OPENING_SECONDS) as load,
            ):
                began = time.monotonic()
                await asyncio.sleep(seconds)  # how long it lasts is the input
                lasted = time.monotonic() - began
        normal = await until_normal(system.cart.url, after, "after", within=max(NORMAL_ANSWER, 2 * before))
        findings = await system.settled({**record.attempts, **after.attempts})
        rate = len(record.accepted) / lasted
        figures = (
            f"{TIMES * admitted} clients, {admitted} admitted, {slow * 1000:.0f} ms more per batch, {lasted:.0f} s: "
            f"{record.told()}; {rate:.0f} accepted/s, p50 {percentile(record.accepted, 0.5):.3f} s, "
            f"refusals p50 {percentile(record.refused, 0.5):.4f} s"
        )
        return Outcome(
            figures,
            findings,
            (
                Limit("accepted, p99", percentile(record.accepted, 0.99), ACCEPTED_SECONDS, still=health.slowest),
                Limit("refused, p99", percentile(record.refused, 0.99), REFUSED_SECONDS, still=health.slowest),
                Limit("normal after", normal, NORMAL_SECONDS),
                none("answers that are neither 201 nor 503 overloaded", record.others("201", "503 overloaded")),
                none("connections closed without an answer", len(record.unheard) + len(record.broken)),
                none("connections refused", load.unconnected),
                none("no request was refused", int(not record.refused)),
                none("questions for its health that were not answered 200", health.failed),
            ),
        )


class Health:
    """Asks for the service's health again and again during the block: it is told whatever else there is to do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.failed = 0
        """How often that was not answered with 200."""
        self.slowest = 0.0
        """How long it took at most; or to get to the next question, where this process stood still."""
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Health:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._ending = True  # a question that is cut off would look like one that got no answer
        await self._task

    async def _run(self) -> None:
        while not self._ending:
            asked = time.monotonic()
            answer = await ask(self._url, HEALTH)
            self.failed += answer is None or answer.status != 200
            answered = time.monotonic()
            await asyncio.sleep(HEALTH_EACH)
            self.slowest = max(self.slowest, answered - asked, time.monotonic() - answered - HEALTH_EACH)
