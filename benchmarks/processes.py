"""Starting, pinning, measuring and ending the processes of a benchmark."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(core: int) -> list[str]:
    """The command prefix that keeps a process on one core (Linux)."""
    return ["taskset", "-c", str(core % (os.cpu_count() or 1))]


@contextmanager
def running(command: list[str], url: str, env: Mapping[str, str], core: int = SERVER_CORE) -> Iterator[int]:
    """A pinned server process from its first answer at ``url`` until the block ends; yields its process id."""
    log = Path(env.get("BENCH_LOG", os.devnull)).open("ab")  # noqa: SIM115 - closed below, after the process
    process = subprocess.Popen([*pinned(core), *command], env={**os.environ, **env}, stdout=log, stderr=log)
    try:
        await_answer(url, process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def await_answer(url: str, process: "subprocess.Popen[bytes]", seconds: float = 60) -> None:
    """Return when the URL answers 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server behind {url} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise SystemExit(f"{url} did not answer within {seconds} s")


def rss_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 2**20


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def ordering() -> list[str]:
    """The ordering command of this environment."""
    return [sys.executable, "-m", "ordering"]
