"""A step of load in one process or several, begun at the same moment, and whether this program was its limit."""

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from typing import Final

import attrs

from ordering.entrypoints.loadgen.work import Job, Report, work

CPU_FULL: Final = 0.9
"""A process that uses more of its core than this sends what it can, not what it should."""
LATE_MICROSECONDS: Final = 5_000
LATE_SHARE: Final = 0.01
START_SECONDS: Final = 60.0


class LoadFailed(Exception):
    """A process could not do its part; one line for people."""


def run_step(jobs: Sequence[Job]) -> Report:
    """Every job in a process of its own (a single one in this), added up. Raises OSError, LoadFailed."""
    if len(jobs) == 1:
        return work(jobs[0], lambda: None)
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's loop and threads
    barrier = context.Barrier(len(jobs))
    pipes: list[Pipe] = []
    processes = []
    try:
        for job in jobs:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(job, barrier, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        reports = [_received(pipe) for pipe in pipes]
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()
    first, *others = reports
    for report in others:
        first.add(report)
    return first


def generator_limits(report: Report) -> str:
    """Why the figures are this program's rather than the services'; empty if they are not."""
    if report.cpu_share >= CPU_FULL:
        return f"CPU {report.cpu_share:.0%}"
    late = report.lateness.above(LATE_MICROSECONDS)
    if late > LATE_SHARE * max(1, report.sent):
        return f"{late / report.sent:.1%} sent over {LATE_MICROSECONDS // 1_000} ms late"
    return ""


def _received(pipe: Pipe) -> Report:
    try:
        received: Report | str = pipe.recv()
    except EOFError:
        raise LoadFailed("a process of the load ended before it was done") from None
    if isinstance(received, str):
        raise LoadFailed(received)
    return received


def _child(job: Job, barrier: Barrier, pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to deal with
    try:
        pipe.send(work(job, lambda: _together(barrier)))
    except OSError as error:
        barrier.abort()
        pipe.send(error.strerror or str(error))


def _together(barrier: Barrier) -> None:
    try:
        barrier.wait(START_SECONDS)
    except Exception as error:
        raise ConnectionError("another process of the load could not begin") from error


def split(job: Job, processes: int) -> list[Job]:
    """One job in several parts of about the same size."""
    plan, parts = job.plan, []
    for number in range(processes):
        part = attrs.evolve(
            plan,
            connections=_share(plan.connections, processes, number),
            count=None if plan.count is None else _share(plan.count, processes, number),
            rate=None if plan.rate is None else plan.rate / processes,
        )
        size, run, seed = _share(job.verified, processes, number), f"{job.run}-{number}", job.seed * 1_000 + number
        parts.append(attrs.evolve(job, plan=part, verified=size, run=run, seed=seed))
    return parts


def _share(whole: int, parts: int, number: int) -> int:
    return whole // parts + (number < whole % parts)
