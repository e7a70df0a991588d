"""librdkafka's own mock cluster, driven through the C interface of the library that ``confluent_kafka`` bundles.

It speaks the Kafka protocol on loopback sockets and, unlike a real broker, does what it is told: lost acknowledgements,
refusals, brokers that go away. The interface is experimental by its own word, so a release without it makes the tests
skip, with the reason.
"""

import ctypes
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import confluent_kafka
import pytest

ALL_BROKERS: Final = -1


class Api(IntEnum):
    """Request kinds of the Kafka protocol, by their keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    INIT_PRODUCER_ID = 22


class BrokerError(IntEnum):
    """What a broker answers, by the codes of the Kafka protocol. ``TRANSPORT`` makes it hang up instead."""

    TRANSPORT = -195
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    UNKNOWN_TOPIC_OR_PART = 3
    NOT_LEADER_FOR_PARTITION = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    NOT_ENOUGH_REPLICAS = 19
    TOPIC_AUTHORIZATION_FAILED = 29
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75


def _library() -> ctypes.CDLL:
    """The very file that the Python module has loaded."""
    package = Path(confluent_kafka.__file__).parent
    folders = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    found = sorted(file for folder in folders for file in folder.glob("librdkafka*"))
    if not found:
        pytest.skip("no mock cluster: confluent_kafka is not a wheel that bundles librdkafka")
    return ctypes.CDLL(str(found[0]))


def _function(library: ctypes.CDLL, name: str, result: type | None, *arguments: type) -> Callable[..., Any]:
    """A typed C function; without types, pointers would be cut to 32 bits."""
    try:
        function = getattr(library, f"rd_kafka_{name}")
    except AttributeError:
        pytest.skip(f"no mock cluster: this librdkafka has no rd_kafka_{name}")
    function.restype, function.argtypes = result, list(arguments)
    return function


_P, _I, _S = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p


class MockCluster:
    """A cluster of its own in this process, until ``close``.

    Its limits: it creates and alters no topics over the wire, does not drop a repeated idempotent record, keeps 5 MiB
    per partition, and forgets everything when it ends.
    """

    def __init__(self, brokers: int = 1) -> None:
        library = _library()
        self._conf_new = _function(library, "conf_new", _P)
        new = _function(library, "new", _P, _I, _P, _S, ctypes.c_size_t)
        self._destroy = _function(library, "destroy", None, _P)
        cluster_new = _function(library, "mock_cluster_new", _P, _P, _I)
        self._cluster_destroy = _function(library, "mock_cluster_destroy", None, _P)
        bootstraps = _function(library, "mock_cluster_bootstraps", _S, _P)
        self._topic_create = _function(library, "mock_topic_create", _I, _P, _S, _I, _I)
        self._topic_delete = _function(library, "mock_topic_delete", _I, _P, _S)
        self._topic_error = _function(library, "mock_topic_set_error", None, _P, _S, _I)
        self._delete_records = _function(library, "mock_partition_delete_records", _I, _P, _S, _I, ctypes.c_int64)
        self._push_errors = _function(
            library, "mock_push_request_errors_array", None, _P, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(_I)
        )
        self._push_error_rtts = _function(
            library, "mock_broker_push_request_error_rtts", _I, _P, ctypes.c_int32, ctypes.c_int16, ctypes.c_size_t
        )
        self._clear_errors = _function(library, "mock_clear_request_errors", None, _P, ctypes.c_int16)
        self._set_rtt = _function(library, "mock_broker_set_rtt", _I, _P, ctypes.c_int32, _I)
        self._set_down = _function(library, "mock_broker_set_down", _I, _P, ctypes.c_int32)
        self._set_up = _function(library, "mock_broker_set_up", _I, _P, ctypes.c_int32)
        set_controller = _function(library, "mock_set_controller_id", _I, _P, ctypes.c_int32)
        rebalance_delay = _function(library, "mock_group_initial_rebalance_delay_ms", None, _P, ctypes.c_int32)

        text = ctypes.create_string_buffer(512)
        self._client = new(0, self._conf_new(), text, len(text))
        if not self._client:
            pytest.fail(f"no mock cluster: {text.value.decode()}")
        self._cluster = cluster_new(self._client, brokers)
        if not self._cluster:
            self._destroy(self._client)
            pytest.fail("no mock cluster: it does not start")
        rebalance_delay(self._cluster, 0)
        self._require(set_controller(self._cluster, 1))  # without one, describing a topic is never answered
        self.bootstrap: str = bootstraps(self._cluster).decode()

    def create_topic(self, topic: str, partitions: int, replication: int = 1) -> None:
        self._require(self._topic_create(self._cluster, topic.encode(), partitions, replication))

    def delete_topic(self, topic: str) -> None:
        self._require(self._topic_delete(self._cluster, topic.encode()))

    def recreate_topic(self, topic: str, partitions: int) -> None:
        """Make the topic, empty; one of this name that exists goes first."""
        self._topic_delete(self._cluster, topic.encode())
        self.create_topic(topic, partitions)

    def set_session(self, group: str, seconds: float) -> None:
        """Nothing to do: the stand-in waits long enough for a silent member, whichever group it is of."""

    def set_topic_error(self, topic: str, error: BrokerError) -> None:
        """Answer questions about the topic with this error; NONE ends it."""
        self._topic_error(self._cluster, topic.encode(), error)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Trim a partition: its log starts at offset ``before`` from now on."""
        self._require(self._delete_records(self._cluster, topic.encode(), partition, before))

    def answer(self, api: Api, *errors: BrokerError) -> None:
        """Answer the next requests of this kind with these errors, one each; nothing is written for them."""
        self._push_errors(self._cluster, api, len(errors), (_I * len(errors))(*errors))

    def answer_late(self, api: Api, *after_ms: int, broker: int = 1) -> None:
        """Carry out the next requests of this kind, and answer each only after so many milliseconds."""
        pairs = [_I(number) for ms in after_ms for number in (BrokerError.NONE, ms)]
        self._require(self._push_error_rtts(self._cluster, broker, api, len(after_ms), *pairs))

    def answer_truly(self, api: Api) -> None:
        """Forget what ``answer`` still has for this kind."""
        self._clear_errors(self._cluster, api)

    def slow_down(self, ms: int) -> None:
        """Answer everything so many milliseconds late; 0 ends it."""
        self._require(self._set_rtt(self._cluster, ALL_BROKERS, ms))

    def go_down(self, broker: int = ALL_BROKERS) -> None:
        """Hang up on everybody and refuse connections."""
        self._require(self._set_down(self._cluster, broker))

    def come_up(self, broker: int = ALL_BROKERS) -> None:
        self._require(self._set_up(self._cluster, broker))

    def close(self) -> None:
        self._cluster_destroy(self._cluster)
        self._destroy(self._client)

    def _require(self, error: int) -> None:
        if error:
            pytest.fail(f"the mock cluster refuses: error {error} (on {sys.platform})")
