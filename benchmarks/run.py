"""All measurements in one run, as ratios; writes RESULTS.md.

``python -m benchmarks.run [--rounds N] [--seconds S] [--events N] [--only MODE] [--results FILE]``. The server under
test is pinned to one core, the load to the other; contestants take turns within each round, so that a noisy moment hits
all of them alike.
"""

import argparse
import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

from benchmarks import cluster, load, projection
from benchmarks.load import Run, wrk
from benchmarks.paced import paced
from benchmarks.processes import cpu_seconds, free_port, ordering, pinned, rss_mib, running
from benchmarks.report import Report
from benchmarks.statistics import Spread, percentile

RESULTS = Path(__file__).with_name("RESULTS.md")
IDLE_SECONDS = 10.0
PACED_RATE = 150.0


@attrs.frozen
class Ports:
    """Where everything listens."""

    noop: int = attrs.Factory(free_port)
    cart: int = attrs.Factory(free_port)
    order: int = attrs.Factory(free_port)


def environment(folder: Path, ports: Ports) -> dict[str, str]:
    """The settings of the services under test: defaults, in a folder of their own, quiet."""
    return {
        "ORDERING_DATA_DIR": str(folder / "data"),
        "CART_API_PORT": str(ports.cart),
        "ORDER_API_PORT": str(ports.order),
        "ORDERING_LOG_LEVEL": "warning",
        "BENCH_LOG": str(folder / "servers.log"),
    }


def noop_command(port: int) -> list[str]:
    """Litestar's no-op on the same server, loop and parser as ours."""
    server = [sys.executable, "-m", "uvicorn", "benchmarks.noop_app:app", "--port", str(port)]
    return [*server, "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]


def closed_loop(report: Report, folder: Path, ports: Ports, rounds: int, seconds: int) -> int:
    """create, update and read against the no-op; the number of orders made."""
    env = environment(folder, ports)
    runs: dict[str, list[Run]] = {
        name: [] for name in ("noop POST", "create-order", "update-order", "noop GET", "details")
    }
    made = 0
    noop, cart = f"http://127.0.0.1:{ports.noop}", f"http://127.0.0.1:{ports.cart}"
    with (
        running(noop_command(ports.noop), f"{noop}/noop", env),
        running([*ordering(), "serve", "cart"], f"{cart}/health/ready", env),
    ):
        wrk(ports.noop, load.create("W", "/echo"), 2)
        wrk(ports.cart, load.create("W"), 2)
        for number in range(rounds):
            runs["noop POST"].append(wrk(ports.noop, load.create("N", "/echo"), seconds))
            runs["create-order"].append(wrk(ports.cart, load.create(f"R{number}"), seconds))
            runs["update-order"].append(wrk(ports.cart, load.update(f"R{number}"), max(1, seconds - 2)))
            made += runs["create-order"][-1].requests
    order = f"http://127.0.0.1:{ports.order}"
    count = runs["create-order"][-1].requests - 1_000  # some of the last ones were sent and not waited for
    with (
        running(noop_command(ports.noop), f"{noop}/noop", env),
        running([*ordering(), "serve", "order"], f"{order}/health/ready", env),
    ):
        await_caught_up(ports.order)
        for number in range(rounds):
            runs["noop GET"].append(wrk(ports.noop, load.get("/noop"), seconds))
            runs["details"].append(wrk(ports.order, load.read(f"R{rounds - 1}", count, number), seconds))
    tell_closed_loop(report, runs)
    return made


def tell_closed_loop(report: Report, runs: dict[str, list[Run]]) -> None:
    """The table of the closed loop, and its ratios."""
    report.add(f"## Closed loop, {load.CONNECTIONS} connections, server on one core\n")
    report.add("| what | requests/s | p50 ms | p99 ms | not 2xx | broken |")
    report.add("|---|---|---|---|---|---|")
    for name, of_name in runs.items():
        rps, p50 = Spread.of([run.rps for run in of_name]), Spread.of([run.p50_ms for run in of_name])
        p99 = Spread.of([run.p99_ms for run in of_name])
        refused, broken = sum(run.refused for run in of_name), sum(run.broken for run in of_name)
        report.add(f"| {name} | {rps.text(0)} | {p50.text()} | {p99.text(1)} | {refused} | {broken} |")
    report.add()
    for ours, yardstick, least, aim in (
        ("create-order", "noop POST", 0.5, 1.0),
        ("update-order", "create-order", 0.8, None),
        ("details", "noop GET", 0.6, 1.0),
    ):
        ratio = Spread.of([a.rps / b.rps for a, b in zip(runs[ours], runs[yardstick], strict=True)])
        goal = f"at least {least}" + (f", aim {aim}" if aim else "")
        verdict = "reached" if ratio.median >= least else "NOT reached"
        report.add(f"- {ours} / {yardstick}: **{ratio.text()}** ({goal}: {verdict})")
    report.add()


def await_caught_up(port: int, seconds: float = 600) -> None:
    """Wait until the read model has everything: ids of a topic are complete up to the end at the call."""
    from benchmarks.paced import Connection  # noqa: PLC0415 - only here

    async def ask() -> bool:
        connection = Connection(port)
        status, body = await connection.ask("GET", "/api/stats?ids=false")
        connection.close()
        return status == 200 and b'"lagEvents":0' in body

    deadline = time.monotonic() + seconds
    while not asyncio.run(ask()):
        if time.monotonic() > deadline:
            raise SystemExit("the read model did not catch up")
        time.sleep(0.2)


def open_loop(report: Report, folder: Path, ports: Ports, rounds: int) -> None:
    """150 requests/s: POST latency and the time from the answer until the order is visible; idle cost before that."""
    env = environment(folder / "paced", ports)
    (folder / "paced").mkdir()
    cart, order = f"http://127.0.0.1:{ports.cart}", f"http://127.0.0.1:{ports.order}"
    with (
        running([*ordering(), "serve", "cart"], f"{cart}/health/ready", env) as cart_pid,
        running([*ordering(), "serve", "order"], f"{order}/health/ready", env) as order_pid,
    ):
        time.sleep(3)  # start-up work is not idling
        before = cpu_seconds(cart_pid), cpu_seconds(order_pid)
        time.sleep(IDLE_SECONDS)
        idle = [
            (cpu_seconds(pid) - start) / IDLE_SECONDS * 100
            for pid, start in zip((cart_pid, order_pid), before, strict=True)
        ]
        memory = rss_mib(cart_pid), rss_mib(order_pid)
        series = [asyncio.run(paced(ports.cart, ports.order, PACED_RATE, 8, f"P{number}")) for number in range(rounds)]
    report.add(f"## Open loop, {PACED_RATE:.0f} requests/s, both services and the load on this machine\n")
    report.add("| | p50 ms | p99 ms |")
    report.add("|---|---|---|")
    for name, values in (
        ("POST answered", [run.post for run in series]),
        ("answered -> visible", [run.visible for run in series]),
    ):
        report.add(
            f"| {name} | {Spread.of([percentile(run, 0.5) for run in values]).text()} "
            f"| {Spread.of([percentile(run, 0.99) for run in values]).text()} |"
        )
    visible = Spread.of([percentile(run.visible, 0.5) for run in series]).median
    report.add(
        f"\n- visible p50: **{visible:.2f} ms** (at most 15, aim 5: {'reached' if visible <= 15 else 'NOT reached'})"
    )
    for name, mib, share in zip(("cart", "order"), memory, idle, strict=True):
        good = mib <= 90 and share < 1
        report.add(
            f"- {name} service idle: **{mib:.0f} MiB, {share:.2f} % of a core** "
            f"(at most 90 MiB, under 1 %: {'reached' if good else 'NOT reached'})"
        )
    report.add()


def million(report: Report, folder: Path, ports: Ports, events: int) -> None:
    """Memory of each service after many events."""
    env = environment(folder / "million", ports)
    (folder / "million").mkdir()
    cart, order = f"http://127.0.0.1:{ports.cart}", f"http://127.0.0.1:{ports.order}"
    with running([*ordering(), "serve", "cart"], f"{cart}/health/ready", env) as cart_pid:
        made, began = 0, time.monotonic()
        while made < events:
            made += wrk(ports.cart, load.create(f"M{made}"), 10).requests
        cart_seconds, cart_memory = time.monotonic() - began, rss_mib(cart_pid)
        began = time.monotonic()
        with running([*ordering(), "serve", "order"], f"{order}/health/ready", env, core=1) as order_pid:
            await_caught_up(ports.order)
            order_seconds, order_memory = time.monotonic() - began, rss_mib(order_pid)
    report.add(f"## After {made:,} events\n")
    for name, mib, seconds in (("cart", cart_memory, cart_seconds), ("order", order_memory, order_seconds)):
        report.add(
            f"- {name} service: **{mib:.0f} MiB** after {seconds:.0f} s "
            f"(at most 130 MiB: {'reached' if mib <= 130 else 'NOT reached'})"
        )
    report.add()


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="how many events to measure memory after; 0: none"
    )
    parser.add_argument(
        "--only",
        choices=("embedded", "cluster"),
        help="leave the other mode out (the cluster needs Kafka, a registry and PostgreSQL, each started here)",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    options = parser.parse_args()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            print(f"make bench needs {tool} (Debian: apt-get install wrk util-linux)", file=sys.stderr)
            return 1
    report = Report()
    report.add("# Results of `make bench`\n")
    report.add(
        f"{options.rounds} rounds of {options.seconds:g} s; median [lowest..highest]. "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, CPython {platform.python_version()}, "
        f"commit {commit()}. The store is durable (WAL, synchronous=FULL) in every row of ours.\n"
    )
    if options.only != "cluster":
        embedded(report, options.rounds, options.seconds, options.events)
    if options.only != "embedded":
        cluster.measure(report, options.rounds, options.seconds)
    options.results.write_text("\n".join(report.lines).rstrip() + "\n")
    return 0


def embedded(report: Report, rounds: int, seconds: int, events: int) -> None:
    """Everything in files, no broker."""
    with tempfile.TemporaryDirectory(prefix="ordering-bench-") as name:
        folder, ports = Path(name), Ports()
        closed_loop(report, folder, ports, rounds, seconds)
        open_loop(report, folder, ports, rounds)
        for line in projected(folder, rounds):
            report.add(line)
        if events:
            million(report, folder, ports, events)


def projected(folder: Path, rounds: int) -> list[str]:
    """The projection's own measurement, in a process of its own on one core."""
    answer = subprocess.run(
        [*pinned(0), sys.executable, "-m", projection.__name__, str(folder / "projection"), str(rounds)],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.splitlines()


def commit() -> str:
    """The commit that is measured."""
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return answer.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
