"""``ordering loadgen``: load for running services, as a table, with the proof that they kept it."""

import ipaddress
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import attrs

from ordering.entrypoints.cli import output as out
from ordering.entrypoints.loadgen.driver import Plan
from ordering.entrypoints.loadgen.histogram import Histogram
from ordering.entrypoints.loadgen.steps import LoadFailed, generator_limits, run_step, split
from ordering.entrypoints.loadgen.traffic import Address, Kind
from ordering.entrypoints.loadgen.trivial import trivial_server
from ordering.entrypoints.loadgen.work import Job, Report
from ordering.entrypoints.process import CalledWrongly, StartupError
from ordering.entrypoints.settings import Settings, load

SHARES: Final = {"p50 ms": 0.5, "p90 ms": 0.9, "p99 ms": 0.99, "p99.9 ms": 0.999}
REFUSED: Final = "refused p99 ms"
COLUMNS: Final = ("load", "per second", *SHARES, "max ms", REFUSED, "answers", "generator CPU", "limit")
PROBLEMS_TOLD: Final = 10
CONNECTIONS_MAX: Final = 10_000
RATE_MAX: Final = 100_000.0
OPEN_CONNECTIONS: Final = 64


@attrs.frozen
class Wanted:
    """What was asked for, as it came from the command line."""

    connections: str | None
    rate: str | None
    seconds: float
    count: int | None
    mix: str
    processes: int
    verify: int
    timeout: float
    seed: int
    cart: str | None
    order: str | None
    allow_remote: bool


def loadgen(wanted: Wanted, output: out.Output) -> int:
    """1 if something that was acknowledged is not there, or something that was refused is; or nothing was answered."""
    settings = load(os.environ).settings
    cart = _address(wanted.cart, settings, settings.cart_port, "--cart", allow_remote=wanted.allow_remote)
    order = _address(wanted.order, settings, settings.order_port, "--order", allow_remote=wanted.allow_remote)
    steps, mix = _steps(wanted), _mix(wanted.mix)
    run = f"LG{time.time_ns() // 1_000_000:x}{secrets.token_hex(2)}"
    jobs = [
        Job(plan, mix, f"{run}-{number}", wanted.seed + number, cart, order, wanted.verify)
        for number, plan in enumerate(steps)
    ]
    return _told(_run_all(jobs, wanted.processes, output), output, verified=wanted.verify > 0)


def calibrate(wanted: Wanted, output: out.Output) -> int:
    """What this program can send at most: the same load for a server that does nothing. Always 0."""
    with trivial_server() as address:
        jobs = [
            Job(plan, {Kind.CREATE: 1}, f"LGC-{number}", wanted.seed, address, address, 0)
            for number, plan in enumerate(_steps(wanted))
        ]
        _run_all(jobs, wanted.processes, output)
    return 0


def _run_all(jobs: Sequence[Job], processes: int, output: out.Output) -> list[Report]:
    """Run one step after the other and print what came of each: for programs at once, for people as one table."""
    reports: list[Report] = []
    for job in jobs:
        reports.append(_run(job, min(processes, job.plan.connections)))
        if output == "json":
            out.line(_exact(job.plan, reports[-1]))
    if output == "table":
        rows = [_shown(job.plan, report) for job, report in zip(jobs, reports, strict=True)]
        columns = [name for name in COLUMNS if name != REFUSED or any(report.refusals.count for report in reports)]
        print(out.table(rows, columns, bold=out.coloured(sys.stdout)))
    return reports


def _run(job: Job, processes: int) -> Report:
    try:
        return run_step(split(job, processes))
    except (ConnectionError, LoadFailed) as error:
        raise StartupError(str(error)) from None


# ---------------------------------------------------------------------------------------------- what is asked for


def _steps(wanted: Wanted) -> list[Plan]:
    """One plan for each number of connections, or for each rate."""
    common = {"seconds": wanted.seconds, "count": wanted.count, "timeout": wanted.timeout}
    connections = _numbers(wanted.connections, "--connections", CONNECTIONS_MAX)
    if wanted.rate is None:
        return [Plan(int(number), **common) for number in connections or [1, 16, 64, 256]]  # type: ignore[arg-type]
    if len(connections) > 1:
        raise CalledWrongly("--rate takes one number of connections: how many it may use")
    most = int(connections[0]) if connections else OPEN_CONNECTIONS
    return [Plan(most, rate=rate, **common) for rate in _numbers(wanted.rate, "--rate", RATE_MAX)]  # type: ignore[arg-type]


def _numbers(text: str | None, option: str, most: float) -> list[float]:
    try:
        found = [float(part) if option == "--rate" else int(part) for part in text.split(",")] if text else []
    except ValueError:
        found = [0]
    if any(not 0 < number <= most for number in found):
        raise CalledWrongly(f"{option} takes numbers over 0 and up to {most:,.0f}, separated by commas: {text}")
    return found


def _mix(text: str) -> Mapping[Kind, int]:
    mix: dict[Kind, int] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        if name not in set(Kind) or not weight.isdecimal() or len(weight) > 6 or Kind(name) in mix:
            raise CalledWrongly(f"--mix takes create=, update= and read= with whole weights, such as {MIX}: {text}")
        mix[Kind(name)] = int(weight)
    if not any(mix.values()):
        raise CalledWrongly("--mix needs a weight over 0")
    return {kind: weight for kind, weight in mix.items() if weight}


MIX: Final = "create=70,update=20,read=10"


def _address(given: str | None, settings: Settings, port: int, option: str, *, allow_remote: bool) -> Address:
    """Where to send. Raises CalledWrongly for what is no address, or another machine's without permission."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 -- asked, not bound
    if given is not None:
        try:
            url = urlsplit(given)
            host, port = url.hostname or "", url.port or 80
        except ValueError:
            url = urlsplit("")
        if url.scheme != "http" or not host or url.path not in ("", "/") or url.query or url.username:
            raise CalledWrongly(f"{option} takes http://host:port: {given}")
    if not allow_remote and not _is_here(host):
        raise CalledWrongly(f"{host} is another machine: load it only if it is yours, with --allow-remote")
    if port == 0:
        raise CalledWrongly(f"the port was the system's choice: tell it with {option} http://host:port")
    return Address(host, port)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# ---------------------------------------------------------------------------------------------- what came of it


def _shown(plan: Plan, report: Report) -> dict[str, str]:
    """A row for people."""
    successes = report.all_latencies
    return {
        "load": f"{plan.connections} connections" if plan.rate is None else f"{plan.rate:g}/s",
        "per second": f"{report.rate:,.1f}",
        **{name: f"{value:,.2f}" for name, value in _figures(successes).items()},
        REFUSED: f"{_figures(report.refusals)['p99 ms']:,.2f}" if report.refusals.count else "-",
        "answers": _answers(report.answers),
        "generator CPU": f"{report.cpu_share:.0%}",
        "limit": _limit(report) or "-",
    }


def _exact(plan: Plan, report: Report) -> dict[str, object]:
    """The same and more for programs: plain numbers, seconds and milliseconds."""
    kinds = {kind: each for kind, each in report.latencies.items() if each.count}
    return {
        "connections": plan.connections,
        "rate": plan.rate,
        "sent": report.sent,
        "seconds": report.seconds,
        "per second": report.rate,
        **_figures(report.all_latencies),
        "answers": {f"{kind} {what}": count for (kind, what), count in sorted(report.answers.items())},
        "by kind": {kind: {"answers": each.count, **_figures(each)} for kind, each in kinds.items()},
        "refusals": {"answers": report.refusals.count, **_figures(report.refusals)},
        "generator CPU": report.cpu_share,
        "limit": _limit(report),
        "written": report.written,
        "verified": report.verified,
        "refused verified": report.refused,
        "problems": report.problems,
    }


def _figures(latencies: Histogram) -> dict[str, float]:
    """Percentiles and the largest, in milliseconds."""
    found = [*latencies.percentiles(list(SHARES.values())), latencies.largest]
    return {name: value / 1_000 for name, value in zip((*SHARES, "max ms"), found, strict=True)}


def _limit(report: Report) -> str:
    limit = generator_limits(report)
    return f"generator: {limit}" if limit else ""


def _answers(answers: Counter[tuple[str, str]]) -> str:
    """``201 1,234, 503 5``: by status, whatever was asked."""
    totals: Counter[str] = Counter()
    for (_, what), count in answers.items():
        totals[what] += count
    return ", ".join(f"{what} {count:,}" for what, count in sorted(totals.items())) or "none"


def _told(reports: Sequence[Report], output: out.Output, *, verified: bool) -> int:
    """Say how the verification ended; the exit status."""
    written, asked = sum(each.written for each in reports), sum(each.verified for each in reports)
    refused = sum(each.refused for each in reports)
    problems = [problem for each in reports for problem in each.problems]
    if verified and written and not asked:
        problems.append("nothing of what was written could be verified")
    if not any(each.all_latencies.count + each.refusals.count for each in reports):
        problems.append("nothing was answered")
    if output == "table":
        done = f"verified {asked:,} of {written:,} orders" if verified else f"not verified: {written:,} orders"
        print(
            done
            + (f" and {refused:,} refusals" if refused else "")
            + ("" if problems or not verified else ": all as told")
        )
        if any(generator_limits(each) for each in reports):
            print("The generator was the limit of some steps: more --processes, or another machine, would tell more.")
    for problem in problems[:PROBLEMS_TOLD]:
        sys.stderr.write(f"ordering: {out.cell(problem)}\n")
    if len(problems) > PROBLEMS_TOLD:
        sys.stderr.write(f"ordering: and {len(problems) - PROBLEMS_TOLD:,} more\n")
    return 1 if problems else 0
