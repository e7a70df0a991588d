"""The commands for people, beside running services."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import PATIENCE, System, command, environment, running, until

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One running system for all these tests; each uses orders of its own."""
    with running(tmp_path_factory.mktemp("commands") / "data") as started:
        yield started


def lines(system: System, *arguments: str) -> list[dict[str, Any]]:
    """What a command prints as JSON lines."""
    ended = command(*arguments, "--output", "json", env=environment(system.data))
    assert ended.stderr == ""
    return [json.loads(line) for line in ended.stdout.splitlines()]


def place_and_see(system: System, order_id: str) -> None:
    """Create an order and wait until it is visible."""
    assert system.place(order_id) == 201
    assert system.call("GET", f"{system.order}/api/order-details?orderId={order_id}&wait=30")[0] == 200


def test_tail_prints_decoded_events(system: System) -> None:
    """One JSON object a line, with what an event says and where it is."""
    place_and_see(system, "tailed")
    status, _ = system.call("PUT", f"{system.cart}/api/update-order", {"orderId": "tailed", "status": "confirmed"})
    assert status == 200
    assert system.call("GET", f"{system.order}/api/order-details?orderId=tailed&minVersion=2&wait=30")[0] == 200

    placed, confirmed = lines(system, "tail", "--from-beginning", "--no-follow", "--order", "tailed")

    assert (placed["version"], placed["eventType"], placed["status"]) == (1, "ORDER_PLACED", "pending")
    assert (confirmed["version"], confirmed["eventType"], confirmed["status"]) == (2, "ORDER_CONFIRMED", "confirmed")
    assert placed["partition"] == confirmed["partition"]
    assert placed["offset"] < confirmed["offset"]
    assert {"eventId", "timestamp", "headers"} <= set(placed)


def test_tail_without_following_ends_at_the_end(system: System) -> None:
    """From now on, and now is the end."""
    place_and_see(system, "before-tail")

    assert lines(system, "tail", "--no-follow") == []


def follow(system: System, *arguments: str) -> subprocess.Popen[str]:
    """A tail that goes on."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "ordering", "tail", *arguments],
        env=environment(system.data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_tail_follows_until_ctrl_c(system: System) -> None:
    """New events come as they happen; Ctrl-C is a clean end."""
    place_and_see(system, "followed-1")
    tail = follow(system, "--from-beginning", "--order", "followed-1")
    assert tail.stdout is not None
    assert "ORDER_PLACED" in tail.stdout.readline()

    system.call("PUT", f"{system.cart}/api/update-order", {"orderId": "followed-1", "status": "cancelled"})
    assert "ORDER_CANCELLED" in tail.stdout.readline()
    tail.send_signal(signal.SIGINT)
    _, errors = tail.communicate(timeout=PATIENCE)

    assert tail.returncode == 0
    assert errors == ""


def test_tail_ends_when_nobody_reads(system: System) -> None:
    """`ordering tail | head -1` ends, without a traceback, even if no event comes any more."""
    place_and_see(system, "piped")
    tail = follow(system, "--from-beginning")
    assert tail.stdout is not None
    assert tail.stderr is not None
    tail.stdout.readline()
    tail.stdout.close()

    assert tail.wait(PATIENCE) == 0
    assert tail.stderr.read() == ""
    tail.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--version"], ["config", "show"], ["lifecycle", "export"]])
def test_output_that_cannot_be_written_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    """A full disk below a redirected output, for short answers and long ones; no traceback, and not a success."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "ordering", *arguments],
            env=environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert ended.stderr == "ordering: the output cannot be written: No space left on device\n"
    assert ended.returncode == 1


def test_orders_show_tells_where_an_order_is(system: System) -> None:
    """Store, journal, log and read model in one place."""
    place_and_see(system, "shown")
    (found,) = lines(system, "orders", "show", "shown")
    (event,) = found["log"]

    assert found["verdict"].startswith("complete")
    assert found["stored"] == {"version": 1, "status": "pending"}
    assert found["view"] == {"version": 1, "status": "pending", "held": 0}
    assert [entry["state"] for entry in found["journal"]] == ["published"]
    assert (event["partition"], event["eventId"]) == (found["partition"], found["journal"][0]["eventId"])


def test_orders_show_of_an_unknown_order_says_so(system: System) -> None:
    """Exit 1, and still no error."""
    ended = command("orders", "show", "nobody", env=environment(system.data))

    assert ended.returncode == 1
    assert ended.stdout.startswith("nobody: unknown")
    assert ended.stderr == ""


def test_orders_show_tells_what_it_can_read(system: System, tmp_path: Path) -> None:
    """Where only the cart service ran there is no read model, and the rest is still told."""
    place_and_see(system, "half-shown")
    half = tmp_path / "half"
    half.mkdir()
    for file in system.data.iterdir():
        if file.is_file() and not file.name.startswith("view.db"):
            (half / file.name).write_bytes(file.read_bytes())
    ended = command("orders", "show", "half-shown", env=environment(half))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("half-shown: stored at version 1 and published; the read model is not readable")
    assert "read model:  not readable: there is no " in ended.stdout
    assert "version 1, status pending" in ended.stdout
    assert "journal\n" in ended.stdout
    assert "log\n" in ended.stdout


def test_empty_lists_are_not_errors(system: System) -> None:
    """Nothing waits, nothing is held."""
    env = environment(system.data)

    assert command("outbox", "list", env=env).stdout.startswith("the outbox is empty")
    assert command("dlq", "list", env=env).stdout == "no dead letters\n"
    assert command("outbox", "retry", "--all", env=env).stdout.startswith("0 parked orders")
    assert command("outbox", "retry", "unknown", env=env).stdout == "nothing of unknown is parked\n"
    assert lines(system, "outbox", "list") == lines(system, "dlq", "list") == []


def test_tools_do_not_disturb_the_services(system: System) -> None:
    """They open the same files while both services work on them."""
    for number in range(5):
        place_and_see(system, f"undisturbed-{number}")
        command("orders", "show", f"undisturbed-{number}", env=environment(system.data))

    assert system.place("undisturbed-after") == 201
    assert system.call("GET", f"{system.order}/health/ready")[0] == 200


def test_demo_plays_against_running_services(system: System) -> None:
    """Every step with its answer; exit 0 because they were as promised."""
    ports = {"CART_API_PORT": system.cart.rpartition(":")[2], "ORDER_API_PORT": system.order.rpartition(":")[2]}
    ended = command("demo", env=environment(system.data, **ports))

    assert ended.returncode == 0, ended.stderr
    assert '"totalAmount": 1999.98' in ended.stdout
    assert '"shippingCost": 39.99' in ended.stdout
    assert '"status": "confirmed"' in ended.stdout


def test_demo_finds_services_that_answer_to_a_name_and_ask_more_for_shipping(tmp_path: Path) -> None:
    """It asks them by that name, and knows what they were told to charge."""
    chosen = {"ORDERING_ALLOWED_HOSTS": "shop.example", "ORDERING_SHIPPING_RATE": "0.05"}
    with running(tmp_path / "data", **chosen) as own:
        ports = {"CART_API_PORT": own.cart.rpartition(":")[2], "ORDER_API_PORT": own.order.rpartition(":")[2]}
        ended = command("demo", env=environment(own.data, **ports, **chosen))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"cart service {own.cart}")
    assert '"shippingCost": 99.99' in ended.stdout


@pytest.mark.parametrize(
    "settings",
    [
        {"ORDERING_ALLOWED_HOSTS": "shop.example", "ORDERING_SHIPPING_RATE": "0.05"},
        {
            "ORDERING_MODE": "cluster",
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
            "DATABASE_URL": "postgresql://127.0.0.1:1/orders",
        },
    ],
    ids=["embedded", "cluster"],
)
def test_demo_brings_its_own_services_when_none_run(tmp_path: Path, settings: dict[str, str]) -> None:
    """On files of its own, whatever the real ones work on; and leaves nothing behind."""
    ports = {"CART_API_PORT": "1", "ORDER_API_PORT": "2"}
    env = environment(tmp_path / "data", TMPDIR=str(tmp_path), **ports, **settings)
    ended = command("demo", env=env)

    assert ended.returncode == 0, ended.stderr
    assert '"shippingCost": 39.99' in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_hangup_of_a_terminal_ends_the_services(tmp_path: Path) -> None:
    """Closing the window is a Ctrl-C, too."""
    with running(tmp_path / "data") as started:
        os.kill(started.process.pid, signal.SIGHUP)

        assert started.process.wait(PATIENCE) == 0
        until(lambda: started.process.poll() is not None, "the parent ended")
