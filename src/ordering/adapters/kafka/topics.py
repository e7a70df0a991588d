"""The topic itself: what it is like, and making it what the event log needs. For operators, never for the services."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import attrs
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by name
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.diagnosis import Diagnosis
from ordering.adapters.kafka.errors import error_of, reason_of, unavailable
from ordering.application.failures import BrokerUnavailable, Refused

ANSWER_SECONDS: Final = 10.0
REFUSED_SECONDS: Final = 2.0
"""How much longer an answer is waited for once a broker has refused us: another one may not."""
POLL_SECONDS: Final = 0.05

MIN_IN_SYNC: Final = "min.insync.replicas"
# The log is the history that read models are rebuilt from: nothing of it may go.
_SETTINGS: Final[Mapping[str, str]] = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

# What an operator has to change, as opposed to a broker that cannot be reached now.
_REFUSALS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_REQUEST,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
    }
)

Answer = TypeVar("Answer")


@attrs.frozen
class TopicState:
    """A topic as it is: partitions, copies of each, and the settings the event log depends on."""

    partitions: int
    replication: int
    settings: Mapping[str, str]


@attrs.frozen
class Plan:
    """What ``ensure`` found and did, or would do. ``differences`` are left as they are, with the reason in words."""

    topic: str
    found: TopicState | None
    changes: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    carried_out: bool = False


async def describe(connection: KafkaConnection, topic: str) -> TopicState | None:
    """The topic, or None if there is none. Raises BrokerUnavailable, Refused."""
    async with _admin(connection) as admin:
        return await _describe(admin, topic)


async def ensure(
    connection: KafkaConnection, topic: str, partitions: int, replication: int, *, dry_run: bool, grow: bool = False
) -> Plan:
    """Create the topic, or bring its settings to what the event log needs.

    Keys never move between partitions: the number recorded at first use stays the one that keys are spread over, so
    more partitions are added only with ``grow``, and there are never fewer. Raises BrokerUnavailable, Refused.
    """
    wanted = dict(_SETTINGS)
    async with _admin(connection) as admin:
        found = await _describe(admin, topic)
        if replication > 1:
            # One copy may be missing, and what is acknowledged is still in two places (or in the only one there is).
            # Of a topic those copies count that it has: asked for more, it takes nothing (on older brokers), or takes
            # nothing as soon as one broker is away.
            wanted[MIN_IN_SYNC] = str(max(1, (found.replication if found else replication) - 1))
        if found is None:
            changes = [f"create topic {topic} with {partitions} partitions, replication {replication}"]
            changes += [f"set {name} to {value}" for name, value in wanted.items()]
            if not dry_run:
                new = NewTopic(topic, partitions, replication, config=wanted)
                await _answer(admin.create_topics([new], request_timeout=ANSWER_SECONDS)[topic])
            return Plan(topic, None, tuple(changes), (), carried_out=not dry_run)
        return await _adjust(admin, topic, found, wanted, TopicState(partitions, replication, wanted), dry_run, grow)


async def _adjust(
    admin: AdminClient,
    topic: str,
    found: TopicState,
    wanted: Mapping[str, str],
    goal: TopicState,
    dry_run: bool,
    grow: bool,
) -> Plan:
    changes, differences = [], []
    wrong = {name: value for name, value in wanted.items() if found.settings.get(name) != value}
    changes += [f"set {name} from {found.settings.get(name)} to {value}" for name, value in wrong.items()]
    growing = goal.partitions > found.partitions and grow
    if growing:
        changes.append(f"add partitions: from {found.partitions} to {goal.partitions}")
    elif goal.partitions > found.partitions:
        differences.append(
            f"it has {found.partitions} partitions, not {goal.partitions}: `--grow` adds more, keys stay where they are"
        )
    elif goal.partitions < found.partitions:
        differences.append(f"it has {found.partitions} partitions, not {goal.partitions}: Kafka cannot remove any")
    if goal.replication != found.replication:
        differences.append(
            f"its replication is {found.replication}, not {goal.replication}: reassign its partitions with Kafka's own "
            f"tools, then run this again: {MIN_IN_SYNC} goes by the copies there are"
        )
    if not dry_run:
        if wrong:
            entries = [
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wrong.items()
            ]
            resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
            altered = admin.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS)
            await _answer(altered[resource])
        if growing:
            more = admin.create_partitions([NewPartitions(topic, goal.partitions)], request_timeout=ANSWER_SECONDS)
            await _answer(more[topic])
    return Plan(topic, found, tuple(changes), tuple(differences), carried_out=not dry_run)


async def _describe(admin: AdminClient, topic: str) -> TopicState | None:
    try:
        described = await _answer(
            admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)[topic], missing=True
        )
    except _Missing:
        return None
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = await _answer(admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource])
    settings = {name: entries[name].value for name in (*_SETTINGS, MIN_IN_SYNC) if name in entries}
    replication = min(len(partition.replicas) for partition in described.partitions)
    return TopicState(len(described.partitions), replication, settings)


class _Missing(Exception):
    """There is no such topic."""


async def _answer(question: "Future[Answer]", *, missing: bool = False) -> Answer:
    try:
        async with asyncio.timeout(ANSWER_SECONDS + 1.0):
            return await asyncio.wrap_future(question)
    except (KafkaException, TimeoutError) as failure:
        error = error_of(failure)
        if error is not None and missing and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise _Missing from failure
        if error is not None and error.code() in _REFUSALS:
            # The broker's own words name the limit or the policy; they hold no secret of ours.
            raise Refused(f"the broker refuses: {error.str() or reason_of(error)}") from failure
        raise unavailable(failure) from failure


@asynccontextmanager
async def _admin(connection: KafkaConnection) -> AsyncIterator[AdminClient]:
    """Gives up early, with the reason, when it becomes known why no broker can be reached."""
    diagnosis = connection.diagnosis()
    clients = [connection.open(AdminClient, connection.admin(), diagnosis)]
    try:
        async with asyncio.timeout(None) as patience:
            listening = asyncio.create_task(_listen(clients, diagnosis, patience))
            try:
                yield clients[0]
            finally:
                listening.cancel()
                await asyncio.wait([listening])
    except (BrokerUnavailable, TimeoutError) as failure:
        await asyncio.to_thread(diagnosis.wait)
        if diagnosis.reason is not None:
            raise BrokerUnavailable(diagnosis.reason) from failure
        raise
    finally:
        await asyncio.to_thread(clients.clear)  # the last reference but ours ends with this block


async def _listen(clients: list[AdminClient], diagnosis: Diagnosis, patience: asyncio.Timeout) -> None:
    """Hear what the client has to tell."""
    clock = asyncio.get_running_loop().time
    while True:
        clients[0].poll(0)
        if diagnosis.reason is None:
            patience.reschedule(None)
        elif patience.when() is None:
            patience.reschedule(clock() + REFUSED_SECONDS)
        await asyncio.sleep(POLL_SECONDS)
