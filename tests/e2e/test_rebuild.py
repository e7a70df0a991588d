"""``ordering rebuild`` beside running services: killed, run again, and asked about a row that somebody changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest

from benchmarks.projection import records
from ordering.adapters.sqlite.log import SqlitePublisher
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.system import SystemRuntime
from ordering.application.framing import frame
from ordering.application.rebuild import RebuildLimits
from tests.e2e.running import PATIENCE, System, command, environment, running, until

pytestmark = [pytest.mark.process, pytest.mark.slow]

EVENTS = 12_000
TOPIC = "order-events"


def fill(data: Path, events: int) -> list[str]:
    """Write the log, as a cart service would have; the ids of its orders."""
    made = records(SystemRuntime(), events, TOPIC, lambda body: frame(1, body))

    async def publish() -> None:
        publisher = SqlitePublisher.open(data, TOPIC, 3)
        for start in range(0, len(made), 2_000):
            await publisher.publish(made[start : start + 2_000])
        await publisher.close()

    anyio.run(publish)
    return [record.key.decode() for record in made]


def query(data: Path, sql: str) -> Any:  # noqa: ANN401 -- one value of whatever type
    """Look into the read model's file, or change it, as somebody with a SQLite shell would."""
    connection = apsw.Connection(str(data / "view.db"))
    try:
        connection.set_busy_timeout(10_000)
        return connection.execute(sql).get
    finally:
        connection.close()


LIVE = "SELECT generation FROM pointer"
FILLED = "SELECT ifnull(sum(next), 0) FROM positions WHERE generation > (SELECT generation FROM pointer)"
READ = "SELECT ifnull(sum(next), 0) FROM live_positions"
LEFT = "SELECT count(*) FROM rows WHERE generation <> (SELECT generation FROM pointer)"


def rebuild(data: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status, and what was printed as JSON: the differences, and at last the report."""
    ended = command("rebuild", *options, "--output", "json", env=environment(data))
    assert "Traceback" not in ended.stderr
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


@contextmanager
def under_way(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A rebuild of its own; ended if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ordering", "rebuild"],
        env=environment(data),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def killed_when(data: Path, sql: str, what: str) -> None:
    """Start a rebuild and kill it as soon as the query's answer is more than it was; on a slow machine it may be over
    before anybody looked, and is tried again."""
    for _ in range(10):
        before = query(data, sql)
        with under_way(data) as process:
            until(lambda: query(data, sql) > before or process.poll() is not None, what)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            if process.wait(PATIENCE) == -signal.SIGKILL and query(data, sql) > before:
                return
    raise AssertionError(f"it always ended before anybody saw this: {what}")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """Running services whose read model has all of a long log; one order can be placed by HTTP."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    fill(data, EVENTS)
    with running(data) as started:
        assert started.place("by-http") == 201
        until(lambda: query(data, READ) == EVENTS + 1, "the read model has the whole log")
        yield started


def test_a_killed_rebuild_goes_on_and_names_what_was_changed_by_hand(system: System) -> None:
    """Killed while it fills and while it removes the old generation; services run all the time and keep answering."""
    data = system.data
    killed_when(data, FILLED, "it has filled a part")
    filled = query(data, FILLED)
    assert 0 < filled <= EVENTS + 1

    query(
        data,
        "UPDATE rows SET label = 'shipped' WHERE generation = (SELECT generation FROM pointer) AND key = 'by-http'",
    )
    status, [difference, figures] = rebuild(data, "--verify-only", "--limit-report", "1")
    assert status == 3
    assert difference["kind"] == "different"
    assert difference["orderId"] == "by-http"
    assert difference["fields"] == {"label": {"live": "shipped", "rebuilt": "pending"}}
    assert (figures["resumed"], figures["events"], figures["compared"]) == (True, EVENTS + 1 - filled, EVENTS + 1)
    assert figures["differences"] == {"row different": 1}
    assert not figures["flipped"]

    killed_when(data, LIVE, "it has exchanged them")
    assert system.call("GET", f"{system.order}/api/stats?ids=false")[1]["totalOrders"] == EVENTS + 1
    assert system.place("after-the-flip") == 201
    assert system.call("GET", f"{system.order}/api/order-details?orderId=after-the-flip&wait=30")[0] == 200

    status, [report] = rebuild(data)
    assert (status, report["differences"], report["flipped"]) == (0, {}, True)
    assert query(data, LEFT) == 0
    assert system.call("GET", f"{system.order}/health/ready")[0] == 200
    assert system.stop() == 0
    assert rebuild(data, "--verify-only")[0] == 0  # without any service


@pytest.mark.parametrize("away", ["database", "log"])
def test_what_is_away_before_a_rebuild_has_begun_is_told_at_once(away: str, tmp_path: Path) -> None:
    """As by every other command; only one that is under way waits for it, half a minute."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    if away == "database":
        cluster = {"ORDERING_MODE": "cluster", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
        urls = {"SCHEMA_REGISTRY_URL": "http://127.0.0.1:1", "DATABASE_URL": "postgresql://someone:x@127.0.0.1:1/none"}
        env = environment(data, **cluster, **urls)
    else:
        anyio.run(SqliteViews.open(data / "view.db").close)
        env = environment(data)
    ended = command("rebuild", env=env, seconds=RebuildLimits().patience_seconds)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    other = ["dlq", "list"] if away == "database" else ["tail", "--no-follow"]
    assert ended.stderr == command(*other, env=env).stderr


def test_one_rebuild_at_a_time_and_none_of_another_log(tmp_path: Path) -> None:
    """One line each, and what to do."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    fill(data, 100)
    with running(data) as system:
        until(lambda: query(data, READ) == 100, "all of it is read")
        assert system.stop() == 0

    async def second() -> subprocess.CompletedProcess[str]:
        """While this process is at work as a rebuild."""
        views = SqliteViews.open(data / "view.db", exclusive=False)
        generations = views.generations()
        assert await generations.claim() is None
        ended = await anyio.to_thread.run_sync(lambda: command("rebuild", env=environment(data)))
        await generations.release()
        await views.close()
        return ended

    refused = anyio.run(second)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"ordering: another rebuild of this read model is at work (process {os.getpid()}): wait for its end\n"
    )
    for name in data.glob(f"log-{TOPIC}.db*"):
        name.rename(name.with_suffix(".old"))
    fill(data, 10)
    ended = command("rebuild", "--partial", env=environment(data))
    assert ended.returncode == 1
    assert ended.stderr.startswith("ordering: the read model was filled from cluster ")
    assert ended.stderr.count("\n") == 1
