"""The real schema registry: Apicurio with the Confluent API, its schemas in memory or in Kafka."""

from __future__ import annotations

import os
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

from tests.services.jars import fetched, java
from tests.services.processes import HOST, Process, free_ports, temporary_folder

HOW_TO_GET_IT = "a JDK of Eclipse Temurin, for example; JAVA_HOME may point to it"
_NEEDS = "real schema registry: needs Java 21 or newer and Maven (Debian: apt-get install maven)"


class Registry:
    """One schema registry; ``with Registry() as registry: ...`` starts and stops it.

    With ``storage="mem"`` it forgets everything when it ends; with ``"kafkasql"`` its schemas and their ids are in the
    Kafka at *bootstrap*.
    """

    def __init__(
        self,
        *,
        storage: Literal["mem", "kafkasql"] = "mem",
        bootstrap: str = "",
        heap: str = "256m",
        within: Path | None = None,
        background: bool = False,
    ) -> None:
        if (storage == "kafkasql") != bool(bootstrap):
            raise ValueError("a bootstrap address goes with kafkasql, and only with it")
        self._java = java(21, "real schema registry", HOW_TO_GET_IT)
        self._program = fetched("registry", _NEEDS)
        self.folder = temporary_folder("registry", within)
        self.port, management = free_ports(2)
        self.heap = heap
        self._background = background
        self.process: Process | None = None
        ours = ("QUARKUS_", "APICURIO_", "REGISTRY_", "JAVA_TOOL_OPTIONS")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._environment |= {"QUARKUS_HTTP_HOST": HOST, "QUARKUS_HTTP_PORT": str(self.port)}
        self._environment |= {"QUARKUS_MANAGEMENT_HOST": HOST, "QUARKUS_MANAGEMENT_PORT": str(management)}
        if storage == "kafkasql":
            self._environment |= {
                "APICURIO_STORAGE_KIND": "kafkasql",
                "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": bootstrap,
                # It waits out four such polls at start, 5 s each by default.
                "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": "500",
            }

    @property
    def url(self) -> str:
        """The address of the Confluent API, as SCHEMA_REGISTRY_URL has it."""
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def __enter__(self) -> Registry:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Registry:
        """Start it and wait until it answers."""
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        self.process = Process(
            [self._java, f"-Xmx{self.heap}", *quick, "-jar", self._program / "quarkus-run.jar"],
            log=self.folder / "registry.log",
            folder=self.folder,
            env=self._environment,
            background=self._background,
        )
        self.process.until(self.answers, "the schema registry")
        return self

    def answers(self) -> bool:
        """Whether it tells its subjects now."""
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as answer:  # noqa: S310 -- our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP): it accepts connections and never answers."""
        self._running.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._running.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Shut down in order (if it runs) and come back, on the same port."""
        self.shut_down()
        self.start()

    def shut_down(self) -> None:
        """End it in order."""
        if self.process is not None:
            self._end(signal.SIGTERM)

    def stop(self) -> None:
        """End it and remove its folder."""
        try:
            self.shut_down()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: int) -> None:
        process, self.process = self._running, None
        process.end(number)

    @property
    def _running(self) -> Process:
        if self.process is None:
            raise RuntimeError("the schema registry does not run")
        return self.process
