"""What one process does of one step: load, then verification; and its report."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

import attrs
import uvloop

from ordering.entrypoints.loadgen.driver import Driver, Plan
from ordering.entrypoints.loadgen.histogram import Histogram
from ordering.entrypoints.loadgen.traffic import Address, Kind, Traffic
from ordering.entrypoints.loadgen.verification import verify


@attrs.frozen
class Job:
    """One process's part of a step. ``run`` begins the ids of its orders; ``verified`` is the size of the sample."""

    plan: Plan
    mix: Mapping[Kind, int]
    run: str
    seed: int
    cart: Address
    order: Address
    verified: int


@attrs.define
class Report:
    """What came of a job; reports of several processes can be added up.

    ``seconds`` is the longest process's time, ``cpu_share`` the busiest one's share of a core. ``written`` counts
    acknowledged orders, ``verified`` and ``refused`` those that were asked for afterwards.
    """

    sent: int
    seconds: float
    cpu_share: float
    latencies: dict[Kind, Histogram]
    refusals: Histogram
    answers: Counter[tuple[str, str]]
    lateness: Histogram
    written: int
    verified: int
    refused: int
    problems: list[str]

    def add(self, other: "Report") -> None:
        """Another process's report."""
        self.sent += other.sent
        self.seconds = max(self.seconds, other.seconds)
        self.cpu_share = max(self.cpu_share, other.cpu_share)
        for kind, latencies in other.latencies.items():
            self.latencies[kind].add(latencies)
        self.refusals.add(other.refusals)
        self.answers.update(other.answers)
        self.lateness.add(other.lateness)
        self.written += other.written
        self.verified += other.verified
        self.refused += other.refused
        self.problems += other.problems

    @property
    def all_latencies(self) -> Histogram:
        """Of every kind together, refusals left out."""
        total = Histogram()
        for latencies in self.latencies.values():
            total.add(latencies)
        return total

    @property
    def rate(self) -> float:
        """Successes a second."""
        return self.all_latencies.count / self.seconds if self.seconds else 0.0


def work(job: Job, ready: Callable[[], None]) -> Report:
    """Do it, in an event loop of its own. Raises ConnectionError if a service cannot be connected to."""
    return uvloop.run(_work(job, ready))


async def _work(job: Job, ready: Callable[[], None]) -> Report:
    if job.verified:
        await _reached(job.order)  # better told now than for each order afterwards
    traffic = Traffic(job.run, job.seed, job.mix, job.cart, job.order)
    used: list[float] = []

    def begin() -> None:
        ready()
        used.extend((time.process_time(), time.perf_counter()))

    tally = await Driver(job.plan, traffic, job.cart, job.order).run(begin)
    cpu, wall = time.process_time() - used[0], time.perf_counter() - used[1]
    await asyncio.sleep(0)  # connections that were cut tell so first
    found = await verify(traffic, job.verified, job.order, job.seed)
    return Report(
        tally.sent,
        tally.seconds,
        cpu / wall if wall else 0.0,
        tally.latencies,
        tally.refusals,
        tally.answers,
        tally.lateness,
        traffic.written_count,
        found.written,
        found.refused,
        found.problems,
    )


async def _reached(address: Address) -> None:
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError as error:
        raise address.unreachable(error) from None
    writer.close()
