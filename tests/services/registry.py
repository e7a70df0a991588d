"""The real schema registry: Apicurio with the Confluent API, its schemas in memory or in Kafka."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

from tests.services.jars import fetched, java
from tests.services.part import Part
from tests.services.processes import HOST, Process, free_ports

HOW_TO_GET_IT = "a JDK of Eclipse Temurin, for example; JAVA_HOME may point to it"
_NEEDS = "real schema registry: needs Java 21 or newer and Maven (Debian: apt-get install maven)"


class Registry(Part):
    """One schema registry.

    With ``storage="mem"`` it forgets everything when it ends; with ``"kafkasql"`` its schemas and their ids are in the
    Kafka at *bootstrap*.
    """

    name = "registry"

    def __init__(
        self,
        *,
        storage: Literal["mem", "kafkasql"] = "mem",
        bootstrap: str = "",
        heap: str = "256m",
        within: Path | None = None,
    ) -> None:
        if (storage == "kafkasql") != bool(bootstrap):
            raise ValueError("a bootstrap address goes with kafkasql, and only with it")
        self._java, self._program = requirements()
        super().__init__(within)
        self.port, management = free_ports(2)
        self.heap = heap
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

    def _launch(self) -> Process:
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return Process(
            [self._java, f"-Xmx{self.heap}", *quick, "-jar", self._program / "quarkus-run.jar"],
            log=self.folder / "registry.log",
            folder=self.folder,
            env=self._environment,
        )

    def answers(self) -> bool:
        """Whether it tells its subjects now."""
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as answer:  # noqa: S310 -- our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def requirements() -> tuple[Path, Path]:
    """Return Java and the program's folder; Missing, with one line that says what to install, when there is none."""
    return java(21, "real schema registry", HOW_TO_GET_IT), fetched("registry", _NEEDS)
