"""The cluster rows as tables, with their goals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.load import CONNECTIONS
from benchmarks.report import Report
from benchmarks.statistics import Spread, percentile
from tests.services.jars import version

if TYPE_CHECKING:
    from benchmarks.cluster import Measured, Results

LOAD_BUSY_MAX = 0.9
PEER, POSTGRES, SQLITE = "seed-style peer", "ours, PostgreSQL", "ours, SQLite"
SAME, CART = "`{orderId, numItems: 3}`", "a cart of 3 items"


def tell(report: Report, every: Sequence[Results]) -> None:
    """Closed loop, open loop, and what Kafka holds."""
    peer, *rivals = every
    report.add(f"## Cluster: Apache Kafka {version('kafka')}, a schema registry and PostgreSQL\n")
    report.add(
        "One server at a time, freshly started, alone on one core; the load, Kafka (one broker), the registry and "
        "PostgreSQL (fsync on) on the other. The peer is `benchmarks/peers/seed_style`: FastAPI, a dict as its store, "
        "AvroSerializer, produce and flush per request; uvloop, httptools, no logs. It keeps nothing through a "
        "restart; each row of ours is durable before it is answered.\n"
    )
    if any(statistics.median(one.load_busy for one in results.same) > LOAD_BUSY_MAX for results in every):
        report.add(
            "**The load's core was the limit in some row, not the server's (is the machine busy with something "
            "else?): figures and verdicts of this run say little.**\n"
        )
    closed_loop(report, peer, rivals)
    open_loop(report, peer, rivals)
    arrived(report, every)


def closed_loop(report: Report, peer: Results, rivals: Sequence[Results]) -> None:
    """Requests per second and latencies; compared are equal requests only."""
    report.add(f"### create-order, closed loop, {CONNECTIONS} connections\n")
    report.add(
        "| server | request | requests/s | p50 ms | p99 ms | server us/request | load core busy | not 2xx | broken |"
    )
    report.add("|---|---|---|---|---|---|---|---|---|")
    for results in (peer, *rivals):
        row(report, results.name, SAME, results.same)
    for results in rivals:
        row(report, results.name, CART, results.carts)
    report.add()
    for results in rivals:
        pairs = list(zip(results.same, peer.same, strict=True))
        faster = Spread.of([mine.run.rps / its.run.rps for mine, its in pairs])
        slowest = Spread.of([mine.run.p99_ms / its.run.p99_ms for mine, its in pairs])
        report.goal(f"{results.name} / peer, {SAME}, requests/s", faster, faster.median >= 3, "at least 3")
        report.goal(f"{results.name} / peer, {SAME}, p99", slowest, slowest.median <= 0.45, "at most 0.45")
    report.add()


def row(report: Report, name: str, request: str, runs: Sequence[Measured]) -> None:
    """One line of the closed loop's table."""
    rps, p50 = Spread.of([one.run.rps for one in runs]), Spread.of([one.run.p50_ms for one in runs])
    p99, cpu = Spread.of([one.run.p99_ms for one in runs]), Spread.of([one.cpu_us for one in runs])
    busy = Spread.of([one.load_busy * 100 for one in runs])
    refused, broken = sum(one.run.refused for one in runs), sum(one.run.broken for one in runs)
    report.add(
        f"| {name} | {request} | {rps.text(0)} | {p50.text()} | {p99.text(1)} | {cpu.text(0)} | {busy.text(0)} % "
        f"| {refused} | {broken} |"
    )


def open_loop(report: Report, peer: Results, rivals: Sequence[Results]) -> None:
    """POST at 150 requests a second."""
    report.add(f"### POST at 150 requests/s, open loop, {SAME}\n")
    report.add("| server | p50 ms | p99 ms |")
    report.add("|---|---|---|")
    for results in (peer, *rivals):
        p50, p99 = (Spread.of([percentile(run, share) for run in results.post_ms]) for share in (0.5, 0.99))
        report.add(f"| {results.name} | {p50.text()} | {p99.text()} |")
    report.add()
    for results in rivals:
        pairs = zip(results.post_ms, peer.post_ms, strict=True)
        ratio = Spread.of([percentile(mine, 0.5) / percentile(its, 0.5) for mine, its in pairs])
        report.goal(f"{results.name} / peer, POST p50", ratio, ratio.median <= 1, "at most 1")
    report.add()


def arrived(report: Report, every: Sequence[Results]) -> None:
    """By ids: what was acknowledged against what Kafka holds after each run."""
    report.add("### Acknowledged = in Kafka, by ids, all runs\n")
    report.add(
        "| server | acknowledged | missing in Kafka | under a wrong key | repeated records | in flight at a load's end "
        "| acknowledged, not yet in Kafka at a load's end | seconds until all were |"
    )
    report.add("|---|---|---|---|---|---|---|---|")
    for results in every:
        runs = [*results.same, *results.carts]
        backlog, drained = Spread.of([one.backlog for one in runs]), Spread.of([one.drained for one in runs])
        report.add(
            f"| {results.name} | {results.acknowledged:,} | {results.missing} | {results.strangers} "
            f"| {results.repeated} | {results.surplus} | {backlog.text(0)} | {drained.text()} |"
        )
    lost = sum(results.missing + results.strangers for results in every)
    verdict = "reached" if lost == 0 else "NOT reached"
    report.add(f"\n- acknowledged and not in Kafka under its key: **{lost}** (0: {verdict})\n")
