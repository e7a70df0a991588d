"""Nobody reads what a service prints, or it cannot be written: that costs lines, never a service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.running import PATIENCE, System, environment, running, until
from tests.services.processes import free_ports

pytestmark = pytest.mark.process


def trouble_and_its_end(system: System) -> None:
    """Something to be logged: the files are taken away from the running services, and come back."""
    away = system.data.with_name("away")
    system.data.rename(away)
    assert system.place("refused") == 503
    away.rename(system.data)
    assert system.place("taken") == 201
    assert system.call("GET", f"{system.order}/api/order-details?orderId=taken&wait=30")[0] == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_below_the_log_stops_nothing(tmp_path: Path) -> None:
    """Not even the start; the end is a clean one."""
    (tmp_path / "data.stderr").symlink_to("/dev/full")
    with running(tmp_path / "data") as system:
        trouble_and_its_end(system)

        assert system.stop() == 0


def test_a_log_that_nobody_reads_any_more_stops_nothing(tmp_path: Path) -> None:
    """As behind a `| tee` that was ended, or a log shipper that starts again."""
    pipe = tmp_path / "data.stderr"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with running(tmp_path / "data") as system:
        os.close(reader)
        trouble_and_its_end(system)

        assert system.stop() == 0


def answers(url: str) -> bool:
    """Whether a service is ready there."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=PATIENCE) as answer:  # noqa: S310 -- our own address
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">/dev/full"], ids=["closed", "full"])
def test_services_run_without_anybody_to_print_to(tmp_path: Path, closed: str) -> None:
    """Also no file of theirs takes the place of a closed stream: its lock holds the process's number and no log."""
    ports = free_ports(2)
    env = environment(tmp_path / "data", CART_API_PORT=str(ports[0]), ORDER_API_PORT=str(ports[1]))
    shell = ["sh", "-c", f'exec "$0" -m ordering serve all {closed}', sys.executable]
    started = subprocess.Popen(shell, env=env, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for port in ports:
            until(lambda port=port: answers(f"http://127.0.0.1:{port}"), "the service answers")  # type: ignore[misc]
        assert (tmp_path / "data" / "ordering.lock").read_text() == f"{started.pid}\n"
        started.send_signal(signal.SIGTERM)
        assert started.wait(PATIENCE) == 0
    finally:
        started.kill()
        started.wait(PATIENCE)
