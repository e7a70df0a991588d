"""The part of the settings table that only the cluster mode looks at: Kafka, the schema registry, their security.

``KAFKA_CONFIG_*`` reaches what has no name of its own here: ``KAFKA_CONFIG_SOCKET_KEEPALIVE_ENABLE=true`` sets the
client's property ``socket.keepalive.enable``.
"""

# ruff: noqa: RUF009 -- `setting` is attrs.field with a row of the table
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import attrs

from ordering.entrypoints.settings_addresses import brokers, web_address
from ordering.entrypoints.settings_values import Kind, Option, Secret, choice, flag, text, text_list, whole


def setting(name: str, kind: Kind, default: object, meaning: str, *, secret: Secret = Secret.NOTHING) -> Any:  # noqa: ANN401 -- as attrs.field
    """An attribute that is one row of the table."""
    option = Option(name, kind, default, meaning, secret)
    return attrs.field(
        default=default, metadata={Option: option}, repr=True if secret is Secret.NOTHING else option.shown
    )


class GroupProtocol(StrEnum):
    """How members of a consumer group agree on who reads what."""

    CLASSIC = "classic"
    CONSUMER = "consumer"
    """KIP-848: the broker decides."""


class SecurityProtocol(StrEnum):
    """How connections to the brokers are made."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


@attrs.frozen(kw_only=True)
class ClusterSettings:
    """Where Kafka and the registry are, and how to talk to them."""

    kafka_bootstrap_servers: str | None = setting(
        "KAFKA_BOOTSTRAP_SERVERS", brokers(), None, "Kafka brokers, `host:port` separated by commas (cluster mode)"
    )
    kafka_replication: int = setting(
        "KAFKA_REPLICATION", whole(1, 15), 1, "`topics ensure`: replicas of a new topic; 3 in production"
    )
    kafka_group_protocol: GroupProtocol = setting(
        "KAFKA_GROUP_PROTOCOL",
        choice(GroupProtocol),
        GroupProtocol.CLASSIC,
        "`consumer` is KIP-848 (brokers from 4.0 on)",
    )
    kafka_group_instance_id: str | None = setting(
        "KAFKA_GROUP_INSTANCE_ID",
        text(),
        None,
        "static membership: one fixed name per instance; a restart within the session (6 s; with `consumer` the "
        "broker's) then moves no partition",
    )
    kafka_lag_groups: tuple[str, ...] = setting(
        "KAFKA_LAG_GROUPS",
        text_list(),
        (),
        "further consumer groups of the topic whose lag the cart service's metrics show, separated by commas",
    )
    kafka_security_protocol: SecurityProtocol = setting(
        "KAFKA_SECURITY_PROTOCOL", choice(SecurityProtocol), SecurityProtocol.PLAINTEXT, "how brokers are talked to"
    )
    kafka_sasl_mechanism: str | None = setting(
        "KAFKA_SASL_MECHANISM", text(), None, "`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`"
    )
    kafka_sasl_username: str | None = setting("KAFKA_SASL_USERNAME", text(), None, "name of the SASL account")
    kafka_sasl_password: str | None = setting("KAFKA_SASL_PASSWORD", text(), None, "its password", secret=Secret.ALL)
    kafka_ssl_ca: str | None = setting(
        "KAFKA_SSL_CA_LOCATION", text(), None, "file of the certificates (PEM) that brokers must be signed by"
    )
    kafka_ssl_certificate: str | None = setting(
        "KAFKA_SSL_CERTIFICATE_LOCATION", text(), None, "file of our client certificate (PEM), if brokers ask for one"
    )
    kafka_ssl_key: str | None = setting("KAFKA_SSL_KEY_LOCATION", text(), None, "file of its private key (PEM)")
    kafka_ssl_key_password: str | None = setting(
        "KAFKA_SSL_KEY_PASSWORD", text(), None, "password of that key", secret=Secret.ALL
    )
    kafka_config: Mapping[str, str] = setting(
        "KAFKA_CONFIG_*",
        Kind("text", str),
        MappingProxyType({}),
        "any other property of the Kafka client (librdkafka): capitals, `_` for `.`",
        secret=Secret.CREDENTIALS,
    )
    schema_registry_url: str | None = setting(
        "SCHEMA_REGISTRY_URL",
        web_address(),
        None,
        "Confluent-compatible schema registry with its base path (cluster mode)",
        secret=Secret.CREDENTIALS,
    )
    schema_registry_user: str | None = setting(
        "SCHEMA_REGISTRY_USER", text(), None, "account at the registry (basic authentication)"
    )
    schema_registry_password: str | None = setting(
        "SCHEMA_REGISTRY_PASSWORD", text(), None, "its password", secret=Secret.ALL
    )
    schema_registry_ca: str | None = setting(
        "SCHEMA_REGISTRY_CA_LOCATION", text(), None, "file of the certificates (PEM) the registry must be signed by"
    )
    schema_registry_certificate: str | None = setting(
        "SCHEMA_REGISTRY_CERTIFICATE_LOCATION", text(), None, "file of our client certificate for the registry (PEM)"
    )
    schema_registry_key: str | None = setting(
        "SCHEMA_REGISTRY_KEY_LOCATION", text(), None, "file of its private key (PEM)"
    )
    schema_registry_auto_register: bool = setting(
        "SCHEMA_REGISTRY_AUTO_REGISTER",
        flag(),
        False,
        "register a missing schema at the first event: for demonstrations only; else `ordering schemas register`",
    )

    @property
    def kafka_options(self) -> Mapping[str, str]:
        """The client's properties by librdkafka's names; what was set by a name of its own wins over the rest."""
        named = {
            "security.protocol": str(self.kafka_security_protocol),
            "sasl.mechanisms": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password,
            "ssl.ca.location": self.kafka_ssl_ca,
            "ssl.certificate.location": self.kafka_ssl_certificate,
            "ssl.key.location": self.kafka_ssl_key,
            "ssl.key.password": self.kafka_ssl_key_password,
        }
        others = {name.lower().replace("_", "."): value for name, value in self.kafka_config.items()}
        return others | {name: value for name, value in named.items() if value is not None}


SASL_NAMES: Final = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
