"""Settings of the cluster mode: what it needs, and what brokers, registry and databases are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordering.entrypoints.settings import OPTIONS, Mode, load
from ordering.entrypoints.settings_values import Fault, SettingsError

CLUSTER = {"KAFKA_BOOTSTRAP_SERVERS": "broker:9092", "SCHEMA_REGISTRY_URL": "http://registry:8081"}


def faults_of(environ: dict[str, str]) -> tuple[Fault, ...]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.faults


def test_a_broker_alone_chooses_the_cluster_mode() -> None:
    """`auto` is the default; whoever wants to be safe from a misspelt name asks for the mode."""
    assert load(CLUSTER).settings.effective_mode is Mode.CLUSTER
    assert load(CLUSTER | {"ORDERING_MODE": "cluster"}).settings.effective_mode is Mode.CLUSTER


def test_the_cluster_mode_names_what_it_cannot_do_without() -> None:
    """It never falls back to files silently."""
    faults = faults_of({"ORDERING_MODE": "cluster", "KAFKA_BOOTSTRAP_SERVER": "broker:9092"})
    (registry,) = faults_of({"KAFKA_BOOTSTRAP_SERVERS": "broker:9092"})

    assert [(fault.name, fault.message) for fault in faults] == [
        ("KAFKA_BOOTSTRAP_SERVERS", "is needed with ORDERING_MODE=cluster"),
        ("SCHEMA_REGISTRY_URL", "is needed with ORDERING_MODE=cluster"),
    ]
    assert registry.name == "SCHEMA_REGISTRY_URL"


def test_postgresql_belongs_to_the_cluster_mode() -> None:
    """One schema per service in one database, or a database each; without a URL the stores are files."""
    url = "postgresql://bob:hunter2@db/orders"
    (fault,) = faults_of({"DATABASE_URL": url})
    both = load(CLUSTER | {"DATABASE_URL": url}).settings
    mixed = load(CLUSTER | {"DATABASE_URL": url, "CART_DATABASE_URL": "sqlite:///stores"}).settings

    assert fault.message == "PostgreSQL cannot be used in embedded mode, only with ORDERING_MODE=cluster"
    assert (both.cart_database, both.order_database, both.uses_files) == (url, url, False)
    assert (mixed.cart_database, mixed.cart_dir, mixed.order_database) == (None, Path("stores"), url)
    assert mixed.uses_files
    assert load(CLUSTER).settings.uses_files


@pytest.mark.parametrize(
    "servers", ["broker:99999", "broker:0", "broker:x", "a b", ":9092", ":::", "[::1", ",", "a:9092;b:9092", "a:9092/x"]
)
def test_brokers_that_nobody_could_reach_are_refused(servers: str) -> None:
    """librdkafka takes them: port 99999 would be another one."""
    (fault,) = faults_of(CLUSTER | {"KAFKA_BOOTSTRAP_SERVERS": servers})

    assert fault.name == "KAFKA_BOOTSTRAP_SERVERS"
    assert "host:port" in fault.message


@pytest.mark.parametrize(
    "servers", ["broker", "broker:9092", "a:9092, b_2:9093,", "[::1]:9092", "10.0.0.1:65535", "SASL_SSL://a.b-c:9092"]
)
def test_brokers_as_librdkafka_takes_them_are_taken(servers: str) -> None:
    """Names, addresses of both families, several of them."""
    assert load(CLUSTER | {"KAFKA_BOOTSTRAP_SERVERS": servers}).settings.kafka_bootstrap_servers == servers


@pytest.mark.parametrize("place", ["db:99999", "db:0", "db:x", "[::1", "a,,b", "u:p#ss@db", "u:p/ss@db:5432", "a b"])
def test_a_database_that_nobody_could_reach_is_refused(place: str) -> None:
    """The driver fails on some of them in ways of its own."""
    (fault,) = faults_of(CLUSTER | {"DATABASE_URL": f"postgresql://{place}/orders"})

    assert fault.name == "DATABASE_URL"
    assert "postgresql://user:password@host:port/database" in fault.message


@pytest.mark.parametrize(
    "place", ["", "db", "db:5432", ":5432", "a:5432,b:5433", "u:p%23ss@[::1]:5432", "bob:hunter2@%2Frun%2Fpostgresql"]
)
def test_a_database_as_the_driver_takes_it_is_taken(place: str) -> None:
    """Several hosts, sockets, and none: PGHOST or this machine."""
    url = f"postgresql://{place}/orders?sslmode=require"

    assert load(CLUSTER | {"DATABASE_URL": url}).settings.cart_database == url


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SASL_PASSWORD": "hunter2"}, "KAFKA_SASL_PASSWORD"),
        ({"SCHEMA_REGISTRY_USER": "bob"}, "SCHEMA_REGISTRY_PASSWORD"),
        ({"SCHEMA_REGISTRY_URL": "registry:8081"}, "SCHEMA_REGISTRY_URL"),
        ({"DATABASE_URL": "mysql://db/x"}, "DATABASE_URL"),
    ],
)
def test_half_of_a_security_setting_is_refused(settings: dict[str, str], name: str) -> None:
    """Nobody believes to be authenticated who is not."""
    (fault,) = faults_of(CLUSTER | settings)

    assert fault.name == name
    assert "hunter2" not in str(fault)


def test_kafka_properties_pass_through_and_named_settings_win() -> None:
    """By librdkafka's names; capitals and underscores are how an environment writes them."""
    settings = load(
        CLUSTER
        | {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": "bob",
            "KAFKA_SASL_PASSWORD": "hunter2",
            "KAFKA_CONFIG_SOCKET_KEEPALIVE_ENABLE": "true",
            "KAFKA_CONFIG_SASL_USERNAME": "somebody else",
            "KAFKA_CONFIG_SASL_OAUTHBEARER_CLIENT_SECRET": "hunter3&hunter4",
        }
    ).settings

    assert settings.kafka_options == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": "bob",
        "sasl.password": "hunter2",
        "socket.keepalive.enable": "true",
        "sasl.oauthbearer.client.secret": "hunter3&hunter4",
    }
    shown = OPTIONS["kafka_config"].shown(settings.kafka_config)
    assert "SOCKET_KEEPALIVE_ENABLE=true" in shown
    assert "hunter" not in shown + repr(settings) + OPTIONS["kafka_sasl_password"].shown(settings.kafka_sasl_password)


@pytest.mark.parametrize(
    "name",
    ["SSL_KEY_PEM", "SSL_KEYSTORE_PASSWORD", "SASL_OAUTHBEARER_CONFIG", "SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_PEM"],
)
def test_what_is_secret_of_the_kafka_client_shows_nowhere(name: str) -> None:
    """Whatever characters it has: an ampersand ends nothing, an @ begins nothing."""
    settings = load(
        CLUSTER | {f"KAFKA_CONFIG_{name}": "hunter2@hunter3&hunter4", "KAFKA_CONFIG_CLIENT_ID": "me"}
    ).settings
    shown = OPTIONS["kafka_config"].shown(settings.kafka_config)

    assert "CLIENT_ID=me" in shown
    assert "hunter" not in shown + repr(settings)


def test_kafka_properties_may_stand_in_the_file(tmp_path: Path) -> None:
    """The environment wins, name by name."""
    file = tmp_path / "ordering.toml"
    file.write_text('kafka_config_client_id = "a"\nkafka_config_log_level = 3\nschema_registry_auto_register = true\n')
    loaded = load(CLUSTER | {"ORDERING_CONFIG": str(file), "KAFKA_CONFIG_CLIENT_ID": "b"})

    assert loaded.settings.kafka_options["client.id"] == "b"
    assert loaded.settings.kafka_options["log.level"] == "3"
    assert loaded.sources["kafka_config"] == f"{file} and environment"
    assert loaded.settings.schema_registry_auto_register is True


def test_brokers_do_not_matter_in_embedded_mode() -> None:
    """A mode that was asked for is not overruled."""
    settings = load({"ORDERING_MODE": "embedded", "KAFKA_BOOTSTRAP_SERVERS": "broker:9092"}).settings

    assert settings.effective_mode is Mode.EMBEDDED
