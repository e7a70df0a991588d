"""Starting and ending the real command, without guessing how fast a machine is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.services.surroundings import OURS

PATIENT = {
    "ORDERING_ADMISSION_SECONDS": "600",
    "ORDERING_REQUEST_SECONDS": "600",
    "ORDERING_SHUTDOWN_SECONDS": "60",
}
PATIENCE = 120.0
"""Generous: a loaded machine is no failure."""
TOO_SLOW = re.compile("does not answer in time|the database does not answer|the connection to the database broke")
"""What a command says that had to give up before it could do anything."""


def environment(data: Path, **settings: str) -> dict[str, str]:
    """Ours and nothing of the developer's; ports are the system's choice unless given, and nobody is refused because
    the machine, or its disk, is slow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    ports = {"CART_API_PORT": "0", "ORDER_API_PORT": "0"}
    return {**kept, **PATIENT, **ports, "ORDERING_DATA_DIR": str(data), **settings}


def command(*arguments: str, env: dict[str, str], seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ordering", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def patiently(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command until no part has needed more than the seconds that the command has for it.

    One that has just come up, or stands still with its machine, may; so it must be a command that may be run again.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        ended = command(*arguments, env=dict(env))
        if TOO_SLOW.search(ended.stdout + ended.stderr) is None or time.monotonic() > deadline:
            return ended


def carried_out(*arguments: str, env: Mapping[str, str]) -> str:
    """The same for one that has to succeed; what it printed. AssertionError with all of it if it fails."""
    ended = patiently(*arguments, env=env)
    assert ended.returncode == 0, f"ordering {' '.join(arguments)} ended with {ended.returncode}:\n{ended.stderr}"
    return ended.stdout


def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Return as soon as something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def said(errors: Path) -> str:
    """The beginning of what was printed to a file; also to one that has no end, or nobody who writes it any more."""
    descriptor = os.open(errors, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, 20_000).decode("utf-8", "replace").rstrip("\0")
    finally:
        os.close(descriptor)


class System:
    """A running ``serve all``."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data, self.settings = data, settings
        self.errors = data.parent / f"{data.name}.stderr"
        self.printed = ""
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ordering", "serve", "all"],
                env=environment(data, **settings),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.cart, self.order = self._urls()
        self.children = _children(self.process.pid)

    def _urls(self) -> tuple[str, str]:
        """From the banner, which comes when both are ready."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if "Ctrl-C" in line:
                found = dict(re.findall(r"(cart|order) service:\s+(\S+)", self.printed))
                return found["cart"], found["order"]
        raise AssertionError(f"serve all ended with {self.process.wait()}:\n{said(self.errors)}")

    def call(self, method: str, url: str, body: object = None) -> tuple[int, Any]:
        """One request; status and decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 -- our own address
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def place(self, order_id: str) -> int:
        """Create a generated order."""
        return self.call("POST", f"{self.cart}/api/create-order", {"orderId": order_id, "numItems": 2})[0]

    def stop(self, signals: int = signal.SIGINT) -> int:
        """A clean end; the exit status."""
        self.process.send_signal(signals)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End whatever is left, at the end of a test."""
        for pid in [self.process.pid, *self.children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        until(lambda: not any(alive(pid) for pid in self.children), "the children ended")


def _children(pid: int) -> list[int]:
    command = ["ps", "-A", "-o", "pid=,ppid="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


@contextlib.contextmanager
def running(data: Path, **settings: str) -> Iterator[System]:
    """A system for one test."""
    system = System(data, **settings)
    try:
        yield system
    finally:
        system.kill()
