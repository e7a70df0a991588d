"""Parts of the cluster mode that want to know who asks, and prove who they are: with an authority of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tests.e2e.running import TOO_SLOW, until
from tests.faults.cluster import PATIENCE, Cluster, Instance
from tests.services.certificates import Authority
from tests.services.kafka import UNFENCED, Kafka
from tests.services.postgres import Postgres
from tests.services.processes import HOST
from tests.services.proxy import Direction, Passing

USER, PASSWORD = "cart", "right-pass-0"
REGISTRY_USER, REGISTRY_PASSWORD = "schemas", "registry-pass-3"
WRONG = "wrong-pass-7"
SECRETS = (PASSWORD, WRONG, REGISTRY_PASSWORD)
SCRAM = "SCRAM-SHA-256"
UNEXAMINED = "the broker's certificate cannot be verified: it is"
"""What is told of a certificate by whoever did not get to look at it in the second that he has for it."""
LISTENERS = {
    "TLS": "SSL",  # for anybody who trusts the authority
    "MUTUAL": "SSL",  # only for clients with a certificate of the authority
    "SCRAM": "SASL_SSL",
    "OTHERHOST": "SSL",  # with a certificate for another name
    "EXPIRED": "SSL",
    "PROXIED": "SASL_SSL",  # what is advertised at the proxy's port
}


@attrs.frozen
class World:
    """The broker, the authority that all of ours is signed by, and another one."""

    kafka: Kafka
    authority: Authority
    stranger: Authority
    folder: Path


def secured_kafka(authority: Authority, folder: Path) -> Kafka:
    """A broker with one listener for each way of being right or wrong; PLAINTEXT is for whoever sets it up."""
    right = _key_store(folder / "right.pem", authority, authority.issue("broker", HOST))
    stores = {
        "otherhost": _key_store(folder / "other.pem", authority, authority.issue("other", "broker.example")),
        "expired": _key_store(folder / "expired.pem", authority, authority.issue("expired", HOST, expired=True)),
    }
    extra: dict[str, str] = dict(UNFENCED)
    for name in (listener.lower() for listener in LISTENERS):
        extra |= {
            f"listener.name.{name}.ssl.keystore.type": "PEM",
            f"listener.name.{name}.ssl.keystore.location": str(stores.get(name, right)),
        }
    extra |= {
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": str(authority.ca),
    }
    for name in ("scram", "proxied"):
        module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        extra |= {
            f"listener.name.{name}.sasl.enabled.mechanisms": SCRAM,
            f"listener.name.{name}.{SCRAM.lower()}.sasl.jaas.config": module,
        }
    return Kafka(listeners=LISTENERS, extra=extra, scram_users={USER: PASSWORD})


def secured_postgres(authority: Authority, *hosts: str) -> Postgres:
    """A server that offers TLS with a certificate for these names, and lets nobody in without it."""
    server = Postgres()
    certificate, key = authority.issue("postgres", *hosts)
    for path in (certificate, key):
        shutil.copy(path, server.folder / path.name)  # the server's own user cannot read ours
    (server.folder / key.name).chmod(0o600)
    rules = server.folder / "pg_hba.conf"
    rules.write_text("local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
    for path in server.folder.iterdir():
        _give(path, server)
    server.settings = {
        **server.settings,
        "ssl": "on",
        "ssl_cert_file": str(server.folder / certificate.name),
        "ssl_key_file": str(server.folder / key.name),
        "hba_file": str(rules),
    }
    return server


class Recorder:
    """Keeps every byte that passes a proxy: its ``watch``."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, Direction], bytearray] = {}

    def __call__(self, passing: Passing) -> None:
        self._seen.setdefault((passing.link, passing.direction), bytearray()).extend(passing.data)

    def saw(self, text: str) -> bool:
        """Whether a text passed in clear."""
        return any(text.encode() in stream for stream in self._seen.values())

    @property
    def count(self) -> int:
        """How many bytes passed."""
        return sum(map(len, self._seen.values()))


def tls(authority: Authority) -> Mapping[str, str]:
    """Settings of a client that trusts this authority."""
    return {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": str(authority.ca)}


def scram(authority: Authority, user: str = USER, password: str = PASSWORD) -> Mapping[str, str]:
    """Settings of a client that also has an account."""
    return {
        **tls(authority),
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": SCRAM,
        "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD": password,
    }


def shown(files: tuple[Path, Path]) -> Mapping[str, str]:
    """Settings of a client that shows this certificate."""
    return {"KAFKA_SSL_CERTIFICATE_LOCATION": str(files[0]), "KAFKA_SSL_KEY_LOCATION": str(files[1])}


def with_registry(world: World) -> dict[str, str]:
    """Settings of a client that the registry lets in."""
    return {
        "SCHEMA_REGISTRY_CA_LOCATION": str(world.authority.ca),
        "SCHEMA_REGISTRY_USER": REGISTRY_USER,
        "SCHEMA_REGISTRY_PASSWORD": REGISTRY_PASSWORD,
    }


def refused(*arguments: str, env: Mapping[str, str]) -> str:
    """The one line that a command ends with; AssertionError if it does more, less, or what it was asked.

    On a loaded machine it may not get to learn the reason in its time: then it is run again.
    """
    given_up = time.monotonic() + PATIENCE
    while True:
        line = _refused(*arguments, env=env)
        slow = TOO_SLOW.search(line) is not None or UNEXAMINED in line
        if not slow or time.monotonic() > given_up:
            return line


def _refused(*arguments: str, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ordering", *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    *logged, line = done.stderr.splitlines()
    # Before a refusal for another reason, a client may have logged that a broker asks it to try again.
    assert all(" GETPID " in warning for warning in logged), done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
    return line.removeprefix("ordering: ")


def causes(instance: Instance) -> list[str]:
    """What keeps a service from being ready, by its readiness; empty while it does not answer at all.

    Without what the order service says in front of each.
    """
    try:
        with urllib.request.urlopen(f"{instance.url}/health/ready", timeout=30) as answer:  # noqa: S310 -- loopback
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)
    except (urllib.error.URLError, OSError):
        return []
    return list(found["causes"])


def placed(cart: Instance, order: Instance, name: str) -> str:
    """Place an order, and wait until the order service shows it; the id that it shows."""
    body = json.dumps({"orderId": name, "numItems": 2}).encode()
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{cart.url}/api/create-order", body, head)  # noqa: S310 -- loopback

    def takes() -> bool:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                return bool(answer.status == 201)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 503:  # once it was ready; after a moment in which the machine stood still, not yet
                    raise
        return False

    until(takes, f"{name} is taken", PATIENCE)
    found: dict[str, Any] = {}

    def shows() -> bool:
        try:
            url = f"{order.url}/api/order-details?orderId={name}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as shown_order:  # noqa: S310 -- loopback
                found.update(json.load(shown_order))
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
        return bool(found)

    until(shows, f"{name} is visible", PATIENCE)
    return str(found["data"]["orderId"])


def no_secret_and_no_trace(cluster: Cluster) -> None:
    """In nothing that the services have written, nor in what ``config show`` prints."""
    for output in ("table", "json"):
        printed = subprocess.run(
            [sys.executable, "-m", "ordering", "config", "show", "--output", output],
            env=cluster.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout
        assert not any(secret in printed for secret in SECRETS)
    for instance in cluster.instances:
        log = instance.log.read_text()
        assert log
        assert "Traceback" not in log
        assert not any(secret in log for secret in SECRETS)


def _key_store(path: Path, authority: Authority, issued: tuple[Path, Path]) -> Path:
    """Key, certificate and authority in one file, as Java reads them."""
    certificate, key = issued
    path.touch(mode=0o600)
    path.write_bytes(key.read_bytes() + certificate.read_bytes() + authority.ca.read_bytes())
    return path


def _give(path: Path, server: Postgres) -> None:
    if server.runs_as:
        shutil.chown(path, server.runs_as)
