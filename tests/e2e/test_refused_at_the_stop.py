"""A stop while a connection that was refused still lingers."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.running import PATIENCE, running, said

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_a_client_that_was_refused_and_stays_does_not_spoil_the_stop(tmp_path: Path) -> None:
    """It has had its last word: the service ends cleanly, and not with a stack trace."""
    with running(tmp_path / "data") as system:
        place = urlsplit(system.cart)
        with socket.create_connection((place.hostname, place.port), PATIENCE) as client:
            client.sendall(b"GARBAGE\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
            assert system.stop() == 0
        assert "Traceback" not in said(system.errors)
