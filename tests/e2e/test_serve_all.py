"""`ordering serve all`: starts, works, and ends as one, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import PATIENCE, System, alive, command, environment, running, until
from tests.services.processes import free_ports

pytestmark = pytest.mark.process


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A running system on an empty folder."""
    with running(tmp_path / "data") as started:
        yield started


def test_an_order_is_created_and_visible(system: System) -> None:
    """The shortest way through everything: HTTP, store, relay, log, consumer, view, HTTP."""
    assert system.place("first") == 201

    status, answer = system.call("GET", f"{system.order}/api/order-details?orderId=first&wait=30")

    assert status == 200
    assert answer["data"]["orderId"] == "first"
    assert "shippingCost" in answer["data"]


def test_the_banner_says_where_everything_is(system: System) -> None:
    """Mode, addresses, docs and a line to try."""
    assert "mode: embedded" in system.printed
    assert str(system.data) in system.printed
    assert f"{system.cart}/docs" in system.printed
    assert f"curl -s {system.cart}/api/create-order" in system.printed


def test_only_this_machine_and_this_user_can_reach_anything(system: System) -> None:
    """The default binds to the loopback address and keeps its files private."""
    assert system.place("private") == 201
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [system.data, *system.data.rglob("*")]}

    assert system.cart.startswith("http://127.0.0.1:")
    assert system.order.startswith("http://127.0.0.1:")
    assert {mode & 0o077 for mode in modes.values()} == {0}, modes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_to_the_parent_ends_everything_cleanly(system: System, number: signal.Signals) -> None:
    """Exit 0, and nobody is left."""
    assert system.place("last") == 201

    assert system.stop(number) == 0
    assert not any(alive(pid) for pid in system.children)


def test_ctrl_c_in_the_parents_group_ends_everything_cleanly(system: System) -> None:
    """What a terminal sends."""
    os.killpg(os.getpgid(system.process.pid), signal.SIGINT)

    assert system.process.wait(PATIENCE) == 0
    assert not any(alive(pid) for pid in system.children)


def test_a_killed_parent_leaves_no_process(system: System) -> None:
    """kill -9 gives it no chance to say goodbye; the children notice by themselves."""
    os.kill(system.process.pid, signal.SIGKILL)

    until(lambda: not any(alive(pid) for pid in system.children), "the children noticed")


def test_what_was_acknowledged_survives_a_kill_of_everything(system: System, tmp_path: Path) -> None:
    """201 means durable, and its event follows after the restart."""
    assert system.place("survivor") == 201
    system.kill()

    with running(system.data) as again:
        status, _ = again.call("GET", f"{again.order}/api/order-details?orderId=survivor&wait=30")
        assert status == 200
        assert again.place("survivor") == 409


@pytest.mark.parametrize("victim", [0, 1])
def test_a_childs_death_stops_the_rest_with_the_reason(system: System, victim: int) -> None:
    """Half a system is worse than none: non-zero, and it says who died of what."""
    os.kill(system.children[victim], signal.SIGKILL)

    assert system.process.wait(PATIENCE) == 1
    assert not any(alive(pid) for pid in system.children)
    assert "ended unexpectedly (killed by SIGKILL)" in system.errors.read_text()


def test_a_second_start_on_the_same_folder_is_refused(system: System) -> None:
    """One clear line, nothing started, and the first one goes on."""
    second = command("serve", "all", env=environment(system.data))

    assert second.returncode == 1
    assert second.stdout == ""
    assert len(second.stderr.splitlines()) == 1
    assert "is in use" in second.stderr
    assert str(system.process.pid) in second.stderr
    assert system.place("still-here") == 201


@pytest.mark.parametrize("part", ["cart", "order"])
def test_a_second_process_for_one_service_is_refused(system: System, part: str) -> None:
    """Each file has one writing process. Why, is told once: to people in a plain line, or as JSON like every line."""
    second = command("serve", part, env=environment(system.data))
    logging = command("serve", part, env=environment(system.data, ORDERING_LOG_FORMAT="json"))

    assert (second.returncode, logging.returncode) == (1, 1)
    (line,) = second.stderr.splitlines()
    assert line.startswith("ordering: ")
    assert "in use" in line
    (logged,) = map(json.loads, logging.stderr.splitlines())
    assert (logged["event"], logged["level"], logged["service"]) == ("service.refused", "error", part)
    assert logged["reason"] == line.removeprefix("ordering: ")


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    """Found before anything starts, and it names the setting that helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = command("serve", "all", env=environment(tmp_path / "data", ORDER_API_PORT=port))

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert port in ended.stderr
    assert "ORDER_API_PORT" in ended.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid", "a" * 70])
def test_an_address_of_nobody_here_is_one_clear_line(host: str, tmp_path: Path) -> None:
    """Another machine's, an unknown name, and one that no name server could be asked for: another port is no help."""
    ended = command("serve", "cart", env=environment(tmp_path / "data", API_HOST=host))

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "API_HOST chooses another address" in ended.stderr


def test_one_port_for_two_services_is_refused(tmp_path: Path) -> None:
    """The message names both settings that work."""
    env = environment(tmp_path / "data", API_PORT="8123", CART_API_PORT="", ORDER_API_PORT="")
    ended = command("serve", "all", env=env)

    assert ended.returncode == 2
    assert "CART_API_PORT and ORDER_API_PORT" in ended.stderr


def test_a_broken_configuration_is_told_before_anything_starts(tmp_path: Path) -> None:
    """All faults, exit 2, no file made."""
    env = environment(tmp_path / "data", ORDERING_PARTITIONS="none", ORDERING_DATADIR="x")
    ended = command("serve", "all", env=env)

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 2
    assert not (tmp_path / "data").exists()


def test_each_service_also_runs_alone(tmp_path: Path) -> None:
    """A service is its own process everywhere; this one ends cleanly on SIGTERM."""
    [port] = free_ports(1)
    env = environment(tmp_path / "data", CART_API_PORT="", API_PORT=str(port))
    process = subprocess.Popen([sys.executable, "-m", "ordering", "serve", "cart"], env=env, stderr=subprocess.PIPE)
    try:
        until(lambda: _answers(port), "the cart service answers")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_waiting_request_does_not_hold_up_the_end(system: System) -> None:
    """Someone waits half a minute for an order that never comes; the end does not."""
    host, port = system.order.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as waiting:
        waiting.sendall(b"GET /api/order-details?orderId=never&wait=30 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: _waiters(system) == 1, "it waits")
        status = system.stop()
        answer = waiting.makefile("rb").read()

    assert status == 0
    assert answer.startswith(b"HTTP/1.1 503 ")  # had it waited its time out: 404


def _waiters(system: System) -> float:
    with urllib.request.urlopen(f"{system.order}/metrics", timeout=PATIENCE) as page:  # noqa: S310 -- our own address
        (told,) = re.findall(r"^ordering_waiters (\S+)", page.read().decode(), re.MULTILINE)
    return float(told)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(32).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
