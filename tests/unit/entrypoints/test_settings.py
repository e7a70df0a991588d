"""Settings: one table, read once, everything wrong told at once."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from ordering.entrypoints.settings import OPTIONS, LogLevel, Mode, Settings, both_ports, load
from ordering.entrypoints.settings_values import Fault, SettingsError, mask

NUMBERS = ("integer", "number", "decimal", "port")
"""Kinds of settings that have a least and a greatest value."""


def faults_of(environ: dict[str, str]) -> tuple[Fault, ...]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.faults


def test_an_empty_environment_gives_the_defaults() -> None:
    """A newcomer sets nothing."""
    loaded = load({"HOME": "/root", "PATH": "/bin"})

    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.settings.effective_mode is Mode.EMBEDDED
    assert loaded.settings.host == "127.0.0.1"


def test_every_default_is_what_the_table_says() -> None:
    """The README prints the table, programs run on the class."""
    settings = Settings()

    assert {name: getattr(settings, name) for name in OPTIONS} == {name: o.default for name, o in OPTIONS.items()}


def test_every_default_passes_its_own_rule() -> None:
    """What is shown as default can also be set."""
    for option in OPTIONS.values():
        if option.default not in (None, ()) and option.prefix is None:
            assert option.kind.parse(option.shown(option.default)) == option.default, option.name


@pytest.mark.parametrize("name", [option.name for option in OPTIONS.values() if option.kind.label in NUMBERS])
def test_both_ends_of_a_range_can_be_set(name: str) -> None:
    """What a refusal offers is taken, whatever it is as a binary fraction."""
    rule = next(fault.message for fault in faults_of({name: "x"}) if fault.name == name)
    ends = re.fullmatch(r"must be a (?:whole )?number from (\S+) to (\S+)", rule)
    assert ends is not None
    (option,) = (option for option in OPTIONS.values() if option.name == name)

    for end in ends.groups():
        assert float(str(option.kind.parse(end))) == float(end)


def test_values_become_their_types() -> None:
    """Numbers, exact decimals, lists and choices."""
    settings = load(
        {
            "ORDERING_SHIPPING_RATE": "0.025",
            "ORDERING_PARTITIONS": "12",
            "ORDERING_CORS_ORIGINS": "https://a.example, https://b.example",
            "ORDERING_LOG_LEVEL": "debug",
            "ORDERING_DATA_DIR": "/srv/orders",
            "ORDERING_SEED": "7",
        }
    ).settings

    assert settings.shipping_rate == Decimal("0.025")
    assert settings.partitions == 12
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.log_level is LogLevel.DEBUG
    assert settings.data_dir == Path("/srv/orders")
    assert settings.seed == 7


def test_settings_cannot_change() -> None:
    """They are read once."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Settings().topic = "other"  # type: ignore[misc]


def test_all_faults_come_at_once_with_name_value_and_source() -> None:
    """Nobody fixes one thing per start."""
    faults = faults_of({"ORDERING_PARTITIONS": "none", "ORDERING_LOG_LEVEL": "loud", "CART_API_PORT": "70000"})

    assert [(fault.name, fault.value, fault.source) for fault in faults] == [
        ("CART_API_PORT", "70000", "environment"),
        ("ORDERING_PARTITIONS", "none", "environment"),
        ("ORDERING_LOG_LEVEL", "loud", "environment"),
    ]
    assert str(faults[1]) == "ORDERING_PARTITIONS='none' (environment): must be a whole number from 1 to 1000"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORDERING_SHIPPING_RATE", "NaN"),
        ("ORDERING_SHIPPING_RATE", "1.1"),
        ("ORDERING_SHIPPING_RATE", "1e999999999"),
        ("ORDERING_SHIPPING_RATE", "two"),
        ("ORDERING_PARTITIONS", "0"),
        ("ORDERING_PARTITIONS", "3.0"),
        ("ORDERING_PARTITIONS", "9" * 5_000),
        ("ORDERING_SHUTDOWN_SECONDS", "Infinity"),
        ("ORDERING_SEED", "-1"),
        ("ORDERING_KILL_AT", "somewhere"),
        ("ORDERING_KILL_AT", "before-begin:"),
        ("ORDERING_KILL_AT", "before-begin:0"),
        ("ORDERING_KILL_AT", "before-begin:\u0661"),
        ("ORDERING_KILL_AT", "before-begin:" + "9" * 5_000),
        ("API_PORT", "-1"),
        ("BROKER_OUTAGE", "REJECT"),
        ("ORDERING_MODE", "kafka"),
        ("DEFAULT_CURRENCY", "usd"),
        ("DEFAULT_CURRENCY", "XAU"),
        ("KAFKA_TOPIC", "no spaces"),
        ("KAFKA_TOPIC", ".."),
        ("KAFKA_TOPIC", "order-events\n"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "sqlite:///"),
        ("ORDERING_QUEUE_MAX", "511"),
        ("ORDERING_ADMISSION_MAX", "0"),
        ("ORDERING_ADMISSION_SECONDS", "0.01"),
        ("ORDERING_WAITERS_MAX", "0"),
        ("ORDERING_CONNECTIONS_MAX", "255"),
        ("ORDERING_HEAD_SECONDS", "0"),
        ("ORDERING_BODY_SECONDS", "601"),
        ("ORDERING_SEND_SECONDS", "NaN"),
        ("ORDERING_IDLE_SECONDS", "-1"),
        ("KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("KAFKA_GROUP_PROTOCOL", "kip-848"),
        ("KAFKA_REPLICATION", "0"),
        ("SCHEMA_REGISTRY_AUTO_REGISTER", "maybe"),
        ("SCHEMA_REGISTRY_URL", "registry:8081"),
        ("SCHEMA_REGISTRY_URL", "http://"),
        ("SCHEMA_REGISTRY_URL", "http://registry:99999"),
        ("SCHEMA_REGISTRY_URL", "http://registry/?subject=x"),
        ("ORDERING_CORS_ORIGINS", "shop.example"),
        ("ORDERING_CORS_ORIGINS", "https://shop.example/"),
        ("ORDERING_ALLOWED_HOSTS", "https://shop.example"),
        ("ORDERING_ALLOWED_HOSTS", "shop.example:8000"),
        ("ORDERING_ALLOWED_HOSTS", "*"),
        ("ORDERING_DATA_DIR", "d\udcff"),
    ],
)
def test_a_bad_value_is_refused_under_its_name(name: str, value: str) -> None:
    """Each rule has its value that breaks it."""
    assert [fault.name for fault in faults_of({name: value})] == [name]


@pytest.mark.parametrize(
    ("strange", "advice"),
    [
        ("ORDERING_DATADIR", "ORDERING_DATA_DIR"),
        ("ORDERING_API_PORT", "API_PORT"),
        ("ORDERING_KAFKA_TOPIC", "KAFKA_TOPIC"),
        ("ORDERING_LOG_LEVLE", "ORDERING_LOG_LEVEL"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(strange: str, advice: str) -> None:
    """A misspelt setting never silently does nothing."""
    (fault,) = faults_of({strange: "x"})

    assert fault.name == strange
    assert fault.message.endswith(f"did you mean {advice}?")


def test_names_of_others_are_left_alone() -> None:
    """Only our own prefix is ours to judge."""
    assert load({"KAFKA_OPTS": "-Xmx1g", "API_KEY": "x"}).settings == Settings()


def test_an_empty_variable_counts_as_absent() -> None:
    """Compose files pass unset variables on as empty ones."""
    assert load({"DATABASE_URL": "", "ORDERING_PARTITIONS": ""}).settings == Settings()


CLUSTER = {"KAFKA_BOOTSTRAP_SERVERS": "broker:9092", "SCHEMA_REGISTRY_URL": "http://registry:8081"}


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


def test_origins_and_hosts_as_browsers_send_them_are_taken() -> None:
    """Whole origins, also any and none; hosts without a port."""
    settings = load(
        {
            "ORDERING_CORS_ORIGINS": "https://*.shop.example, http://localhost:3000, null, *",
            "ORDERING_ALLOWED_HOSTS": "shop.example,[::1], 10.0.0.1",
        }
    ).settings

    assert settings.cors_origins == ("https://*.shop.example", "http://localhost:3000", "null", "*")
    assert settings.allowed_hosts == ("shop.example", "[::1]", "10.0.0.1")


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


def test_a_database_url_chooses_folders() -> None:
    """The service's own wins over the common one, which wins over the data folder."""
    common = load({"DATABASE_URL": "sqlite:///stores"}).settings
    own = load({"DATABASE_URL": "sqlite:///stores", "CART_DATABASE_URL": "sqlite:////var/cart"}).settings

    assert (common.cart_dir, common.order_dir) == (Path("stores"), Path("stores"))
    assert (own.cart_dir, own.order_dir) == (Path("/var/cart"), Path("stores"))
    assert Settings().cart_dir == Path("data")


def test_secrets_never_show() -> None:
    """Neither in a fault nor in the repr of the settings."""
    (fault,) = faults_of({"DATABASE_URL": "postgresql://bob:hunter2@db/orders"})
    settings = load({"ORDERING_MODE": "embedded", "SCHEMA_REGISTRY_URL": "https://me:hunter2@registry"}).settings

    assert "hunter2" not in str(fault)
    assert "hunter2" not in repr(settings)
    assert "registry" in repr(settings)


def test_a_secret_under_a_wrong_name_is_no_less_a_secret(tmp_path: Path) -> None:
    """Misspelt in the environment, or laid out in the file as nobody reads it."""
    file = tmp_path / "ordering.toml"
    file.write_text('db_password = "hunter2"\n[database]\npassword = "hunter2"\n')
    faults = faults_of(
        {
            "ORDERING_CONFIG": str(file),
            "ORDERING_KAFKA_SASL_PASSWORD": "hunter2",
            "ORDERING_DATABASE_URL": "postgresql://bob:hunter2@db/orders",
        }
    )

    assert [fault.name for fault in faults] == [
        "DATABASE",
        "ORDERING_DATABASE_URL",
        "ORDERING_KAFKA_SASL_PASSWORD",
        "DB_PASSWORD",
    ]
    assert "hunter2" not in "\n".join(str(fault) for fault in faults)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://bob:p@ss@db:5432/x", "postgresql://***@db:5432/x"),
        (
            "postgresql://db/x?user=bob&password=p&sslmode=require",
            "postgresql://db/x?user=bob&password=***&sslmode=require",
        ),
        ("bob:secret@db", "***@db"),
        ("sqlite:///data", "sqlite:///data"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """Also one that is malformed."""
    assert mask(url) == shown


def test_a_port_for_one_service_is_refused_for_two() -> None:
    """`serve all` with only API_PORT names the two settings that work."""
    loaded = load({"API_PORT": "9000"})

    assert loaded.settings.cart_port == loaded.settings.order_port == 9000
    with pytest.raises(SettingsError, match="CART_API_PORT and ORDER_API_PORT"):
        both_ports(loaded)


def test_own_ports_win_over_the_common_one() -> None:
    """Then `serve all` has nothing to refuse."""
    loaded = load({"API_PORT": "9000", "CART_API_PORT": "9001", "ORDER_API_PORT": "9002"})
    both_ports(loaded)

    assert (loaded.settings.cart_port, loaded.settings.order_port) == (9001, 9002)


def test_two_services_on_one_port_are_refused() -> None:
    """Port 0 lets the system choose two different ones."""
    both_ports(load({"CART_API_PORT": "0", "ORDER_API_PORT": "0"}))

    with pytest.raises(SettingsError, match="ORDER_API_PORT"):
        both_ports(load({"CART_API_PORT": "8001"}))


def test_a_file_gives_settings_and_the_environment_wins(tmp_path: Path) -> None:
    """The file has the same names, in any case."""
    file = tmp_path / "ordering.toml"
    file.write_text(
        "ordering_partitions = 5\nORDERING_SHIPPING_RATE = 0.03\n"
        'kafka_topic = "sales"\nordering_allowed_hosts = ["a", "b"]\n'
    )
    loaded = load({"ORDERING_CONFIG": str(file), "KAFKA_TOPIC": "orders"})

    assert loaded.settings.partitions == 5
    assert loaded.settings.shipping_rate == Decimal("0.03")
    assert loaded.settings.allowed_hosts == ("a", "b")
    assert loaded.settings.topic == "orders"
    assert loaded.sources["partitions"] == str(file)
    assert loaded.sources["topic"] == "environment"


def test_a_file_with_faults_is_refused_with_all_of_them(tmp_path: Path) -> None:
    """Unknown names, wrong types and bad values alike."""
    file = tmp_path / "ordering.toml"
    file.write_text("partitions = 5\nordering_partitions = 0\nordering_seed = true\n")
    faults = faults_of({"ORDERING_CONFIG": str(file)})

    assert [(fault.name, fault.source) for fault in faults] == [
        ("PARTITIONS", str(file)),
        ("ORDERING_PARTITIONS", str(file)),
        ("ORDERING_SEED", str(file)),
    ]
    assert "did you mean ORDERING_PARTITIONS" in faults[0].message


@pytest.mark.parametrize("content", [None, "= no toml", "\udcff"])
def test_a_file_that_cannot_be_read_is_refused(content: str | None, tmp_path: Path) -> None:
    """A configuration that was asked for is never skipped."""
    file = tmp_path / "ordering.toml"
    if content is not None:
        file.write_bytes(content.encode(errors="surrogateescape"))

    assert [fault.name for fault in faults_of({"ORDERING_CONFIG": str(file)})] == ["ORDERING_CONFIG"]
