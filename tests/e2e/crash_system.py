"""The system under the crash test: the real command, killed as a whole without warning."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import attrs


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.define
class System:
    """``ordering serve all`` on one data folder, started and killed again and again."""

    data: Path
    log: Path
    pythonpath: Path | None = None
    cart_port: int = attrs.Factory(free_port)
    order_port: int = attrs.Factory(free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def cart_url(self) -> str:
        """Where the cart service answers."""
        return f"http://127.0.0.1:{self.cart_port}"

    @property
    def order_url(self) -> str:
        """Where the order service answers."""
        return f"http://127.0.0.1:{self.order_port}"

    def start(self) -> None:
        """Start and return when both services are ready."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("ORDERING_", "KAFKA_"))}
        env |= {
            "ORDERING_DATA_DIR": str(self.data),
            "CART_API_PORT": str(self.cart_port),
            "ORDER_API_PORT": str(self.order_port),
        }
        if self.pythonpath is not None:
            env["PYTHONPATH"] = str(self.pythonpath)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ordering", "serve", "all"],
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for url in (self.cart_url, self.order_url):
            self._await_ready(f"{url}/health/ready")

    def kill(self) -> None:
        """kill -9 of the parent and of every child it has, all at once."""
        assert self.process is not None
        for pid in [*_descendants(self.process.pid), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """A clean stop; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.process = None
        return status

    def _await_ready(self, url: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"serve all ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 -- loopback
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError(f"{url} was not ready within {seconds} s:\n{self.log.read_text()[-2000:]}")


def _descendants(pid: int) -> list[int]:
    """Every process below one, by the kernel's own list."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found
