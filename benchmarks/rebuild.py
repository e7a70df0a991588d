"""The rebuild at full size beside running services: how fast, in how much memory, and whether a reader notices.

``python -m benchmarks.rebuild --events 1000000`` on files, ``--cluster --events 200000`` from Kafka into PostgreSQL.
The log is written through the adapters; then the real services start and read it, and are asked at a steady rate, with
a new order every now and then, while ``ordering rebuild`` runs. ``--kill`` ends a first one with SIGKILL half way, so
that the measured one goes on from there; ``--tamper`` changes a row by hand afterwards, which ``--verify-only`` has to
name. Ends with 1 if a request failed, something differed, or what was changed was not found.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import asyncpg
import attrs

from benchmarks.paced import Connection
from benchmarks.processes import ordering, rss_mib
from benchmarks.projection import records
from benchmarks.readers import Answers, asked
from benchmarks.statistics import percentile
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.adapters.avro.registry_api import RegistryApi
from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.adapters.sqlite.log import SqlitePublisher
from ordering.adapters.system import SystemRuntime
from ordering.application.framing import frame
from ordering.application.messages import Acked
from ordering.application.ports import EventPublisher
from tests.e2e.running import System, environment, running
from tests.services.deployment import set_up
from tests.services.kafka import Kafka
from tests.services.postgres import Postgres
from tests.services.registry import Registry

TOPIC: Final = "order-events"
CHUNK: Final = 5_000
CALM_SECONDS: Final = 3.0
"""How long readers are measured without a rebuild."""

_FILLED: Final = (
    "SELECT coalesce(sum(next), 0) FROM {schema}positions "
    "WHERE generation > (SELECT generation FROM {schema}pointer WHERE id = 1)"
)
_TAMPER: Final = (
    "UPDATE {rows} SET label = 'tampered' "
    "WHERE key = {key} AND generation = (SELECT generation FROM {schema}pointer WHERE id = 1)"
)
Filled = Callable[[], Awaitable[int]]


@attrs.define
class Memory:
    """The rebuild's resident memory in MiB by how much of the log it had read (0 to 1)."""

    seen: list[tuple[float, float]] = attrs.Factory(list)

    def in_the_beginning(self) -> float:
        """The most up to a tenth of the log; of a small log, up to the first look after a batch."""
        first = next((at for at, _ in self.seen if at > 0), 1.0)
        return max((mib for at, mib in self.seen if at <= max(0.1, first)), default=0.0)

    def in_all(self) -> float:
        """The most."""
        return max(mib for _, mib in self.seen)


# ---------------------------------------------------------------------------------------------- the log


async def fill(publisher: EventPublisher, events: int, schema_id: int) -> list[str]:
    """Write the log; some of its orders."""
    runtime, some = SystemRuntime(), []
    for seed, start in enumerate(range(0, events, CHUNK)):
        made = records(runtime, min(CHUNK, events - start), TOPIC, lambda body: frame(schema_id, body), seed)
        results = await publisher.publish(made)
        assert all(isinstance(result, Acked) for result in results), results
        some += [record.key.decode() for record in made[:: max(1, CHUNK // 50)]]
    return some


async def fill_file(data: Path, events: int) -> list[str]:
    """The embedded log."""
    publisher = SqlitePublisher.open(data, TOPIC, 3, synchronous="OFF")
    try:
        return await fill(publisher, events, 1)
    finally:
        await publisher.close()


async def fill_topic(settings: Mapping[str, str], events: int) -> list[str]:
    """A topic of a real Kafka."""
    registry = ConfluentRegistry(RegistryApi(settings["SCHEMA_REGISTRY_URL"]), TOPIC)
    publisher = KafkaPublisher(KafkaConnection(settings["KAFKA_BOOTSTRAP_SERVERS"]), TOPIC)
    try:
        return await fill(publisher, events, await registry.id_of(OrderCodec().schema))
    finally:
        await publisher.close()
        await registry.close()


# ---------------------------------------------------------------------------------------------- the rebuild


async def command(env: Mapping[str, str], *options: str) -> asyncio.subprocess.Process:
    """``ordering rebuild``, started."""
    return await asyncio.create_subprocess_exec(
        *ordering(),
        "rebuild",
        "--output",
        "json",
        *options,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def rebuild(
    env: Mapping[str, str], events: int, filled: Filled, told: Callable[[str], None]
) -> tuple[dict[str, Any], Memory]:
    """Run it, and watch its memory; its report."""
    process = await command(env)
    assert process.stdout is not None
    assert process.stderr is not None
    memory = Memory()
    watching = asyncio.create_task(watch(process.pid, events, filled, memory))
    reading = asyncio.create_task(process.stdout.read())
    async for line in process.stderr:
        told(line.decode().rstrip())
    printed = (await reading).decode().splitlines()
    status = await process.wait()
    watching.cancel()
    if status != 0 or not printed:
        raise SystemExit(f"ordering rebuild ended with {status}")
    for difference in printed[:-1]:
        told(difference)
    report: dict[str, Any] = json.loads(printed[-1])
    return report, memory


async def killed(env: Mapping[str, str], events: int, filled: Filled) -> int:
    """Start it and kill it when it has read half of the log; how much of it is in the unfinished generation. Of a small
    log it may be over before anybody looked, and is started again."""
    for _ in range(10):
        process = await command(env)
        ended = asyncio.create_task(process.communicate())
        while not ended.done() and await filled() < events / 2:
            await asyncio.wait([ended], timeout=0.02)
        if not ended.done():
            process.send_signal(signal.SIGKILL)
            await ended
            return await filled()
    raise SystemExit("ordering rebuild was always over before anybody could kill it: give it more events")


async def verified(env: Mapping[str, str]) -> list[str]:
    """Compare the live generation with the log; the ids of the orders that differ."""
    process = await command(env, "--verify-only")
    printed, _ = await process.communicate()
    differences = [json.loads(line) for line in printed.decode().splitlines()]
    return [found["orderId"] for found in differences if "kind" in found]


async def watch(pid: int, events: int, filled: Filled, memory: Memory) -> None:
    """How much memory it has at how much of the log."""
    share = 0.0
    while True:
        share = max(share, min(1.0, await filled() / events))
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            memory.seen.append((share, rss_mib(pid)))
        await asyncio.sleep(0.1)


# ---------------------------------------------------------------------------------------------- two modes


@attrs.frozen
class Place:
    """Where the services run: settings, how the log is filled, how far the new generation is, and how to change the
    status of an order behind the services' back."""

    settings: Mapping[str, str]
    fill: Callable[[], Awaitable[list[str]]]
    filled: Filled
    tamper: Callable[[str], Awaitable[None]]


@contextmanager
def files(data: Path, events: int) -> Iterator[Place]:
    """Everything in one folder."""

    async def filled() -> int:
        connection = apsw.Connection(str(data / "view.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(1_000)
        try:
            return int(connection.execute(_FILLED.format(schema="")).get)
        finally:
            connection.close()

    async def tamper(order: str) -> None:
        connection = apsw.Connection(str(data / "view.db"))
        connection.set_busy_timeout(10_000)
        try:
            connection.execute(_TAMPER.format(rows="rows", schema="", key="?"), (order,))
            assert connection.changes() == 1
        finally:
            connection.close()

    yield Place({}, lambda: fill_file(data, events), filled, tamper)


@contextmanager
def services(events: int) -> Iterator[Place]:
    """Kafka, registry and PostgreSQL of our own. Raises Missing where they cannot run."""
    with ExitStack() as exits:
        kafka, registry, postgres = Kafka(), Registry(), Postgres()
        for part in (kafka, registry, postgres):
            exits.callback(part.stop)
            part.start()
        settings = {
            "ORDERING_MODE": "cluster",
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "SCHEMA_REGISTRY_URL": registry.url,
            "DATABASE_URL": postgres.url(),
        }
        set_up(settings)

        async def filled() -> int:
            connection = await asyncpg.connect(postgres.url())
            try:
                return int(await connection.fetchval(_FILLED.format(schema="ordering_order.")))
            finally:
                await connection.close()

        async def tamper(order: str) -> None:
            connection = await asyncpg.connect(postgres.url())
            try:
                done = await connection.execute(
                    _TAMPER.format(rows="ordering_order.view_rows", schema="ordering_order.", key="$1"), order
                )
                assert done == "UPDATE 1", done
            finally:
                await connection.close()

        yield Place(settings, lambda: fill_topic(settings, events), filled, tamper)


# ---------------------------------------------------------------------------------------------- all of it


async def measure(place: Place, data: Path, events: int, *, kill: bool, tamper: bool) -> bool:
    """From an empty log to the report; whether nothing failed and nothing differed but what was tampered with."""
    began = time.perf_counter()
    ids = await place.fill()
    print(f"log: {events:,} events written in {time.perf_counter() - began:.0f} s", flush=True)
    with running(data, **place.settings) as system:
        took = await read_all(system, events)
        print(f"order service: all of it read in {took:.0f} s ({events / took:,.0f}/s)", flush=True)
        async with asked(system, TOPIC, ids) as calm:
            await asyncio.sleep(CALM_SECONDS)
        env = {**environment(data, **place.settings), "NO_COLOR": "1"}
        async with asked(system, TOPIC, ids) as answers:
            if kill:
                print(f"killed: {await killed(env, events, place.filled):,} events are filled", flush=True)
            report, memory = await rebuild(env, events, place.filled, lambda line: print(f"  {line}", flush=True))
        totals = await asyncio.to_thread(system.call, "GET", f"{system.order}/api/stats?ids=false")
        differs = await tampered(place, env, ids[len(ids) // 2]) if tamper else False
        assert system.stop() == 0
    return tell(report, memory, calm, answers, totals[1]["totalOrders"]) and not differs


async def tampered(place: Place, env: Mapping[str, str], order: str) -> bool:
    """Change an order by hand and have it looked for; whether anything else was found than just this one."""
    await place.tamper(order)
    found = await verified(env)
    print(f"changed by hand: {order}; found by --verify-only: {', '.join(found[:5]) or 'nothing'}", flush=True)
    return found != [order]


async def read_all(system: System, events: int) -> float:
    """Wait until the order service has the whole log; how long that took."""
    began = time.perf_counter()
    connection = Connection(int(system.order.rsplit(":", 1)[1]))
    while True:
        status, told = await connection.ask("GET", "/api/stats?ids=false")
        if status == 200 and json.loads(told)["totalOrders"] >= events:
            connection.close()
            return time.perf_counter() - began
        await asyncio.sleep(0.1)


def tell(report: dict[str, Any], memory: Memory, calm: Answers, answers: Answers, total: int) -> bool:
    """What was found."""
    print(
        f"rebuild: {report['events']:,} events in {report['seconds']:.1f} s ({report['eventsPerSecond']:,}/s), ", end=""
    )
    print(f"{report['compared']:,} orders compared, differences: {report['differences'] or 'none'}")
    begin, end = memory.in_the_beginning(), memory.in_all()
    print(f"memory: at most {begin:.0f} MiB up to 10 % of the log, {end:.0f} MiB in all")
    for name, found in (("before", calm), ("during", answers)):
        for what, times in found.milliseconds.items():
            p50, p99 = (percentile(times, share) for share in (0.5, 0.99))
            print(f"{name}: {len(times):,} {what}, p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {max(times):.0f} ms")
    print(f"requests that failed: {len(answers.failures)}")
    for failure in answers.failures[:5]:
        print(f"  failed: {failure}")
    flat = end <= begin * 1.5 + 32
    print(f"orders in the end: {total:,}; memory flat: {'yes' if flat else 'NO'}")
    return bool(report["flipped"]) and not report["differences"] and not answers.failures and flat


def main() -> int:
    """0 if readers noticed nothing and nothing differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--cluster", action="store_true", help="Kafka, registry and PostgreSQL instead of files")
    parser.add_argument("--kill", action="store_true", help="kill a first rebuild half way")
    parser.add_argument("--tamper", action="store_true", help="change a row by hand afterwards and have it found")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        with services(given.events) if given.cluster else files(data, given.events) as place:
            measuring = measure(place, data, given.events, kill=given.kill, tamper=given.tamper)
            return 0 if asyncio.run(measuring) else 1


if __name__ == "__main__":
    sys.exit(main())
