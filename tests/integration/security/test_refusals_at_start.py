"""What is set wrongly is refused at the start, in one line: the client's properties, the database, the registry."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ordering.entrypoints.settings_values import mask
from tests.faults.cluster import PATIENCE, environment
from tests.integration.security.secured import WRONG, World, refused, scram, tls, with_registry
from tests.services.postgres import Postgres
from tests.services.processes import HOST
from tests.services.registry_stub import RegistryStub

pytestmark = [pytest.mark.process, pytest.mark.slow]


def of(world: World, listener: str, folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a command against one listener."""
    return environment(
        ORDERING_MODE="cluster",
        ORDERING_DATA_DIR=str(folder),
        KAFKA_BOOTSTRAP_SERVERS=world.kafka.addresses[listener],
        SCHEMA_REGISTRY_URL="http://127.0.0.1:9",
        KAFKA_TOPIC="properties",
        API_PORT="0",
        **settings,
    )


def test_any_property_of_the_client_can_be_set(world: World, tmp_path: Path) -> None:
    """This one takes the broker with the certificate of another host."""
    others = {"KAFKA_CONFIG_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM": "none"}
    env = of(world, "OTHERHOST", tmp_path, **tls(world.authority), **others)
    done = subprocess.run(
        [sys.executable, "-m", "ordering", "topics", "ensure", "--dry-run"],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [("topics", "ensure"), ("serve", "cart"), ("serve", "order")], ids=" ".join)
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"KAFKA_CONFIG_NO_SUCH_THING": "1"}, 'No such configuration property: "no.such.thing"'),
        (
            {"KAFKA_CONFIG_SOCKET_TIMEOUT_MS": "many"},
            'Invalid value for configuration property "socket.timeout.ms"',
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/nowhere.pem"},
            "ssl.ca.location: no certificate can be read from the file that it names",
        ),
    ],
    ids=["unknown", "value", "no such file"],
)
def test_a_property_that_cannot_be_used_is_refused_at_the_start(
    world: World, command: tuple[str, ...], settings: Mapping[str, str], line: str, tmp_path: Path
) -> None:
    """By services as by commands, before anything is connected."""
    assert refused(*command, env=of(world, "TLS", tmp_path, **settings)) == f"Kafka settings: {line}"


# ------------------------------------------------------------------------------------------------ database, registry


@pytest.mark.parametrize("command", [("migrate", "up"), ("serve", "cart"), ("serve", "order")], ids=" ".join)
@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("CA", r"the server's certificate is not accepted: unable to get local issuer certificate"),
        ("host name", r"the server's certificate is not accepted: Hostname mismatch, certificate is not valid for"),
        ("password", "the database refuses this user or password"),
        ("no TLS", "the database does not let this user in from here"),
    ],
)
def test_a_database_that_is_not_right_is_refused_in_one_line(
    world: World, server: Postgres, command: tuple[str, ...], fault: str, line: str, tmp_path: Path
) -> None:
    """With the cause and the address, and without any password."""
    url = f"{server.url()}?sslmode=verify-full&sslrootcert={world.authority.ca}"
    match fault:
        case "CA":
            url = url.replace(str(world.authority.ca), str(world.stranger.ca))
        case "host name":
            url = url.replace(f"@{HOST}:", "@localhost:")
        case "password":
            url = url.replace(server.password, WRONG)
        case "no TLS":
            url = url.replace("verify-full", "disable")
    env = of(world, "SCRAM", tmp_path, DATABASE_URL=url, **scram(world.authority))
    told = refused(*command, env=env)
    assert line in told
    assert told.endswith(f"({mask(url)})")
    assert server.password not in told


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (lambda w: {"SCHEMA_REGISTRY_CA_LOCATION": str(w.stranger.ca)}, "shows a certificate that is not trusted"),
        (lambda _: {"SCHEMA_REGISTRY_PASSWORD": WRONG}, "does not accept our user or password"),
    ],
    ids=["CA", "password"],
)
def test_a_registry_that_is_not_right_is_refused_in_one_line(
    world: World,
    registry: RegistryStub,
    settings: Callable[[World], Mapping[str, str]],
    line: str,
    tmp_path: Path,
) -> None:
    """By the commands that ask it."""
    env = of(world, "SCRAM", tmp_path)
    env |= {**with_registry(world), "SCHEMA_REGISTRY_URL": registry.url, **settings(world)}
    for command in ("diff", "register"):
        assert refused("schemas", command, env=env).startswith(f"the schema registry {line}")
