"""Broken builds of the ways to Kafka, of Avro, the schema registry and the ids."""

import random
import time
import zlib

from ordering.adapters.avro.binary import Corrupt
from ordering.application.failures import RegistryUnavailable
from ordering.application.messages import Acked, PublishResult, Unsent
from tests.mutants.patching import Sound, mutant

BATCH = "ordering.adapters.kafka.publisher:_Batch"
CONNECTION = "ordering.adapters.kafka.connection"
REGISTRY = "ordering.adapters.avro.confluent"
PUBLISHER = "tests/integration/test_kafka_publisher.py"
CLIENTS = "tests/unit/adapters/kafka/test_clients.py"
SAFETY = "tests/unit/adapters/avro"
OUTAGES = "tests/integration/schema_registry/test_outages.py"


# ---------------------------------------------------------------------------------------------- producing


@mutant(
    "fatal-producer-forgets",
    "H12",
    at=f"{BATCH}.give_up",
    by=f"{PUBLISHER}::test_a_producer_that_lost_its_sequence_is_replaced_and_nothing_is_lost",
    patience=10.0,
    slow=True,
)
def _(_sound: Sound) -> Sound:
    """What a producer had under way when it became useless is taken for delivered."""

    def give_up(self: Sound, _reason: str) -> None:
        for index, result in enumerate(self.results):
            if result is None:
                self.settle(index, Acked(0))  # without an offset it would be sent again

    return give_up


@mutant(
    "fatal-producer-stays",
    "H12",
    at="ordering.adapters.kafka.publisher:KafkaPublisher._poll",
    by=f"{PUBLISHER}::test_a_producer_that_lost_its_sequence_is_replaced_and_nothing_is_lost",
    patience=5.0,
    slow=True,
)
def _(sound: Sound) -> Sound:
    """A producer that lost its sequence is used on."""

    def poll(self: Sound, producer: Sound, seconds: float) -> None:
        sound(self, producer, seconds)

    return poll


@mutant(
    "full-queue-drops",
    "H13",
    at=f"{BATCH}.settle",
    by=f"{PUBLISHER}::test_a_full_queue_leaves_the_rest_unsent_without_waiting",
)
def _(sound: Sound) -> Sound:
    """What the client's queue has no room for is dropped, and told as delivered."""

    def settle(self: Sound, index: int, result: PublishResult) -> None:
        full = isinstance(result, Unsent) and result.reason == "too many records are under way"
        sound(self, index, Acked(0) if full else result)

    return settle


@mutant(
    "unplaced-counts-as-delivered",
    "H11",
    at="ordering.adapters.kafka.publisher:RESENDS",
    by=f"{PUBLISHER}::test_a_record_that_is_only_said_to_be_delivered_is_sent_again",
)
def _(_sound: Sound) -> Sound:
    """A record that librdkafka confirms without an offset is believed to be in the log."""
    return 0


@mutant(
    "another-partitioner",
    "H15",
    at="ordering.application.partitioning:murmur2",
    by="tests/unit/application/test_small_parts.py::test_keys_are_hashed_as_java_clients_do",
)
def _(_sound: Sound) -> Sound:
    """Partitions are chosen by CRC32, as librdkafka does unless it is told otherwise."""
    return zlib.crc32


@mutant(
    "one-broker-is-enough", "H12", at=f"{CONNECTION}:_PRODUCER_FIXED", by=f"{CLIENTS}::test_a_producer_waits_for_all"
)
def _(sound: Sound) -> Sound:
    """The leader's word is an acknowledgement, and the sequence is not watched."""
    return {**sound, "acks": "1", "enable.idempotence": False}


# ---------------------------------------------------------------------------------------------- consuming


@mutant(
    "auto-commit",
    "H16",
    at=f"{CONNECTION}:_CONSUMER_FIXED",
    by=f"{CLIENTS}::test_a_consumer_moves_no_position_by_itself",
)
def _(sound: Sound) -> Sound:
    """The client commits positions by itself, whether their records are stored or not."""
    return {**sound, "enable.auto.commit": True, "enable.auto.offset.store": True}


@mutant(
    "positions-reset-by-themselves",
    "H22",
    at=f"{CONNECTION}:_CONSUMER_FIXED",
    by=f"{CLIENTS}::test_a_consumer_moves_no_position_by_itself",
)
def _(sound: Sound) -> Sound:
    """A position that the log does not have becomes its end."""
    return {**sound, "auto.offset.reset": "latest"}


@mutant(
    "operator-overrides-the-rules",
    "H16",
    at=f"{CONNECTION}:KafkaConnection.__attrs_post_init__",
    by=f"{CLIENTS}::test_what_the_promises_rest_on_is_not_the_operators",
)
def _(_sound: Sound) -> Sound:
    """Properties that the promises rest on are ignored without a word."""
    return lambda _self: None


@mutant(
    "full-backlog-stops-the-member",
    "H18",
    at="ordering.adapters.kafka.fetching:STALL_SECONDS",
    by="tests/integration/test_kafka_source.py::"
    "test_a_slow_application_keeps_its_partitions_and_gets_every_record_once",
    slow=True,
)
def _(_sound: Sound) -> Sound:
    """While the application takes nothing, nobody polls, and the broker gives the partitions to others."""
    return 3_600.0


# ---------------------------------------------------------------------------------------------- reading bytes


@mutant(
    "bytes-behind-the-record",
    "H21",
    at="ordering.adapters.avro.binary:read",
    by=f"{SAFETY}/test_decoder.py::test_a_record_that_is_no_event_gets_its_reason",
)
def _(sound: Sound) -> Sound:
    """What follows a value in its body is not looked at."""

    def read(body: bytes, *schemas: Sound) -> Sound:
        try:
            return sound(body, *schemas)
        except Corrupt as error:
            count, _, what = str(error).partition(" ")
            if what != "bytes behind the record":
                raise
            return sound(body[: -int(count)], *schemas)

    return read


@mutant(
    "bombs-are-read",
    "H21",
    at="ordering.adapters.avro.codec:hazard",
    by=f"{SAFETY}/test_decoder.py::test_a_schema_that_cannot_be_an_order_event_is_refused",
)
def _(_sound: Sound) -> Sound:
    """A schema whose short bodies cost without bound is used like any other."""
    return lambda _definition: None


@mutant(
    "no-cap-on-bodies",
    "H21",
    at="ordering.adapters.avro.decoder:OrderEventDecoder.__init__",
    by=f"{SAFETY}/test_decoder.py::test_a_record_that_is_no_event_gets_its_reason",
)
def _(sound: Sound) -> Sound:
    """A body may have any size, and decoding it a hundred times that."""

    def init(self: Sound, registry: Sound, codec: Sound) -> None:
        sound(self, registry, codec, max_body=1 << 40)

    return init


# ---------------------------------------------------------------------------------------------- the registry


@mutant(
    "registry-blocks-the-loop",
    "H23",
    at=f"{REGISTRY}:ConfluentRegistry._bounded",
    by=f"{OUTAGES}::test_a_hanging_registry_ends_the_call_in_bounded_time_and_never_blocks_the_loop",
)
def _(_sound: Sound) -> Sound:
    """A question to a silent registry stops everything else in the process until it is given up."""

    async def bounded(self: Sound, _key: Sound, _ask: Sound) -> Sound:
        time.sleep(self._api.timeout_seconds)  # noqa: ASYNC251 -- the fault itself
        raise RegistryUnavailable("the schema registry does not answer in time")

    return bounded


@mutant(
    "failures-are-remembered",
    "H23",
    at=f"{REGISTRY}:_Lately.get",
    by=(
        f"{OUTAGES}::test_a_registry_that_is_down_at_first_is_found_when_it_is_up",
        f"{OUTAGES}::test_an_unknown_id_is_asked_for_again_after_a_moment",
    ),
)
def _(_sound: Sound) -> Sound:
    """What the registry could not tell once is not asked again."""
    return lambda self, key: self._kept.get(key, (0.0, None))[1]


@mutant(
    "unreachable-is-unknown",
    "H23",
    at="ordering.adapters.avro.registry_api:RegistryApi.schema",
    by=f"{OUTAGES}::test_a_registry_out_of_reach_stops_the_decoder_instead_of_judging",
)
def _(sound: Sound) -> Sound:
    """A registry that cannot be asked knows no schema, so every record of it is a dead letter."""

    async def schema(self: Sound, schema_id: int) -> Sound:
        try:
            return await sound(self, schema_id)
        except Exception:
            return None

    return schema


# ---------------------------------------------------------------------------------------------- ids


@mutant(
    "ids-repeat-in-a-fork",
    "H30",
    at="ordering.adapters.system.runtime:SystemRuntime.new_id",
    by="tests/unit/adapters/test_system.py::test_ids_of_forked_processes_differ",
)
def _(_sound: Sound) -> Sound:
    """Ids come from a generator that a forked process inherits."""
    source = random.Random(7)

    def new_id(_self: Sound) -> str:
        digits = f"{7 << 76 | 2 << 62 | source.getrandbits(60):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    return new_id


@mutant(
    "records-after-a-pause-are-the-next-ones",
    "H22",
    at="ordering.adapters.kafka.backlog:Backlog.add",
    by="tests/unit/adapters/kafka/test_recognition.py"
    "::test_records_that_come_while_the_position_is_compared_are_not_handed_out_unseen",
)
def _(sound: Sound) -> Sound:
    """What was fetched after a pause is handed out without asking whether the topic was made anew meanwhile."""

    def add(self: Sound, messages: Sound, *, after_pause: bool = False) -> None:
        del after_pause
        sound(self, messages)

    return add
