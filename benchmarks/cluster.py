"""The cluster rows: our cart service against a seed-style peer, on one real Kafka, registry and PostgreSQL.

One server at a time, freshly started and alone on its core; everything else (load, Kafka, registry, PostgreSQL) is on
the other. Contestants take turns within each round. Every run ends with a look into Kafka: each acknowledged order has
to be there.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks import cluster_report, load
from benchmarks.arrivals import Arrivals, avro_key, plain_key
from benchmarks.load import Run, wrk_acknowledged
from benchmarks.paced import invented, paced
from benchmarks.peers import environment as peers
from benchmarks.processes import SERVER_CORE, cpu_seconds, free_port, ordering, pinned, running
from benchmarks.report import Report
from benchmarks.services import Services, on_the_load_core
from tests.faults import cluster as faults
from tests.faults.cluster import Cluster
from tests.services.processes import Missing

PARTITIONS = 3
PACED_RATE = 150.0
PACED_SECONDS = 8
PROJECTED_EVENTS = 100_000
OUR_SCHEMA = peers.ROOT / "schemas" / "order-events-value" / "v1.avsc"


@attrs.frozen
class Started:
    """A server under test, and how its records are read."""

    port: int
    pid: int
    topic: str
    arrivals: Arrivals


@attrs.frozen
class Measured:
    """One closed-loop run, what the server's process used per request in microseconds, how busy the load's core was
    (0..1), how many acknowledged orders were not in Kafka when the load ended, and the seconds until all were."""

    run: Run
    cpu_us: float
    load_busy: float
    backlog: int
    drained: float


@attrs.define
class Results:
    """What the rounds of one contestant gave."""

    name: str
    same: list[Measured] = attrs.Factory(list)
    carts: list[Measured] = attrs.Factory(list)
    post_ms: list[list[float]] = attrs.Factory(list)
    acknowledged: int = 0
    missing: int = 0
    strangers: int = 0
    repeated: int = 0
    surplus: int = 0

    def looked(self, arrivals: Arrivals) -> None:
        """Add what a run's topic held."""
        self.acknowledged += arrivals.acknowledged
        self.missing += arrivals.missing
        self.strangers += arrivals.strangers
        self.repeated += arrivals.repeated
        self.surplus += arrivals.surplus


# ---------------------------------------------------------------------------------------------- contestants


@contextmanager
def ours(services: Services, folder: Path, topic: str, *, postgres: bool) -> Iterator[Started]:
    """Our cart service in cluster mode, with an empty store."""
    port = free_port()
    cluster = Cluster(
        folder,
        bootstrap=services.kafka.bootstrap,
        registry=services.registry.url,
        database=services.postgres.create_database(topic) if postgres else None,
        topic=topic,
        API_PORT=str(port),
        ORDERING_LOG_LEVEL="warning",
        BENCH_LOG=str(folder / "server.log"),
    ).prepare(PARTITIONS)
    with running([*ordering(), "serve", "cart"], f"http://127.0.0.1:{port}/health/ready", cluster.env) as pid:
        yield Started(port, pid, topic, Arrivals(services.kafka.bootstrap, topic, OUR_SCHEMA, plain_key))
    if postgres:
        services.postgres.drop_database(topic)


@contextmanager
def seed_style(services: Services, folder: Path, topic: str) -> Iterator[Started]:
    """The peer, tuned, on a topic like ours."""
    port = free_port()
    make_topic(services.kafka.bootstrap, topic)
    command, env = peers.seed_style(services.kafka.bootstrap, services.registry.url, topic, port)
    log = {"BENCH_LOG": str(folder / "server.log")}
    with running(command, f"http://127.0.0.1:{port}/health", {**env, **log}) as pid:
        yield Started(port, pid, topic, Arrivals(services.kafka.bootstrap, topic, peers.SEED_SCHEMA, avro_key))


def make_topic(bootstrap: str, topic: str) -> None:
    """Make a topic as `ordering topics ensure` does."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "-1"})])[topic].result(30)


@contextmanager
def contestant(name: str, services: Services, topic: str) -> Iterator[Started]:
    """One of the three, freshly started."""
    with tempfile.TemporaryDirectory(prefix="ordering-bench-") as found:
        folder = Path(found)
        if name == cluster_report.PEER:
            server = seed_style(services, folder, topic)
        else:
            server = ours(services, folder, topic, postgres=name == cluster_report.POSTGRES)
        with server as started, started.arrivals:
            yield started


# ---------------------------------------------------------------------------------------------- measuring


def visit(started: Started, results: Results, seconds: int) -> None:
    """All that one start of one contestant is measured for. What it acknowledged is in Kafka before the next load."""
    arrivals = started.arrivals
    _, warmed = wrk_acknowledged(started.port, load.create_invented("W"), 2)
    arrivals.await_ids(warmed)
    series = asyncio.run(paced(started.port, None, PACED_RATE, PACED_SECONDS, "P", invented))
    results.post_ms.append(series.post)
    arrivals.await_ids(series.ids)
    results.same.append(closed_loop(started, load.create_invented("S"), seconds))
    if results.name != cluster_report.PEER:
        results.carts.append(closed_loop(started, load.create("C"), seconds))
    results.looked(arrivals)


def closed_loop(started: Started, script: str, seconds: int) -> Measured:
    """One run at 64 connections, and the wait until Kafka has all of it."""
    cpu, (busy, total) = cpu_seconds(started.pid), core_times()
    run, ids = wrk_acknowledged(started.port, script, seconds)
    cpu, (busy_then, total_then) = cpu_seconds(started.pid) - cpu, core_times()
    told = started.arrivals.acknowledged + len(ids)
    backlog, drained = max(0, told - started.arrivals.ends()), started.arrivals.await_count(told)
    started.arrivals.await_ids(ids)
    return Measured(run, cpu / run.requests * 1e6, (busy_then - busy) / (total_then - total), backlog, drained)


def core_times() -> tuple[int, int]:
    """Busy and all clock ticks of the core that this process is kept on."""
    (core,) = os.sched_getaffinity(0)
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, idle, waiting, *others = (int(word) for word in line.split()[1:9])
    busy = user + nice + system + sum(others)
    return busy, busy + idle + waiting


def projected(report: Report, services: Services, rounds: int, events: int) -> None:
    """The projection from Kafka, in a process of its own on the server's core."""
    topic = "bench-projection"
    with tempfile.TemporaryDirectory(prefix="ordering-bench-") as folder:
        databases = [services.postgres.create_database(f"{topic}-{number}") for number in range(rounds)]
        cluster = Cluster(
            Path(folder),
            bootstrap=services.kafka.bootstrap,
            registry=services.registry.url,
            database=databases[0],
            topic=topic,
        ).prepare(PARTITIONS)
        for database in databases[1:]:
            faults.ordering("migrate", "up", env={**cluster.env, "DATABASE_URL": database})
        answer = subprocess.run(
            [*pinned(SERVER_CORE), sys.executable, "-m", "benchmarks.kafka_projection", folder, str(events)],
            env={**cluster.env, "BENCH_DATABASES": " ".join(databases)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    for number in range(rounds):
        services.postgres.drop_database(f"{topic}-{number}")
    for line in answer.stdout.splitlines():
        report.add(line)


def measure(report: Report, rounds: int, seconds: int, events: int = PROJECTED_EVENTS) -> None:
    """All cluster rows into the report, or one line that says what is missing."""
    try:
        peers.python()
        with on_the_load_core() as services:
            every = [Results(name) for name in (cluster_report.PEER, cluster_report.POSTGRES, cluster_report.SQLITE)]
            for number in range(rounds):
                for place, results in enumerate(every):
                    with contestant(results.name, services, f"bench-{number}-{place}") as started:
                        visit(started, results, seconds)
            cluster_report.tell(report, every)
            projected(report, services, rounds, events)
    except Missing as missing:
        report.add("## Cluster rows\n")
        report.add(f"**NOT MEASURED: {missing}**\n")
        print(f"make bench: the cluster rows are MISSING: {missing}", file=sys.stderr)
