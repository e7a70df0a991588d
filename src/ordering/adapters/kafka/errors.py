"""The one border between librdkafka's errors and ours, as a table."""

import re
from typing import Final

import attrs
from confluent_kafka import KafkaError, KafkaException

from ordering.application.failures import BrokerUnavailable

_CREDENTIALS = "the broker refuses our credentials"
_TLS = "there is no TLS connection to the broker"
_TIMED_OUT = "the broker does not answer in time"
_REPLICAS = "too few replicas are in sync"
_LEADER = "a partition has no leader at the moment"
_NO_TOPIC = "the topic does not exist"
_TOPIC_RIGHTS = "we may not use the topic (authorization)"
_UNREACHABLE = "no broker can be reached"

# What we tell about each error. The driver's own text, with host names in it, stays in ``__cause__`` and in the log.
_REASONS: Final[dict[int, str]] = {
    KafkaError._ALL_BROKERS_DOWN: _UNREACHABLE,
    KafkaError._TRANSPORT: _UNREACHABLE,
    KafkaError._RESOLVE: "the broker's name cannot be resolved",
    KafkaError._AUTHENTICATION: _CREDENTIALS,
    KafkaError.SASL_AUTHENTICATION_FAILED: _CREDENTIALS,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "the broker does not know our SASL mechanism",
    KafkaError.ILLEGAL_SASL_STATE: "the broker does not expect SASL here",
    KafkaError._SSL: _TLS,
    KafkaError._TIMED_OUT: _TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE: _TIMED_OUT,
    KafkaError._MSG_TIMED_OUT: "the broker has not confirmed in time",
    KafkaError.REQUEST_TIMED_OUT: _TIMED_OUT,
    KafkaError._WAIT_COORD: "the group has no coordinator at the moment",
    KafkaError.COORDINATOR_NOT_AVAILABLE: "the group has no coordinator at the moment",
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS: "the group's coordinator is starting",
    KafkaError.NOT_ENOUGH_REPLICAS: _REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: _REPLICAS,
    KafkaError.LEADER_NOT_AVAILABLE: _LEADER,
    KafkaError.NOT_LEADER_FOR_PARTITION: _LEADER,
    KafkaError._NOENT: _LEADER,
    KafkaError.UNKNOWN_TOPIC_OR_PART: _NO_TOPIC,
    KafkaError._UNKNOWN_TOPIC: _NO_TOPIC,
    KafkaError._UNKNOWN_PARTITION: "the topic has no such partition",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _TOPIC_RIGHTS,
    KafkaError.GROUP_AUTHORIZATION_FAILED: "we may not use the consumer group (authorization)",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "we may not do this on the cluster (authorization)",
    KafkaError._QUEUE_FULL: "too many records are under way",
    KafkaError._PURGE_QUEUE: "it was withdrawn before it was sent",
    KafkaError._PURGE_INFLIGHT: "it was withdrawn before it was confirmed",
    KafkaError._FATAL: "the producer has lost its sequence and is made anew",
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER: "the producer has lost its sequence and is made anew",
    KafkaError._DESTROY: "the client is closed",
    KafkaError.MSG_SIZE_TOO_LARGE: "the record is larger than the broker takes",
    KafkaError.INVALID_RECORD: "the broker finds the record invalid",
    KafkaError.FENCED_INSTANCE_ID: "another consumer uses our instance id",
    KafkaError.UNRELEASED_INSTANCE_ID: "who had our instance id is still in the group, until its session ends",
    KafkaError.UNSUPPORTED_ASSIGNOR: "the broker does not know our assignor",
    KafkaError.UNSUPPORTED_VERSION: "the broker does not support this",
    KafkaError._UNSUPPORTED_FEATURE: "the broker does not support this",
}

_UNVERIFIED = (
    "the broker's certificate cannot be verified: it is not signed by an authority that we trust, is made out to "
    "another host name, or is out of date"
)
_NO_TLS = "the broker does not speak TLS at this address: another security protocol is needed"
_NO_CERTIFICATE = "the broker asks for a client certificate, and we have none"
_CERTIFICATE_REFUSED = (
    "the broker does not accept our client certificate: it is out of date, or signed by an authority that the broker "
    "does not trust"
)


@attrs.frozen
class Told:
    """What a text of librdkafka's means for people; None: nothing more than that no broker can be reached.

    ``is_verdict``: a certificate was judged, and the text does not say why.
    """

    reason: str | None
    is_verdict: bool = False


# Much of what goes wrong while connecting has no code of its own; librdkafka's English has been stable for years, and
# the tests of a real broker notice if that ends. All fragments of a row have to be there.
_TEXTS: Final[tuple[tuple[tuple[str, ...], Told], ...]] = (
    (("certificate verify failed",), Told(_UNVERIFIED, is_verdict=True)),
    (("connecting to a PLAINTEXT broker listener",), Told(_NO_TLS)),
    (("wrong version number",), Told(_NO_TLS)),
    (("invalid credentials",), Told("the broker does not accept our user or password")),
    (("Unsupported SASL mechanism",), Told(_REASONS[KafkaError.UNSUPPORTED_SASL_MECHANISM])),
    (
        ("not valid in current SASL state",),
        Told("the broker does not ask for a user at this address: another security protocol is needed"),
    ),
    (
        ("Disconnected: connection closed by peer", "in state APIVERSION_QUERY"),
        Told("the broker closes each connection before it says a word: it may want TLS (another security protocol)"),
    ),
    (("Connect to ", " failed"), Told(None)),
    (("Connection setup timed out", "in state CONNECT"), Told(None)),
)
_SETTINGS: Final = (
    ("ssl.ca.location failed", "ssl.ca.location: no certificate can be read from the file that it names"),
    (
        "ssl.certificate.location failed",
        "ssl.certificate.location: no certificate can be read from the file that it names",
    ),
    ("key values mismatch", "ssl.key.location: this is not the key of the certificate"),
    (
        "ssl.key.location failed",
        "ssl.key.location: no private key can be read from the file that it names (with this ssl.key.password)",
    ),
)
_ALERTS: Final = (
    "alert bad certificate",
    "alert certificate",  # required, unknown, expired, revoked
    "alert unknown ca",
    "alert unsupported certificate",
)

# No broker was reached, whatever the reason.
_UNREACHED: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._DESTROY,
    }
)

# The log will not take this very record, whoever sends it and whenever. Everything else concerns the topic or the
# broker and may pass: missing rights too, because they keep out every record of the topic alike and an operator gives
# them back, so they are an outage; to park one order after the other would only hide it.
_OF_THE_RECORD: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_TIMESTAMP,
    }
)

# The position is not in the log (any more).
_OUT_OF_RANGE: Final = frozenset({KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET})

# The topic may be another one than before: its id has to be asked for.
_DOUBTFUL_TOPIC: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)

# Nothing can be done until a person changes something.
_HOPELESS: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})

_FATAL_TEXTS: Final[dict[str, int]] = {
    "instance ID is still used": KafkaError.UNRELEASED_INSTANCE_ID,
    "fenced by other consumer": KafkaError.FENCED_INSTANCE_ID,
}


def error_of(failure: BaseException) -> KafkaError | None:
    """The driver's error inside an exception, if it is one of the driver's."""
    if isinstance(failure, KafkaException) and failure.args and isinstance(failure.args[0], KafkaError):
        return failure.args[0]
    return None


def code_of(error: KafkaError) -> int:
    """The error's code; of a consumer's fatal error the one behind it, which only its text tells."""
    if error.code() == KafkaError._FATAL:
        for fragment, code in _FATAL_TEXTS.items():
            if fragment in (error.str() or ""):
                return code
    return error.code()


def reason_of(error: KafkaError) -> str:
    """What we tell about an error."""
    return _REASONS.get(code_of(error)) or f"the broker answers with an error ({error.name()})"


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that told it does nothing any more."""
    return error.fatal() or error.code() == KafkaError._FATAL


def is_of_the_record(error: KafkaError) -> bool:
    """Whether repeating the record is pointless while its neighbours may pass."""
    return error.code() in _OF_THE_RECORD


def is_out_of_range(error: KafkaError) -> bool:
    """Whether the log lacks the position that was asked for."""
    return error.code() in _OUT_OF_RANGE


def is_doubtful(error: KafkaError) -> bool:
    """Whether the topic may have been deleted."""
    return error.code() in _DOUBTFUL_TOPIC


def is_telling(error: KafkaError) -> bool:
    """Whether the error explains why no broker can be reached, better than that none can be."""
    return error.code() in _HOPELESS or error.code() == KafkaError._RESOLVE


def is_unreachable(error: KafkaError) -> bool:
    """Whether the error only says that no broker was reached."""
    return error.code() in _UNREACHED


def told_by(text: str, *, has_certificate: bool) -> Told | None:
    """What a line of librdkafka's log or an error's text means, if it is about reaching brokers.

    ``has_certificate``: the client has a certificate of its own to show.
    """
    if any(alert in text for alert in _ALERTS):
        return Told(_CERTIFICATE_REFUSED if has_certificate else _NO_CERTIFICATE)
    return next((told for fragments, told in _TEXTS if all(fragment in text for fragment in fragments)), None)


def refusal_of_settings(text: str) -> str:
    """What we tell when librdkafka makes no client, with this reason of its own."""
    told = next((told for fragment, told in _SETTINGS if fragment in text), text)
    return re.sub(r"^Failed to create [a-z ]+: ", "", told)


def unavailable(failure: BaseException) -> BrokerUnavailable:
    """Ours for whatever the driver raised."""
    error = error_of(failure)
    if error is not None:
        return BrokerUnavailable(reason_of(error))
    if isinstance(failure, TimeoutError):
        return BrokerUnavailable(_TIMED_OUT)
    return BrokerUnavailable("the Kafka client fails unexpectedly")
