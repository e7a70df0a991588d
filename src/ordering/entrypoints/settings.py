"""Every setting of the system in one table: name, type, default, meaning.

``ordering config show`` and the README's table are printed from it. ``load`` reads the environment and, if
``ORDERING_CONFIG`` names one, a TOML file with the same names; the environment wins. Settings are read once, at the
start of a process, and never change in it.
"""

# ruff: noqa: RUF009 -- `setting` is attrs.field with a row of the table
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import attrs

from ordering.application.outage_gate import OutagePolicy
from ordering.domain.currencies import CURRENCIES
from ordering.entrypoints.kill_points import KillAt, kill_point
from ordering.entrypoints.settings_addresses import DATABASE_RULE, hosts, is_database, origins
from ordering.entrypoints.settings_cluster import SASL_NAMES, ClusterSettings, setting
from ordering.entrypoints.settings_values import (
    DEFAULT,
    Fault,
    Kind,
    Loaded,
    Option,
    Secret,
    SettingsError,
    choice,
    decimal,
    port,
    read,
    real,
    text,
    whole,
)

CONFIG: Final = "ORDERING_CONFIG"


class Mode(StrEnum):
    """Where events and orders live."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    CLUSTER = "cluster"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _currency(raw: str) -> str:
    if raw not in CURRENCIES:
        raise ValueError("must be an active ISO 4217 code in capitals")
    return raw


@attrs.frozen(kw_only=True)
class Settings(ClusterSettings):
    """The configuration of one process, complete and valid."""

    mode: Mode = setting(
        "ORDERING_MODE",
        choice(Mode),
        Mode.AUTO,
        "`embedded`: everything in files on this machine; `cluster`: Kafka, a schema registry and the stores "
        "that DATABASE_URL names; `auto`: cluster when KAFKA_BOOTSTRAP_SERVERS is set",
    )
    data_dir: Path = setting(
        "ORDERING_DATA_DIR", Kind("path", Path), Path("data"), "folder of the embedded log and of the SQLite stores"
    )
    database_url: str | None = setting(
        "DATABASE_URL",
        text(),
        None,
        "stores of both services: `sqlite:///folder` (four slashes: an absolute path) or, in cluster mode, "
        "`postgresql://user:password@host:port/database`; default: ORDERING_DATA_DIR",
        secret=Secret.CREDENTIALS,
    )
    cart_database_url: str | None = setting(
        "CART_DATABASE_URL",
        text(),
        None,
        "store of the cart service alone; wins over DATABASE_URL",
        secret=Secret.CREDENTIALS,
    )
    order_database_url: str | None = setting(
        "ORDER_DATABASE_URL",
        text(),
        None,
        "store of the order service alone; wins over DATABASE_URL",
        secret=Secret.CREDENTIALS,
    )
    topic: str = setting(
        "KAFKA_TOPIC",
        text(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,200}", "must be 1 to 200 characters of A-Z a-z 0-9 . _ -"),
        "order-events",
        "topic of the order events",
    )
    consumer_group: str = setting(
        "KAFKA_CONSUMER_GROUP", text(), "order-service-group", "name of the group that feeds the read model"
    )
    host: str = setting("API_HOST", text(), "127.0.0.1", "address both services bind to")
    api_port: int | None = setting(
        "API_PORT", port(), None, "port of the one service a process serves; refused by `serve all`"
    )
    cart_port: int = setting("CART_API_PORT", port(), 8000, "port of the cart service; wins over API_PORT")
    order_port: int = setting("ORDER_API_PORT", port(), 8001, "port of the order service; wins over API_PORT")
    broker_outage: OutagePolicy = setting(
        "BROKER_OUTAGE",
        choice(OutagePolicy),
        OutagePolicy.REJECT,
        "while events cannot be delivered: `reject` new changes with 503, or `accept` them up to the backlog limits",
    )
    backlog_rows: int = setting(
        "ORDERING_BACKLOG_ROWS", whole(1, 10**9), 1_000_000, "`accept`: most events that may wait for delivery"
    )
    backlog_seconds: float = setting(
        "ORDERING_BACKLOG_SECONDS", real(1, 10**8), 86_400.0, "`accept`: greatest age of an event that waits"
    )
    backlog_free_mib: int = setting(
        "ORDERING_BACKLOG_FREE_MIB", whole(0, 10**9), 1_024, "`accept`: least free space on the store's disk, in MiB"
    )
    default_currency: str = setting(
        "DEFAULT_CURRENCY",
        Kind("currency", _currency),
        "USD",
        "currency of a cart that names none (ISO 4217)",
    )
    shipping_rate: Decimal = setting(
        "ORDERING_SHIPPING_RATE", decimal(0, 1), Decimal("0.02"), "share of the total that shipping costs"
    )
    partitions: int = setting(
        "ORDERING_PARTITIONS", whole(1, 1_000), 3, "partitions of a new log or topic; an existing one keeps its number"
    )
    idempotency_hours: float = setting(
        "ORDERING_IDEMPOTENCY_HOURS", real(0.01, 87_600), 24.0, "how long the answer to an Idempotency-Key is kept"
    )
    journal_days: float = setting(
        "ORDERING_JOURNAL_DAYS", real(0.01, 36_500), 7.0, "how long published events stay in the order's timeline"
    )
    batch_max: int = setting("ORDERING_BATCH_MAX", whole(1, 10_000), 512, "most changes in one transaction")
    queue_max: int = setting("ORDERING_QUEUE_MAX", whole(1, 1_000_000), 10_000, "most changes that wait to be stored")
    request_seconds: float = setting(
        "ORDERING_REQUEST_SECONDS", real(0.1, 600), 10.0, "how long a change may wait before it is refused"
    )
    admission_max: int = setting(
        "ORDERING_ADMISSION_MAX", whole(1, 100_000), 256, "most requests a service works on at once; more are refused"
    )
    admission_seconds: float = setting(
        "ORDERING_ADMISSION_SECONDS",
        real(0.05, 600),
        1.0,
        "requests are refused while the oldest one has waited so long for the store",
    )
    waiters_max: int = setting(
        "ORDERING_WAITERS_MAX", whole(1, 100_000), 1_000, "most requests that wait for the read model (`wait=`)"
    )
    connections_max: int = setting(
        "ORDERING_CONNECTIONS_MAX", whole(1, 1_000_000), 4_096, "most connections of clients that are served"
    )
    head_seconds: float = setting(
        "ORDERING_HEAD_SECONDS", real(0.1, 600), 10.0, "how long a client may take to send a request's head"
    )
    body_seconds: float = setting(
        "ORDERING_BODY_SECONDS", real(0.1, 600), 30.0, "how long it may take to send the body"
    )
    send_seconds: float = setting(
        "ORDERING_SEND_SECONDS", real(0.1, 600), 30.0, "how long it may take nothing of an answer that waits for it"
    )
    idle_seconds: float = setting(
        "ORDERING_IDLE_SECONDS", real(0.1, 3_600), 75.0, "how long a connection may stay open without a request"
    )
    shutdown_seconds: float = setting(
        "ORDERING_SHUTDOWN_SECONDS", real(0.1, 600), 3.0, "how long a stop may take to finish and publish"
    )
    cors_origins: tuple[str, ...] = setting(
        "ORDERING_CORS_ORIGINS", origins(), (), "origins that browsers may call from; none: closed"
    )
    allowed_hosts: tuple[str, ...] = setting(
        "ORDERING_ALLOWED_HOSTS", hosts(), (), "Host headers that are answered; none: any"
    )
    log_level: LogLevel = setting(
        "ORDERING_LOG_LEVEL", choice(LogLevel), LogLevel.INFO, "the least severe level that is logged"
    )
    log_format: LogFormat = setting("ORDERING_LOG_FORMAT", choice(LogFormat), LogFormat.TEXT, "log lines on stderr")
    seed: int | None = setting(
        "ORDERING_SEED", whole(0, 2**63 - 1), None, "makes generated orders repeatable (for tests)"
    )
    kill_at: KillAt | None = setting(
        "ORDERING_KILL_AT",
        kill_point(),
        None,
        "crash tests only: the process kills itself at this point (CONTRIBUTING.md lists them)",
    )

    @property
    def effective_mode(self) -> Mode:
        """The mode that ``auto`` stands for."""
        if self.mode is not Mode.AUTO:
            return self.mode
        return Mode.CLUSTER if self.kafka_bootstrap_servers else Mode.EMBEDDED

    @property
    def lag_groups(self) -> tuple[str, ...]:
        """The consumer groups whose lag can be seen from outside: the order service's, and others that were named."""
        others = self.kafka_lag_groups if self.effective_mode is Mode.CLUSTER else ()
        return tuple(dict.fromkeys((self.consumer_group, *others)))

    @property
    def cart_database(self) -> str | None:
        """The PostgreSQL URL of the cart service's store; None: it is a file."""
        return self._postgres(self.cart_database_url)

    @property
    def order_database(self) -> str | None:
        """The PostgreSQL URL of the order service's read model; None: it is a file."""
        return self._postgres(self.order_database_url)

    @property
    def uses_files(self) -> bool:
        """Whether anything of the system lies in the data folder."""
        embedded = self.effective_mode is Mode.EMBEDDED
        return embedded or self.cart_database is None or self.order_database is None

    @property
    def log_dir(self) -> Path:
        """The folder of the embedded log."""
        return self.data_dir

    @property
    def cart_dir(self) -> Path:
        """The folder of the cart service's store."""
        return self._folder(self.cart_database_url)

    @property
    def order_dir(self) -> Path:
        """The folder of the order service's read model."""
        return self._folder(self.order_database_url)

    def _folder(self, own: str | None) -> Path:
        url = own or self.database_url
        return Path(url.removeprefix(_SQLITE)) if url else self.data_dir

    def _postgres(self, own: str | None) -> str | None:
        url = own or self.database_url
        return url if url and url.startswith(_POSTGRES) else None


_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")
_CLUSTER_ONLY: Final = frozenset(field.name for field in attrs.fields(ClusterSettings))
_FIELDS: Final[tuple[Any, ...]] = attrs.fields(Settings)
OPTIONS: Final[Mapping[str, Option]] = {
    field.name: field.metadata[Option] for field in sorted(_FIELDS, key=lambda field: field.name in _CLUSTER_ONLY)
}
"""The table: attribute -> option; what only the cluster mode looks at comes last."""


def load(environ: Mapping[str, str]) -> Loaded[Settings]:
    """Read and check everything; raises SettingsError with all faults at once."""
    values, sources, faults = read(OPTIONS, environ, config=CONFIG)
    for attribute in ("cart_port", "order_port"):
        if attribute not in values and values.get("api_port") is not None:
            values[attribute], sources[attribute] = values["api_port"], "API_PORT"
    settings = Settings(**values)
    broken = {fault.name for fault in faults}
    faults += [fault for fault in _contradictions(settings, sources) if fault.name not in broken]
    if faults:
        raise SettingsError(faults)
    return Loaded(settings, sources)


def both_ports(loaded: Loaded[Settings]) -> None:
    """Raise SettingsError if the settings cannot serve both services on one host."""
    settings, sources = loaded.settings, loaded.sources
    if "API_PORT" in (sources["cart_port"], sources["order_port"]):
        message = "two services cannot share one port: set CART_API_PORT and ORDER_API_PORT instead"
        raise SettingsError([_fault(settings, sources, "api_port", message)])
    if settings.cart_port == settings.order_port != 0:
        message = "CART_API_PORT is the same: two services cannot share one port"
        raise SettingsError([_fault(settings, sources, "order_port", message)])


def _contradictions(settings: Settings, sources: Mapping[str, str]) -> list[Fault]:
    found: list[tuple[str, str]] = []
    cluster = settings.effective_mode is Mode.CLUSTER
    if cluster:
        found += _missing(settings, sources)
    for name in ("database_url", "cart_database_url", "order_database_url"):
        url: str | None = getattr(settings, name)
        if url and (problem := _database_problem(url, cluster=cluster)):
            found.append((name, problem))
    if settings.queue_max < settings.batch_max:
        found.append(("queue_max", f"must not be less than ORDERING_BATCH_MAX ({settings.batch_max})"))
    if settings.connections_max < settings.admission_max:
        found.append(("connections_max", f"must not be less than ORDERING_ADMISSION_MAX ({settings.admission_max})"))
    return [_fault(settings, sources, name, message) for name, message in found]


def _missing(settings: Settings, sources: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What the cluster mode cannot do without."""
    asked = "ORDERING_MODE=cluster" if settings.mode is Mode.CLUSTER else "KAFKA_BOOTSTRAP_SERVERS (cluster mode)"
    for name in ("kafka_bootstrap_servers", "schema_registry_url"):
        if not getattr(settings, name):
            yield name, f"is needed with {asked}"
    if "SASL" in settings.kafka_security_protocol and not settings.kafka_sasl_mechanism:
        yield "kafka_sasl_mechanism", f"is needed with KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}"
    for name in SASL_NAMES:
        if "SASL" not in settings.kafka_security_protocol and sources[name] != DEFAULT:
            yield name, "means nothing unless KAFKA_SECURITY_PROTOCOL is SASL_SSL or SASL_PLAINTEXT"
    if bool(settings.schema_registry_user) != bool(settings.schema_registry_password):
        name = "schema_registry_user" if settings.schema_registry_password else "schema_registry_password"
        yield name, "SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD go together"


def _database_problem(url: str, *, cluster: bool) -> str | None:
    if url.startswith(_POSTGRES):
        if not cluster:
            return "PostgreSQL cannot be used in embedded mode, only with ORDERING_MODE=cluster"
        return None if is_database(url) else DATABASE_RULE
    if not url.startswith(_SQLITE) or not url.removeprefix(_SQLITE):
        others = ", or postgresql://user:password@host:port/database" if cluster else ""
        return f"must be sqlite:///folder (sqlite:////folder for an absolute path){others}"
    return None


def _fault(settings: Settings, sources: Mapping[str, str], attribute: str, message: str) -> Fault:
    option = OPTIONS[attribute]
    return Fault(option.name, option.shown(getattr(settings, attribute)), sources[attribute], message)
