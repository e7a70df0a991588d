"""One soak: find out what the system bears, then half of that for a long time, and look what it holds meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import attrs

from ordering.entrypoints.loadgen.driver import NOT_SENT
from tests.e2e.crash_clients import counts, read_ledger
from tests.e2e.crash_system import System
from tests.faults.cluster import environment
from tests.faults.load import CLIENTS, load
from tests.faults.outcome import Outcome, none
from tests.soak.judgement import PARTS, Run
from tests.soak.sampling import connections_left, stock_of, watch

CONNECTIONS = 64
MIX = "create=70,update=20,read=10"
CLOSED_SECONDS = 8.0
PAUSE = 2.0
"""The longest rest of a client whose requests are in the ledger: some 16 requests a second of them all."""
TIMEOUT = 60.0
"""How long the load waits for an answer: a machine that stands still for a while is no failure."""

SAMPLES_EACH = 12
"""How often is looked at everything in each part of a run, at most every 5 s."""


@attrs.frozen
class Plan:
    """How long, and at how many requests a second; without a rate at half of what the system bears."""

    seconds: float
    rate: float | None = None


def soak(system: System, plan: Plan) -> Outcome:
    """Do it, and compare at the end what clients were told with what is stored."""
    return asyncio.run(_soak(system, plan))


async def _soak(system: System, plan: Plan) -> Outcome:
    for instance in system.both:
        await asyncio.to_thread(instance.start)
    rate, told = (plan.rate, "") if plan.rate else await _half(system)
    strange: list[str] = []
    interval = min(5.0, plan.seconds / PARTS / SAMPLES_EACH)
    async with stock_of(system) as stock, load(system.cart.url, system.ledger, "L", pause=PAUSE, strange=strange):
        step = asyncio.create_task(_loadgen(system, "--rate", f"{rate:.0f}", "--duration", f"{plan.seconds:g}"))
        samples = await watch(system, stock, plan.seconds, interval)
        row = await step
    left = await connections_left(system)
    findings = await system.settled()
    run = Run(samples, plan.seconds, rate)
    figures = (
        f"{run.tables()}\n\n{system.mode.name}, {plan.seconds / 60:.3g} min at {rate:,.0f}/s{told}, {MIX}: "
        f"{_answers(row)}, p50 {row['p50 ms']:.1f} ms, p99 {row['p99 ms']:.1f} ms"
        f"{', limited by the ' + row['limit'] if row['limit'] else ''}; "
        f"{row['verified']} of {row['written']:,} orders verified; "
        f"{CLIENTS} clients with a ledger: {counts(read_ledger(system.path))}"
    )
    problems = "; ".join([*row["problems"], *strange][:1])
    limits = [
        *run.limits(),
        none("connections of clients left when these have gone", left),
        none("answers that are not 2xx", _not_2xx(row) + _ledger_not_2xx(system)),
        none("requests that could not be sent, so that this was another load", _not_sent(row)),
        none(f"contradictions{f' ({problems})' if problems else ''}", len(row["problems"]) + len(strange)),
    ]
    return Outcome(figures, findings, tuple(limits))


async def _half(system: System) -> tuple[float, str]:
    """Half of what the system bears for a few seconds, and words for that."""
    row = await _loadgen(system, "--duration", f"{CLOSED_SECONDS:g}")
    borne = row["per second"]
    return borne / 2, f" (half of {borne:,.0f}/s, which {CONNECTIONS} connections get that ask as fast as they can)"


async def _loadgen(system: System, *options: str) -> dict[str, Any]:
    """One step of `ordering loadgen`; its row."""
    urls = ["--cart", system.cart.url, "--order", system.order.url, "--connections", f"{CONNECTIONS}"]
    words = ["loadgen", *urls, "--mix", MIX, "--timeout", f"{TIMEOUT:g}", "--output", "json", *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ordering", *words, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    try:
        told, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    assert told, f"ordering {' '.join(words)} ended with {process.returncode} and said nothing"
    row = json.loads(told)
    assert isinstance(row, dict)
    return row


def _answers(row: dict[str, Any]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in row["answers"].items())


def _not_2xx(row: dict[str, Any]) -> int:
    """Answers and requests that were not answered."""
    fine = sum(count for what, count in row["answers"].items() if what.split()[-1] in ("200", "201"))
    return sum(row["answers"].values()) - fine - _not_sent(row)


def _not_sent(row: dict[str, Any]) -> int:
    """Requests whose time came when too many others waited for a connection: the machine was busy with other things."""
    return sum(count for what, count in row["answers"].items() if what.endswith(NOT_SENT))


def _ledger_not_2xx(system: System) -> int:
    attempts = [attempt for of_order in read_ledger(system.path).values() for attempt in of_order]
    return sum(not attempt.acknowledged for attempt in attempts)
