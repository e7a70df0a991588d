"""How brokers are reached, and the configuration of every client: defaults, what the operator set, and what is fixed.

librdkafka's properties are passed through, so whatever it can do (TLS, SASL, quotas, racks) can be set. What our
promises rest on cannot: such a property is refused, because silently ignoring it would be worse.
"""

import logging
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

import attrs
from confluent_kafka import KafkaException

from ordering.adapters.kafka.diagnosis import LOGGER, Diagnosis
from ordering.adapters.kafka.errors import error_of, refusal_of_settings
from ordering.application.failures import Refused

Client = TypeVar("Client")
Config = dict[str, Any]

SESSION_MS: Final = 6_000
"""How long a dead member keeps its partitions: no less than brokers allow by default. Heartbeats come from a thread of
the client's own, whatever the application does, and moving partitions for nothing costs a moment, never an event."""
HEARTBEAT_MS: Final = 1_500
"""Three of them may be lost."""
REPEAT_SECONDS: Final = 30.0
"""How often the client's log may repeat itself: a broker that is down is logged at every attempt otherwise."""

_SECRET: Final = ("password", "secret", "token", "pem", "jaas", "sasl.oauthbearer.config", "assertion")


class GroupProtocol(StrEnum):
    """Who assigns partitions: the members among themselves, or the broker (KIP-848)."""

    CLASSIC = "classic"
    CONSUMER = "consumer"


_COMMON: Final[Mapping[str, Any]] = {
    "client.id": "ordering",
    # A broker that comes back is found at once; one that hangs is given up after seconds, not after a minute.
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "socket.connection.setup.timeout.ms": 5_000,
    "socket.timeout.ms": 10_000,
    "socket.keepalive.enable": True,
    "topic.metadata.refresh.interval.ms": 5_000,
    # Why a broker hung up is told in the log alone (`diagnosis` reads it, and does not pass it on).
    "log.connection.close": True,
}

_COMMON_FIXED: Final[Mapping[str, Any]] = {
    # Topics are made by `ordering topics ensure`, never by a client's mistake.
    "allow.auto.create.topics": False,
}

_PRODUCER: Final[Mapping[str, Any]] = {
    # Records given to the client in one go are sent in one request anyway; waiting for more only costs latency.
    "linger.ms": 0,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 64 << 10,
}

_PRODUCER_FIXED: Final[Mapping[str, Any]] = {"enable.idempotence": True, "acks": "all"}

_CONSUMER: Final[Mapping[str, Any]] = {
    "isolation.level": "read_committed",
    # A waiting fetch is answered with the first record that comes, but holds up the partitions that are not in it:
    # those that have just been given a place.
    "fetch.wait.max.ms": 100,
    "fetch.min.bytes": 1,
    # How long a full queue stops fetching: a second (the default) starves a consumer that needs milliseconds.
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 5_000,
    "queued.max.messages.kbytes": 16 << 10,
}

_CONSUMER_FIXED: Final[Mapping[str, Any]] = {
    # Positions come from our database; the broker's are written for its tools only.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": False,
}

_SET_ELSEWHERE: Final = frozenset(
    {
        "bootstrap.servers",
        "metadata.broker.list",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "message.timeout.ms",
        "delivery.timeout.ms",
        "request.required.acks",
        "auto.commit.enable",
        "transactional.id",
    }
)
_FIXED: Final = frozenset({*_COMMON_FIXED, *_PRODUCER_FIXED, *_CONSUMER_FIXED, *_SET_ELSEWHERE})

# librdkafka knows which client a property is for, and warns of the others.
_CONSUMER_ONLY: Final = frozenset(
    {
        *_CONSUMER,
        "check.crcs",
        "coordinator.query.interval.ms",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "partition.assignment.strategy",
        "session.timeout.ms",
    }
)
_PRODUCER_ONLY: Final = frozenset(
    {
        *_PRODUCER,
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "message.send.max.retries",
        "queue.buffering.max.ms",
        "request.timeout.ms",
        "retries",
        "retry.backoff.max.ms",
        "retry.backoff.ms",
        "sticky.partitioning.linger.ms",
    }
)
# The classic group protocol alone lets the member choose these.
_CLASSIC_ONLY: Final = frozenset({"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"})


@attrs.frozen
class KafkaConnection:
    """Where the brokers are and with which properties every client talks to them. ``options`` may hold secrets."""

    bootstrap_servers: str
    options: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        """Raises Refused for a property that is not the operator's to set."""
        for name in self.options:
            if name in _FIXED:
                raise Refused(f"the Kafka property {name} cannot be set: ordering depends on its value")

    def producer(self, message_timeout_seconds: float) -> Config:
        """Configuration of a producer."""
        own = {**_PRODUCER, "message.timeout.ms": round(message_timeout_seconds * 1_000)}
        return self._config(own, _PRODUCER_FIXED, unfit=_CONSUMER_ONLY)

    def member(self, group: str, protocol: GroupProtocol, instance_id: str | None) -> Config:
        """Configuration of a group's member."""
        own: Config = dict(_CONSUMER)
        fixed: Config = {**_CONSUMER_FIXED, "group.id": group, "group.protocol": protocol.value}
        unfit = _PRODUCER_ONLY
        if protocol is GroupProtocol.CLASSIC:
            own |= {
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": HEARTBEAT_MS,
            }
        else:
            unfit |= _CLASSIC_ONLY
        if instance_id is not None:
            fixed["group.instance.id"] = instance_id
        return self._config(own, fixed, unfit=unfit)

    def reader(self) -> Config:
        """Configuration of a consumer outside any group: librdkafka wants a name, the broker never hears of it."""
        fixed = {**_CONSUMER_FIXED, "group.id": "ordering-reader"}
        return self._config(_CONSUMER, fixed, unfit=_PRODUCER_ONLY | _CLASSIC_ONLY)

    def peek(self) -> Config:
        """The same for reading single records."""
        return self.reader() | {"fetch.message.max.bytes": 64 << 10, "queued.min.messages": 1}

    def admin(self) -> Config:
        """Configuration of a client that asks and changes, but neither writes nor reads records."""
        return self._config({}, {}, unfit=_PRODUCER_ONLY | _CONSUMER_ONLY)

    def diagnosis(self) -> Diagnosis:
        """What is to be given to ``open``, for those who ask why no broker is reached."""
        return Diagnosis(self.options)

    def open(self, kind: Callable[..., Client], config: Config, diagnosis: Diagnosis | None = None) -> Client:
        """A client. Connects in the background, if at all; its log goes to ``logging``. Raises Refused."""
        diagnosis = diagnosis or self.diagnosis()
        try:
            return kind({"error_cb": diagnosis.heard, **config}, logger=diagnosis)
        except KafkaException as failure:
            error = error_of(failure)
            told = refusal_of_settings(error.str() if error else str(failure))
            raise Refused(f"Kafka settings: {self._masked(told)}") from None
        except (TypeError, ValueError) as failure:
            raise Refused(f"Kafka settings: {self._masked(str(failure))}") from None

    def check(self) -> None:
        """Raises Refused for a property that librdkafka does not know, or a value that it does not take."""
        from confluent_kafka import Consumer, Producer  # noqa: PLC0415 -- made only to be asked

        for kind, config in ((Producer, self.producer(30.0)), (Consumer, self.reader())):
            client = self.open(kind, config)
            close = getattr(client, "close", None)
            if close is not None:
                close()

    def _config(self, own: Mapping[str, Any], fixed: Mapping[str, Any], unfit: frozenset[str]) -> Config:
        options = {name: value for name, value in self.options.items() if name not in unfit}
        # The admin client and the producer take both timeouts of the classic group without complaint; it is the group
        # protocols that exclude each other's.
        return {**_COMMON, **own, **options, **_COMMON_FIXED, **fixed, "bootstrap.servers": self.bootstrap_servers}

    def _masked(self, text: str) -> str:
        """One line in which no secret value appears; librdkafka quotes some of the values it refuses."""
        for name, value in self.options.items():
            if value and any(word in name for word in _SECRET):
                text = text.replace(value, "***")
        return " ".join(text.split())


class _Calm(logging.Filter):
    """Lets one message of a kind through, then none for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # "FAIL [rdkafka#producer-1] [thrd:...]: ...": the kind is the first word.
        kind = record.getMessage().partition(" ")[0]
        now = time.monotonic()
        if now - self._told.get(kind, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._told[kind] = now
        return True


LOGGER.addFilter(_Calm())
