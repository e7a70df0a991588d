"""The AsyncAPI 3.1 document: what is in the topic, for programs that read or write it.

https://www.asyncapi.com/docs/reference/specification/v3.1.0 and, for the Kafka bindings 0.5.0,
https://github.com/asyncapi/bindings/tree/master/kafka
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ordering.application.event_headers import CE_TYPES
from ordering.domain.events import EventType
from ordering.entrypoints.http.headers import REQUEST_ID_LENGTH_MAX, TRACESTATE_LENGTH_MAX
from ordering.entrypoints.http.schemas import ID_PATTERN
from ordering.entrypoints.settings import Settings

VERSION: Final = "3.1.0"
BINDING_VERSION: Final = "0.5.0"
AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
"""The only Avro format that AsyncAPI has; what newer Avro versions added is not in our schemas."""

CONTENT_TYPE: Final = "application/avro"
CHANNEL: Final = "orderEvents"
Json = dict[str, Any]


class Contract(Protocol):
    """A released schema, as far as this module looks at it: its file's JSON, and its place in the index."""

    @property
    def definition(self) -> Any: ...  # noqa: ANN401 -- any JSON
    @property
    def subject(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def inherited(self) -> bool: ...


def document(contracts: Sequence[Contract], version: str, source: str) -> Json:
    """The document of these released schemas.

    ``version`` is the program's, ``source`` what ``ce_source`` says. Every released schema is a message of the
    channel: the newest one of ours is what is sent, all of them are read.
    """
    settings = Settings()
    ours = sorted((contract for contract in contracts if not contract.inherited), key=lambda found: found.version)
    messages = {_name(contract): _message(contract, source) for contract in contracts}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Order events",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "plain": _server("kafka", "As `docker-compose up` and `make services` start it."),
            "secured": _server("kafka-secure", "TLS, and SASL or client certificates if the brokers ask for them."),
        },
        "channels": {CHANNEL: _channel(settings, list(messages))},
        "operations": {
            "publishOrderEvent": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{CHANNEL}"},
                "title": "CartService publishes",
                "summary": "Each change of an order, after it is stored and before any later change of that order.",
                "messages": [_in_channel(_name(ours[-1]))],
                "bindings": {"kafka": {"bindingVersion": BINDING_VERSION}},
            },
            "followOrderEvents": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{CHANNEL}"},
                "title": "OrderService follows",
                "summary": "Every record from the topic's beginning, each change of an order once and in order.",
                "messages": [_in_channel(name) for name in messages],
                "bindings": {
                    "kafka": {
                        "groupId": {
                            "type": "string",
                            "default": settings.consumer_group,
                            "description": "KAFKA_CONSUMER_GROUP. Other services take a group of their own.",
                        },
                        "bindingVersion": BINDING_VERSION,
                    }
                },
            },
        },
        "components": {
            "messages": messages,
            "schemas": {_name(contract): _schema(contract) for contract in contracts},
        },
    }


def _server(protocol: str, description: str) -> Json:
    return {
        "host": "{broker}",
        "protocol": protocol,
        "description": description,
        "variables": {
            "broker": {
                "default": "localhost:9092",
                "description": "Any broker of the cluster, host:port (KAFKA_BOOTSTRAP_SERVERS).",
                "examples": ["localhost:9092", "kafka:29092"],
            }
        },
        "bindings": {
            "kafka": {
                "schemaRegistryUrl": "http://localhost:8081/apis/ccompat/v7",
                "schemaRegistryVendor": "confluent",
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _channel(settings: Settings, names: Sequence[str]) -> Json:
    return {
        "address": settings.topic,
        "title": "Order events",
        "description": _ORDER,
        "servers": [{"$ref": "#/servers/plain"}, {"$ref": "#/servers/secured"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": settings.topic,
                "partitions": settings.partitions,
                "replicas": settings.kafka_replication,
                "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": -1, "retention.bytes": -1},
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _message(contract: Contract, source: str) -> Json:
    definition = contract.definition
    message: Json = {
        "name": f"{definition['namespace']}.{definition['name']}",
        "title": f"{definition['name']}, version {contract.version}",
        "summary": _INHERITED if contract.inherited else definition["doc"],
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"#/components/schemas/{_name(contract)}"},
        "bindings": {
            "kafka": {
                "key": _INHERITED_KEY if contract.inherited else _KEY,
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "TopicNameStrategy",
                "bindingVersion": BINDING_VERSION,
            }
        },
        "x-schema-registry-subject": contract.subject,
    }
    if not contract.inherited:
        message["headers"] = _headers(source)
        message["correlationId"] = {
            "description": "The request that caused the change.",
            "location": "$message.header#/x-request-id",
        }
    return message


def _headers(source: str) -> Json:
    """CloudEvents in Kafka's binary mode: every value is UTF-8."""
    types = [CE_TYPES[kind].decode() for kind in EventType if kind is not EventType.UNKNOWN]
    properties: Mapping[str, Json] = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "content-type": {"type": "string", "const": CONTENT_TYPE},
        "ce_id": {"type": "string", "format": "uuid", "description": "The event's id, as in the record: UUIDv7."},
        "ce_type": {"type": "string", "enum": types},
        "ce_source": {"type": "string", "const": source},
        "ce_subject": {"type": "string", "pattern": ID_PATTERN, "description": "The order's id."},
        "ce_time": {"type": "string", "format": "date-time", "description": "UTC, microseconds, ends in Z."},
        "x-request-id": {"type": "string", "minLength": 1, "maxLength": REQUEST_ID_LENGTH_MAX},
        "traceparent": {"type": "string", "description": "W3C trace context, if the request had one."},
        "tracestate": {"type": "string", "maxLength": TRACESTATE_LENGTH_MAX, "description": "Only with traceparent."},
    }
    optional = {"traceparent", "tracestate"}
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": dict(properties),
    }


def _schema(contract: Contract) -> Json:
    return {"schemaFormat": AVRO, "schema": contract.definition}


def _name(contract: Contract) -> str:
    """``OrderEventV1``: letters and digits only, as component names have to be."""
    prefix = "Inherited" if contract.inherited else ""
    return f"{prefix}{contract.definition['name']}V{contract.version}"


def _in_channel(name: str) -> Json:
    return {"$ref": f"#/channels/{CHANNEL}/messages/{name}"}


_DESCRIPTION: Final = (
    "Each change of each order, with the whole order as it is after the change. Inventory, billing, shipping and any "
    "other service may follow it. Schemas evolve under FULL_TRANSITIVE compatibility: names and symbols are permanent, "
    "every version reads and is read by every other one. A reader that does not know an eventType sees UNKNOWN."
)
_ORDER: Final = (
    "The events of one order are in one partition and first appear there as version 1, 2, 3 and so on, without a gap; "
    "between different orders there is no order. A record may be repeated: drop it by its eventId, or because its "
    "version is not higher than the last one. KAFKA_TOPIC names another topic, ORDERING_PARTITIONS and "
    "KAFKA_REPLICATION make it larger. The history is kept for ever, so a read model can be built anew from it."
)
_INHERITED: Final = (
    "The record of the program before this one, still read from an inherited topic and never written. It has no "
    "event id and no version, and is ignored for an order that has events of ours."
)
_KEY: Final[Json] = {
    "type": "string",
    "pattern": ID_PATTERN,
    "description": "The order's id as plain UTF-8. Partition: murmur2 of it, as Java clients compute it.",
}
_INHERITED_KEY: Final[Json] = {
    "type": "string",
    "description": "The order's id, plain or as an Avro string behind a zero byte and a schema id of four bytes.",
}
