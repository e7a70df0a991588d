"""The ports that real parts are given: free, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import processes
from tests.services.processes import free_ports, listening

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_free_ports_are_free_and_different() -> None:
    """And outside what outgoing connections use."""
    ports = free_ports(50)

    assert len(set(ports)) == 50
    assert not any(listening(port) for port in ports)
    assert all(20_000 <= port < 32_000 for port in ports)


ALL_BUT_ONE = """
import sys
from tests.services import processes
processes._PORTS = tuple(map(int, sys.argv[1:]))
print(processes.free_ports(1)[0])
"""


def test_a_port_that_one_process_was_given_is_not_given_to_another() -> None:
    """Although nobody listens on it yet: two files of tests that run at once start their parts at once."""
    mine, free = free_ports(2)
    processes._reserved.pop().close()  # given back: the only other one that there is
    given = subprocess.run(
        [sys.executable, "-c", ALL_BUT_ONE, str(mine), str(free)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(given.stdout) == free
