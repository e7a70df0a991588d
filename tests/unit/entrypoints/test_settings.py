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
