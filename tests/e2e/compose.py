"""The compose file in a container engine, under a project name of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import attrs

REPOSITORY = Path(__file__).parents[2]
SERVICES = ("kafka", "schema-registry", "postgres", "cart-service", "order-service")
START_SECONDS = 300.0
"""The registry alone may take a minute on a loaded machine."""
BUILD_SECONDS = 900.0
GRACE_SECONDS = 180.0


def _client() -> list[str]:
    """Compose in whichever of its two forms is here."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def engine() -> str | None:
    """Why no container engine can be used, or None."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    asked = _docker("info")
    return asked.stderr.strip() or "docker info failed" if asked.returncode else None


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)


@attrs.frozen
class Project:
    """One run of ``docker-compose.yml``; what is published is where the environment says, as for everybody."""

    name: str

    @property
    def cart(self) -> str:
        """Where the cart service is published."""
        return f"http://127.0.0.1:{os.environ.get('CART_API_PORT', '8000')}"

    @property
    def order(self) -> str:
        """Where the order service is published."""
        return f"http://127.0.0.1:{os.environ.get('ORDER_API_PORT', '8001')}"

    @property
    def registry(self) -> str:
        """The base URL of the registry's Confluent API."""
        return f"http://127.0.0.1:{os.environ.get('REGISTRY_PORT', '8081')}/apis/ccompat/v7"

    @property
    def brokers(self) -> str:
        """Kafka's listener for this machine."""
        return f"127.0.0.1:{os.environ.get('KAFKA_PORT', '9092')}"

    @property
    def database(self) -> str:
        """The database of both services."""
        password, port = os.environ.get("POSTGRES_PASSWORD", "ordering"), os.environ.get("POSTGRES_PORT", "5432")
        return f"postgresql://ordering:{password}@127.0.0.1:{port}/ordering"

    def compose(self, *arguments: str, seconds: float = START_SECONDS) -> str:
        """Run one compose command to its end; what it printed. Raises AssertionError with its errors if it fails."""
        ended = subprocess.run(
            [*_client(), "-p", self.name, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "ORDERING_IMAGE": self._image},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # a consumer prints records as they are
            timeout=seconds,
            check=False,
        )
        shown = f"docker-compose {' '.join(arguments)} ended with {ended.returncode}"
        assert ended.returncode == 0, f"{shown}:\n{ended.stdout}\n{ended.stderr}\n{self.logs()}"
        return ended.stdout

    def build(self) -> None:
        """The image of the services."""
        self.compose("build", seconds=BUILD_SECONDS)

    def up(self) -> float:
        """Start whatever does not run and wait until all of it is healthy and ready; the seconds that took.

        Compose gives up on a container that ends while it waits for it, also when the restart policy brings it back
        a second later: so it is asked twice, and says so.
        """
        began = time.monotonic()
        try:
            self.compose("up", "-d")
        except AssertionError as error:
            print(f"\nonce more, after: {str(error)[:1_500]}")
            self.compose("up", "-d")
        self._await(self._healthy, "every container healthy")
        self._await(lambda: _ready(self.cart) and _ready(self.order), "both services ready")
        return time.monotonic() - began

    def kill(self, service: str) -> None:
        """End a service without warning."""
        self.compose("kill", "-s", "KILL", service)

    def down(self) -> None:
        """Stop and remove the containers; volumes stay."""
        self.compose("down", seconds=GRACE_SECONDS)

    def remove(self) -> None:
        """Remove everything that the project made."""
        self.compose("down", "-v", seconds=GRACE_SECONDS)
        _docker("image", "rm", "-f", self._image)

    def logs(self, lines: int = 40) -> str:
        """The last lines of every container."""
        command = [*_client(), "-p", self.name, "logs", "--no-color", f"--tail={lines}"]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout

    @property
    def _image(self) -> str:
        return f"{self.name}:test"

    def _healthy(self) -> bool:
        told = self._containers('{{.Label "com.docker.compose.service"}}', "health=healthy")
        return set(told) == set(SERVICES)

    def _containers(self, shown: str, chosen: str) -> list[str]:
        """A line for each running container of the project that fits; far cheaper than asking compose."""
        project = f"label=com.docker.compose.project={self.name}"
        return _docker("ps", "--filter", project, "--filter", chosen, "--format", shown).stdout.splitlines()

    def _await(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"not within {START_SECONDS:g} s: {what}\n{self.logs()}"
            time.sleep(0.5)  # nothing tells; each look starts a process


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:  # noqa: S310 -- loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
