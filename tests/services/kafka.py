"""The real Kafka: one KRaft node (broker and controller in one process) in a temporary folder."""

from __future__ import annotations

import base64
import os
import socket
import struct
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.services.jars import fetched, java
from tests.services.part import Part
from tests.services.processes import HOST, Process, free_ports, run

HOW_TO_GET_IT = "Debian: apt-get install openjdk-17-jre-headless maven"
_NEEDS = f"real Kafka: needs Java 17 or newer and Maven ({HOW_TO_GET_IT})"
# What one node needs, and what makes tests quick.
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "3",
    "min.insync.replicas": "1",
    "default.replication.factor": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    # A killed broker must wait for its own old session before it is let in again; 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Members under KIP-848 have the broker's session (45 s by default): here the same 6 s as classic members have.
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
    "group.consumer.heartbeat.interval.ms": "1500",
    "num.partitions": "3",
    # Tests write records of other times; the broker's own retention would soon delete them.
    "log.retention.ms": "-1",
}


UNFENCED = {"broker.session.timeout.ms": "60000"}
"""Lines of server.properties for a node that nobody kills: it leads its partitions on however long it stands still."""


class Kafka(Part):
    """One Kafka node.

    ``bootstrap`` is its address. Clients that come through ``proxied`` (a second listener) are told to find the broker
    at ``proxy_port``: ``Proxy(kafka.proxied, port=kafka.proxy_port)`` then sees all their traffic, also after the
    metadata. *listeners* adds more, by name and security protocol (``{"TLS": "SSL"}``), their addresses are in
    ``addresses``; *extra* is any line of server.properties; *scram_users* are made before the first start.
    """

    name = "kafka"

    def __init__(
        self,
        *,
        listeners: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
        heap: str = "512m",
        within: Path | None = None,
    ) -> None:
        self._java, self._jars = requirements()
        super().__init__(within)
        protocols = {"PLAINTEXT": "PLAINTEXT", "PROXIED": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(listeners or {})}
        *ports, self.proxy_port = free_ports(len(protocols) + 1)
        self.addresses = {name: f"{HOST}:{port}" for name, port in zip(protocols, ports, strict=True)}
        self.cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self.heap = heap
        self._scram_users = dict(scram_users or {})
        advertised = {**self.addresses, "PROXIED": f"{HOST}:{self.proxy_port}"}
        self.settings = {
            **_SETTINGS,
            "listeners": _listed(self.addresses),
            "advertised.listeners": _listed(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
            "controller.quorum.voters": f"1@{self.addresses['CONTROLLER']}",
            "log.dirs": str(self.folder / "data"),
            **(extra or {}),
        }

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return self.addresses["PLAINTEXT"]

    @property
    def proxied(self) -> str:
        """The address of the listener for clients behind a proxy; what a proxy forwards to."""
        return self.addresses["PROXIED"]

    @property
    def behind_proxy(self) -> str:
        """The bootstrap address of clients whose traffic all goes through a proxy."""
        return f"{HOST}:{self.proxy_port}"

    def _launch(self) -> Process:
        properties = self.folder / "server.properties"
        if not (self.folder / "data").exists():
            properties.touch(mode=0o600)
            properties.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
            scram = [
                word
                for name, password in self._scram_users.items()
                for word in ("--add-scram", f"SCRAM-SHA-256=[name={name},password={password}]")
            ]
            # Not as a word of its own: an id may begin with a dash.
            identity = f"--cluster-id={self.cluster_id}"
            self._run("kafka.tools.StorageTool", "format", identity, "-c", str(properties), *scram)
        return Process(
            [*self._command(self.heap), "kafka.Kafka", properties],
            log=self.folder / "kafka.log",
            folder=self.folder,
            env=_environment(),
        )

    def _command(self, heap: str) -> list[str]:
        logger = "-Dorg.slf4j.simpleLogger"
        told = [
            f"{logger}.defaultLogLevel=warn",
            f"{logger}.showDateTime=true",
            f"{logger}.dateTimeFormat=HH:mm:ss.SSS",
        ]
        return [str(self._java), f"-Xmx{heap}", "-Djava.awt.headless=true", *told, "-cp", f"{self._jars}/*"]

    def _run(self, name: str, *arguments: str, given: str = "") -> str:
        short_lived = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        command = [*self._command("256m"), *short_lived, name, *arguments]
        return run(command, folder=self.folder, env=_environment(), given=given)

    def tool(self, name: str, *arguments: str, bootstrap: str = "", given: str = "") -> str:
        """Run one of Kafka's command-line tools against this node and return its output; StartFailed when it fails.

        It may also be against another one, at *bootstrap*; this one need not run then. The tool reads *given*.
        *name* is the class under ``org.apache.kafka.tools``: ``TopicCommand``, ``consumer.ConsoleConsumer``,
        ``consumer.group.ConsumerGroupCommand``, ``BrokerApiVersionsCommand``.
        """
        return self._run(
            f"org.apache.kafka.tools.{name}",
            "--bootstrap-server",
            bootstrap or self.bootstrap,
            *arguments,
            given=given,
        )

    def answers(self) -> bool:
        """Whether a client that asks for metadata now gets an answer that names the broker."""
        try:
            return _brokers(self.addresses["PLAINTEXT"]) > 0
        except (OSError, struct.error):
            return False


def requirements() -> tuple[Path, Path]:
    """Return Java and the folder of the jars; Missing, with one line that says what to install, when there is none."""
    return java(17, "real Kafka", HOW_TO_GET_IT), fetched("kafka", _NEEDS)


def _listed(addresses: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in addresses.items() if address)


def _environment() -> dict[str, str]:
    """Ours without what would change how Java starts."""
    return {name: value for name, value in os.environ.items() if name not in {"JAVA_TOOL_OPTIONS", "CLASSPATH"}}


def _brokers(address: str) -> int:
    """Ask for the metadata of no topic (Metadata, version 1) and return how many brokers the answer names."""
    host, _, port = address.rpartition(":")
    client = b"ready?"
    header = struct.pack(f">hhih{len(client)}s", 3, 1, 1, len(client), client)
    request = header + struct.pack(">i", 0)
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb").read(12)
    _size, _correlation, brokers = struct.unpack(">iii", answer)
    return int(brokers)
