"""Processes and ports of the real parts: each in a session of its own, none outliving the run that started it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.services.lifeline import children

PATIENCE = 120.0
"""Seconds until a part that neither answers nor ends counts as broken: generous, a loaded machine is no failure."""
HOST = "127.0.0.1"
_LIFELINE = Path(__file__).with_name("lifeline.py")
# Outside the range from which systems take the ports of outgoing connections: a part that was killed finds its port
# free when it comes back, and a client that tries to connect meanwhile cannot meet itself there.
_PORTS = range(20_000, 32_000)


class Missing(Exception):
    """A part cannot run on this machine; the text is one line that says what to install."""


class StartFailed(Exception):
    """A part was started and did not come up; the text ends with what it said last."""


_reserved: list[socket.socket] = []


def free_ports(count: int) -> list[int]:
    """Return *count* different loopback ports that nobody listens on, and that no other process is given by this.

    Whoever is to listen on one may take long to start. Until this process ends, it has the UDP port of the same number,
    which nobody else of ours can have then, and which is in nobody's way.
    """
    chosen: list[int] = []
    dice = random.SystemRandom()
    while len(chosen) < count:
        port = dice.choice(_PORTS)
        if not listening(port) and _reserve(port):
            chosen.append(port)
    return chosen


def _reserve(port: int) -> bool:
    """Whether the port is this process's from now on."""
    reservation = socket.socket(type=socket.SOCK_DGRAM)
    try:
        reservation.bind((HOST, port))
    except OSError:
        reservation.close()
        return False
    _reserved.append(reservation)
    return True


def listening(port: int) -> bool:
    """Whether somebody has the loopback *port*."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def temporary_folder(part: str, within: Path | None = None) -> Path:
    """Make a folder for *part* that only its owner can read, where other users can get to it."""
    for base in filter(None, [within, Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]):  # noqa: S108
        way = [base.resolve(), *base.resolve().parents]
        if all(folder.is_dir() and folder.stat().st_mode & 0o001 for folder in way):
            return Path(tempfile.mkdtemp(prefix=f"ordering-{part}-", dir=base.resolve()))
    raise Missing(f"no temporary folder that every user can enter: {within or tempfile.gettempdir()}")


class Process:
    """One running command in its own session.

    Until it is detached, it ends when this Python process ends, however that ends, and *folder* goes with it.
    It works in *cwd*, or else in *folder*. Its standard error, and its standard output unless *output* takes it, are
    appended to *log*. It reads *given*.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        folder: Path,
        env: Mapping[str, str] | None = None,
        user: str = "",
        output: IO[bytes] | None = None,
        given: IO[bytes] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        words = [str(word) for word in command]
        with log.open("ab") as said:
            self._line, theirs = socket.socketpair()
            with theirs:
                wrapper = [sys.executable, "-I", "-S", str(_LIFELINE), str(theirs.fileno()), user, str(folder)]
                self._popen = subprocess.Popen(
                    [*wrapper, *words],
                    stdin=given or subprocess.DEVNULL,
                    stdout=output or said,
                    stderr=said,
                    cwd=cwd or folder,
                    env=env,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )

    @property
    def pid(self) -> int:
        """The process id of the command itself."""
        return self._popen.pid

    def ended(self) -> bool:
        """Whether it has ended by itself or was ended."""
        return self.status is not None

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._popen.poll()

    def send(self, number: int) -> None:
        """Send it a signal; nothing when it has ended."""
        self._popen.send_signal(number)

    def send_all(self, number: int) -> None:
        """Send a signal to it first, then to its children; nothing when it has ended."""
        if self.ended():
            return
        self.send(number)
        for child in children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end, clear its group, and return its exit status."""
        try:
            status = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            self._tell_watcher(b"k")
            raise
        self._tell_watcher(b"k")
        return status

    def detach(self) -> None:
        """Let it run on when this Python process ends."""
        self._tell_watcher(b"d")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.send(number)
        self.send(signal.SIGCONT)  # a stopped process hears of nothing else
        return self.wait()

    def _tell_watcher(self, word: bytes) -> None:
        with self._line as line, contextlib.suppress(OSError):  # closed already: told already
            line.send(word)
            line.recv(1)  # ends with the watcher

    def last_words(self, lines: int = 15) -> str:
        """What it said last."""
        said = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(said[-lines:])

    def until(self, answers: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Return as soon as *answers* holds; raise StartFailed when it ends or takes too long first."""
        deadline = time.monotonic() + seconds
        while not answers():
            if self.ended():
                status = self.wait()
                raise StartFailed(f"{what} ended with {status}:\n{self.last_words()}")
            if time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise StartFailed(f"{what} does not answer after {seconds:g} s:\n{self.last_words()}")
            time.sleep(0.03)


def run(
    command: Sequence[str | Path],
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
    user: str = "",
    given: str = "",
) -> str:
    """Run a command that reads *given* to its end and return what it printed; StartFailed when it fails.

    It ends with us, too.
    """
    log = folder / "tools.log"
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as typed:
        typed.write(given.encode())
        typed.seek(0)
        process = Process(command, log=log, folder=folder, env=env, user=user, output=printed, given=typed)
        status = process.wait()
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    if status != 0:
        raise StartFailed(f"{command[0]} ended with {status}:\n{text}\n{process.last_words()}")
    return text
