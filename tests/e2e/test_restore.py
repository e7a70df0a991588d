"""The documented ways to keep a copy and to bring it back, with real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.running import PATIENCE, System, command, environment, patiently, running, until
from tests.faults.cluster import Cluster, Instance
from tests.faults.cluster import running as ending
from tests.services.fixtures import GivenKafka, GivenPostgres, GivenRegistry
from tests.services.kafka import Kafka
from tests.services.postgres import Postgres
from tests.services.registry import Registry
from tests.services.topics import Topics

pytestmark = [pytest.mark.process, pytest.mark.slow]


class Load:
    """Somebody who creates orders all the time, and notes which were acknowledged."""

    def __init__(self, system: System) -> None:
        self._system, self._ended = system, threading.Event()
        self.acknowledged: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            order_id = f"load-{len(self.acknowledged)}"
            assert self._system.place(order_id) == 201
            self.acknowledged.append(order_id)

    def end(self) -> None:
        """No more orders."""
        self._ended.set()
        self._thread.join(PATIENCE)


def details(system: System, order_id: str, wait: int = 0) -> int:
    """The status of asking for an order."""
    return system.call("GET", f"{system.order}/api/order-details?orderId={order_id}&wait={wait}")[0]


def test_a_backup_under_load_restores_to_a_system_that_keeps_its_promises(tmp_path: Path) -> None:
    """Every order that was acknowledged before the backup began is there; what came later is there as a whole or not
    at all; and the restored system takes orders as before."""
    data, copy = tmp_path / "data", tmp_path / "backups" / "monday"
    copy.parent.mkdir()
    with running(data, BROKER_OUTAGE="accept") as system:  # an event that waits for seconds refuses no order
        load = Load(system)
        try:
            until(lambda: len(load.acknowledged) > 50, "some orders")
            before = list(load.acknowledged)
            made = command("backup", str(copy), env=environment(data))
        finally:
            load.end()
        assert made.returncode == 0, made.stderr
        assert [line.split()[0] for line in made.stdout.splitlines()][:3] == [
            "view.db",
            "log-order-events.db",
            "cart.db",
        ]
        again = command("backup", str(copy), env=environment(data))
        assert again.returncode == 1
        assert "exists already" in again.stderr
    shutil.rmtree(data)
    shutil.copytree(copy, data)

    with running(data) as system:
        for order_id in before:
            assert details(system, order_id, wait=30) == 200
        shown = {order_id for order_id in load.acknowledged if details(system, order_id) == 200}
        for order_id in load.acknowledged:
            assert system.place(order_id) == (409 if order_id in shown else 201)
        stats = system.call("GET", f"{system.order}/api/stats?ids=false")[1]
        assert (stats["gaps"], stats["late"], stats["deadLetters"]) == (0, 0, 0)
    assert command("restore", "check", env=environment(data)).returncode == 0


def refused_and_reconciled(
    start: Callable[[], tuple[int, str]], run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """A cart service on an older store does not start, says why and what to do; and doing that helps."""
    status, said = start()
    assert status == 1
    assert said.count("the order store is older than the log, which has 2 changes that it does not know") == 1
    assert "version-conflict" in said
    assert "`ordering restore reconcile`" in said
    assert "Traceback" not in said
    assert _history(run)[0] == "fail"
    assert "the order store is older than the log, which has 2 changes that it does not know" in _history(run)[1]
    checked = run("restore", "check")
    assert checked.returncode == 1, checked.stderr
    assert "2 changes of 2 orders are not known to the order store: " in checked.stdout
    *named, counts = [json.loads(line) for line in run("restore", "check", "--output", "json").stdout.splitlines()]
    assert {(one["orderId"], one["found"]) for one in named} == {("later", "unknown"), ("kept", "unknown")}
    assert (counts["changes"], counts["orders"], counts["dryRun"]) == (2, 2, True)
    mended = run("restore", "reconcile")
    assert mended.returncode == 0, mended.stderr
    assert "2 changes of 2 orders were adopted by the order store: " in mended.stdout
    assert run("restore", "check").returncode == 0
    assert _history(run)[0] == "ok"


def _history(run: Callable[..., subprocess.CompletedProcess[str]]) -> tuple[str, str]:
    """What the doctor says of the log against the order store."""
    found = map(json.loads, run("doctor", "--json").stdout.splitlines())
    return next((one["level"], one["message"]) for one in found if one["check"] == "history")


def test_an_older_order_store_does_not_start_before_it_is_reconciled(tmp_path: Path) -> None:
    """Embedded: cart.db of yesterday beside the log of today."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    confirm = {"orderId": "kept", "status": "confirmed"}
    ship = {"orderId": "kept", "status": "shipped"}
    with running(data) as system:
        assert system.place("kept") == 201
        assert details(system, "kept", wait=30) == 200
        assert command("backup", str(copy), env=environment(data)).returncode == 0
        assert system.place("later") == 201
        assert system.call("PUT", f"{system.cart}/api/update-order", confirm)[0] == 200
        assert system.call("GET", f"{system.order}/api/order-details?orderId=kept&minVersion=2&wait=30")[0] == 200
        assert details(system, "later", wait=30) == 200
        assert command("restore", "reconcile", env=environment(data)).returncode == 1  # a service runs
        assert system.stop() == 0
    for left in data.glob("cart.db*"):
        left.unlink()
    shutil.copy(copy / "cart.db", data)

    def start() -> tuple[int, str]:
        ended = command("serve", "cart", env=environment(data))
        return ended.returncode, ended.stderr

    refused_and_reconciled(start, lambda *words: command(*words, env=environment(data)))
    with running(data) as system:
        assert system.place("later") == 409
        assert system.call("PUT", f"{system.cart}/api/update-order", ship)[0] == 200
        status, answer = system.call("GET", f"{system.order}/api/order-details?orderId=kept&minVersion=3&wait=30")
        assert (status, answer["data"]["status"]) == (200, "shipped")
        stats = system.call("GET", f"{system.order}/api/stats?ids=false")[1]
        assert (stats["gaps"], stats["late"], stats["deadLetters"]) == (0, 0, 0)


def call(instance: Instance, method: str, path: str, body: object = None) -> tuple[int, object]:
    """One request to one service."""
    return System.call(None, method, f"{instance.url}{path}", body)  # type: ignore[arg-type]


def test_an_older_database_does_not_start_before_it_is_reconciled(
    kafka: Kafka | GivenKafka, registry: Registry | GivenRegistry, postgres: Postgres, tmp_path: Path
) -> None:
    """Cluster: a dump of the cart service's schema, put back while Kafka has gone on."""
    if not isinstance(postgres, Postgres):
        pytest.skip("dumps: needs PostgreSQL's programs beside the server (run without INTEGRATION=compose)")
    name = f"restore-{uuid4().hex[:8]}"
    database = postgres.create_database(name)
    cluster = Cluster(tmp_path, bootstrap=kafka.bootstrap, registry=registry.url, database=database, topic=name)
    dump = str(tmp_path / "cart.dump")
    with ending(cluster):
        cluster.prepare()
        cart, order = cluster.cart(), cluster.order()

        def place(order_id: str) -> int:
            return call(cart, "POST", "/api/create-order", {"orderId": order_id, "numItems": 1})[0]

        def visible(order_id: str, version: int) -> int:
            path = f"/api/order-details?orderId={order_id}&minVersion={version}&wait=30"
            return call(order, "GET", path)[0]

        assert place("kept") == 201
        assert visible("kept", 1) == 200
        pg = postgres.programs
        run_program(pg / "pg_dump", "-Fc", "-n", "ordering_cart", "-f", dump, "-d", database)
        assert place("later") == 201
        assert call(cart, "PUT", "/api/update-order", {"orderId": "kept", "status": "confirmed"})[0] == 200
        assert (visible("kept", 2), visible("later", 1)) == (200, 200)
        for repair in ("reconcile", "republish"):
            for _ in range(5):  # a service that stands still for longer than its lease is taken for a dead one
                beside = patiently("restore", repair, env=cluster.env)
                if beside.returncode:
                    break
            assert (beside.returncode, beside.stderr) == (1, "ordering: a cart service is running: stop it first\n")
        cart.stop()
        run_program(pg / "pg_restore", "--clean", "--if-exists", "--single-transaction", "-d", database, dump)

        def start() -> tuple[int, str]:
            cart.start(wait=False)
            until(lambda: not cart.lives(), "it has ended")
            assert cart.process is not None
            return cart.process.wait(PATIENCE), cart.last_words()

        refused_and_reconciled(start, lambda *words: patiently(*words, env=cluster.env))
        cart.start()
        assert place("later") == 409
        assert call(cart, "PUT", "/api/update-order", {"orderId": "kept", "status": "shipped"})[0] == 200
        assert visible("kept", 3) == 200
        stats = call(order, "GET", "/api/stats?ids=false")[1]
        assert isinstance(stats, dict)
        assert (stats["gaps"], stats["late"], stats["deadLetters"]) == (0, 0, 0)
    postgres.drop_database(name)


def run_program(program: Path, *words: str) -> None:
    """One of PostgreSQL's own, to its end."""
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr


def test_a_lost_log_is_made_again_from_the_order_store(tmp_path: Path) -> None:
    """Embedded: the log's file is gone. Nothing begins a new one by itself; one command does, and every order that the
    order store knows is published again."""
    data = tmp_path / "data"
    confirm = {"orderId": "first", "status": "confirmed"}
    with running(data) as system:
        assert [system.place(order_id) for order_id in ("first", "second")] == [201, 201]
        assert system.call("PUT", f"{system.cart}/api/update-order", confirm)[0] == 200
        assert details(system, "second", wait=30) == 200
        before = shown(system, "first")
        assert command("restore", "republish", env=environment(data)).returncode == 1  # a service runs
        assert system.stop() == 0
    for left in [*data.glob("log-order-events.db*"), *data.glob("view.db*")]:
        left.unlink()
    refused = command("serve", "cart", env=environment(data))
    assert refused.returncode == 1
    assert "log-order-events.db, but there was one" in refused.stderr

    again = command("restore", "republish", "--output", "json", env=environment(data))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {"orders": 2, "records": 0, "shortened": 0, "waiting": 3}
    told = command("restore", "republish", env=environment(data))
    assert told.stdout.splitlines() == [
        "2 orders in the order store, 0 records in the log",
        "3 events wait to be published: the cart service does so when it starts",
        "a read model that was filled from the old log has to begin anew: docs/operations.md (The log is lost)",
    ]
    with running(data) as system:
        assert details(system, "second", wait=30) == 200
        assert shown(system, "first") == before
        assert system.place("third") == 201
        assert details(system, "third", wait=30) == 200
        stats = system.call("GET", f"{system.order}/api/stats")[1]
        assert (stats["totalOrders"], stats["gaps"], stats["late"], stats["deadLetters"]) == (3, 0, 0, 0)
        assert system.stop() == 0
    whole = command("restore", "republish", env=environment(data))
    assert whole.stdout.splitlines() == [
        "3 orders in the order store, 4 records in the log",
        "the log has every order as the order store has it: there is nothing to publish",
    ]


def shown(system: System, order_id: str) -> object:
    """The order at its second version, as the order service tells it."""
    query = f"orderId={order_id}&minVersion=2&wait=30"
    status, answer = system.call("GET", f"{system.order}/api/order-details?{query}")
    assert status == 200
    return answer


def test_a_topic_that_was_lost_is_filled_from_the_database(
    kafka: Kafka | GivenKafka, registry: Registry | GivenRegistry, postgres: Postgres | GivenPostgres, tmp_path: Path
) -> None:
    """Cluster: the topic is deleted and made again; the read model begins anew, as the guide says."""
    name = f"lost-{uuid4().hex[:8]}"
    database = postgres.create_database(name)
    cluster = Cluster(tmp_path, bootstrap=kafka.bootstrap, registry=registry.url, database=database, topic=name)
    with ending(cluster):
        cluster.prepare()
        cart, order = cluster.cart(), cluster.order()
        for order_id in ("first", "second"):
            body = {"orderId": order_id, "numItems": 1}
            assert call(cart, "POST", "/api/create-order", body)[0] == 201
        assert call(cart, "PUT", "/api/update-order", {"orderId": "first", "status": "confirmed"})[0] == 200
        path = "/api/order-details?orderId={}&minVersion={}&wait=30"
        before = [call(order, "GET", path.format(*one)) for one in (("first", 2), ("second", 1))]
        assert [status for status, _ in before] == [200, 200]
        cart.stop()
        order.stop()
        Topics(kafka.bootstrap).delete(name)
        until(lambda: command("topics", "ensure", env=cluster.env).returncode == 0, "the topic is there again")

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            done = patiently(*words, env=cluster.env)
            assert done.returncode == 0, done.stderr
            return done

        assert "3 events wait to be published" in run("restore", "republish").stdout
        run("migrate", "down", "base", "--part", "order")
        run("migrate", "up")
        cart.start()
        order.start()
        assert [call(order, "GET", path.format(*one)) for one in (("first", 2), ("second", 1))] == before
        stats = call(order, "GET", "/api/stats?ids=false")[1]
        assert isinstance(stats, dict)
        assert (stats["totalOrders"], stats["gaps"], stats["late"], stats["deadLetters"]) == (2, 0, 0, 0)
    postgres.drop_database(name)
