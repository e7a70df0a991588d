"""The cluster mode as people run it: instances as processes of their own, on real parts, with a topic, a subject, a
group and a database of their own."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.running import TOO_SLOW, carried_out
from tests.services.processes import Process, free_ports
from tests.services.surroundings import OURS

PATIENCE = 120.0
"""Seconds until something that must happen counts as not happening: generous, a loaded machine is no failure."""
PATIENT = {
    "ORDERING_ADMISSION_SECONDS": "600",
    "ORDERING_REQUEST_SECONDS": "600",
    "ORDERING_HEAD_SECONDS": "600",
    "ORDERING_IDLE_SECONDS": "600",
}
"""For scenarios in which nobody may be refused: not because this machine, or its disk, is slow either."""
ACCEPTING = {**PATIENT, "BROKER_OUTAGE": "accept"}
"""The same where no broker is away: an event that has waited for five seconds closes no door."""
UNCOMPILED = "PYTHONDONTWRITEBYTECODE"
"""With it a source tree is compiled anew at every start, a third of it; what people install is compiled once."""


def environment(**settings: str) -> dict[str, str]:
    """The environment of this process without any settings of ours, and these."""
    return {name: value for name, value in os.environ.items() if not name.startswith((*OURS, UNCOMPILED))} | settings


class Instance:
    """One process of one service, on a port of its own that it keeps through restarts. ``module`` is what is run."""

    def __init__(
        self,
        part: str,
        name: str,
        env: Mapping[str, str],
        folder: Path,
        pythonpath: Path | None,
        module: str = "ordering",
    ) -> None:
        self.part, self.name, self.module = part, name, module
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}.log"
        self._env = {**env, "API_PORT": str(self.port)}
        if pythonpath is not None:
            self._env["PYTHONPATH"] = str(pythonpath)
        self._folder = folder
        self._settings: Mapping[str, str] = {}
        self.process: Process | None = None

    def start(self, *, wait: bool = True, **settings: str) -> Instance:
        """Start it; with ``wait`` until it says that it is ready. ``settings`` are for this one life.

        It ends with us, however we end, and even if it stands still then; the folder goes with it.
        """
        self._settings = settings
        self._launch()
        if wait:
            self.await_ready()
        return self

    def _launch(self) -> None:
        self.process = Process(
            [sys.executable, "-m", self.module, "serve", self.part],
            log=self.log,
            folder=self._folder,
            env={**self._env, **self._settings},
            cwd=Path.cwd(),
        )

    def lives(self) -> bool:
        """Whether it runs. It ends at its start where the database needs more than the seconds that it has then, and
        is started again, as people's supervisors do."""
        if not self._running.ended():
            return True
        last = self.last_words().rpartition("\n{")[2]
        if '"service.refused"' not in last or TOO_SLOW.search(last) is None:
            return False
        self._running.wait()
        self._launch()
        return True

    def is_ready(self) -> bool:
        """What its readiness endpoint says now."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as answer:  # noqa: S310 -- loopback
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def await_ready(self) -> None:
        """Return when it is ready; AssertionError with its log if it ends before or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            assert self.lives(), f"{self.name} ended with {self._running.status}:\n{self.last_words()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready after {PATIENCE} s:\n{self.last_words()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self._running.wait()
        self.process = None

    def stop(self) -> int:
        """A clean stop; the exit status."""
        self._signal(signal.SIGTERM)
        status = self._running.wait(PATIENCE)
        self.process = None
        return status

    def pause(self) -> None:
        """SIGSTOP: it stands still with everything it holds."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def descriptors(self) -> int:
        """How many files and connections it has open."""
        return len(list(Path(f"/proc/{self._running.pid}/fd").iterdir()))

    def connections(self) -> int:
        """How many connections of clients it has open."""
        ours, listens = f":{self.port:04X}", "0A"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[1].endswith(ours) and row[3] != listens and row[9] != "0" for row in rows)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4_000:]

    def said(self, text: str) -> int:
        """How often its log holds a text."""
        return self.log.read_text(errors="replace").count(text)

    def _signal(self, number: int) -> None:
        self._running.send(number)

    @property
    def _running(self) -> Process:
        assert self.process is not None, f"{self.name} does not run"
        return self.process


class Cluster:
    """Instances on one topic and one database. ``settings`` go to every instance and command."""

    def __init__(
        self,
        folder: Path,
        *,
        bootstrap: str,
        registry: str,
        database: str | None,
        topic: str,
        pythonpath: Path | None = None,
        **settings: str,
    ) -> None:
        self.folder, self.topic, self.bootstrap, self.database = folder, topic, bootstrap, database
        self._pythonpath = pythonpath
        self.module = "ordering"
        """What instances run."""
        self.env = environment(
            ORDERING_MODE="cluster",
            ORDERING_DATA_DIR=str(folder / "data"),
            KAFKA_BOOTSTRAP_SERVERS=bootstrap,
            SCHEMA_REGISTRY_URL=registry,
            KAFKA_TOPIC=topic,
            KAFKA_CONSUMER_GROUP=f"{topic}-group",
            ORDERING_LOG_FORMAT="json",
            **({"DATABASE_URL": database} if database is not None else {}),
            **settings,
        )
        self.instances: list[Instance] = []

    def prepare(self, partitions: int = 3, *, topic: bool = True) -> Cluster:
        """Tables, topic and schemas, by the commands that people use; without the topic if it shall be missing."""
        if self.database is not None:
            carried_out("migrate", "up", env=self.env)
        if topic:
            self.ensure_topic(partitions)
        carried_out("schemas", "register", env=self.env)
        return self

    def ensure_topic(self, partitions: int = 3) -> None:
        """Make the topic by the command that people use."""
        carried_out("topics", "ensure", env={**self.env, "ORDERING_PARTITIONS": str(partitions)})

    def cart(self, *, start: bool = True, **settings: str) -> Instance:
        """Another cart service."""
        return self._instance("cart", start=start, **settings)

    def order(self, *, start: bool = True, **settings: str) -> Instance:
        """Another order service."""
        return self._instance("order", start=start, **settings)

    def _instance(self, part: str, *, start: bool, **settings: str) -> Instance:
        number = sum(instance.part == part for instance in self.instances) + 1
        made = Instance(part, f"{part}-{number}", {**self.env, **settings}, self.folder, self._pythonpath, self.module)
        self.instances.append(made)
        return made.start() if start else made

    def end(self) -> None:
        """End whatever is left."""
        for instance in self.instances:
            if instance.process is not None:
                instance.resume()
                instance.kill()


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster for one scenario; nothing of it survives the block."""
    try:
        yield cluster
    finally:
        cluster.end()
