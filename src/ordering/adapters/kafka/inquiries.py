"""Questions about a topic that a live broker answers: which log it is, how far it reaches. Nothing blocks the loop."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import attrs
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin import OffsetSpec as _OffsetSpec  # type: ignore[attr-defined]  # exported, but not by name

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.errors import error_of, reason_of
from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import LogIdentity

OffsetSpec: Any = _OffsetSpec  # its constructors carry no types
ANSWER_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.05

_NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""What a broker without topic ids tells (sixteen zero bytes)."""

# The client's idea of who leads a partition may be older than the topic: it learns the new one by being refused.
_PASSING: Final = frozenset(
    {
        KafkaError._NOENT,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
    }
)

Answer = TypeVar("Answer")


@attrs.frozen
class TopicFacts:
    """A topic as the broker describes it."""

    identity: LogIdentity
    partitions: int


class Inquiries:
    """Asks about one topic. Every answer comes within two seconds, or BrokerUnavailable with the reason."""

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self._connection, self._topic = connection, topic
        self._diagnosis = connection.diagnosis()
        self._client: AdminClient | None = None
        self._cluster_id: str | None = None

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(_Last(client).drop)

    async def facts(self) -> TopicFacts:
        """What the topic is now. Raises BrokerUnavailable, also for a topic that does not exist."""
        client = self._open()
        described = client.describe_topics(TopicCollection([self._topic]), request_timeout=ANSWER_SECONDS)
        cluster = client.describe_cluster(request_timeout=ANSWER_SECONDS)
        topic = await self._answer(described[self._topic], about=f"topic {self._topic}: ")
        cluster_id = (await self._answer(cluster)).cluster_id
        if cluster_id is None:
            raise BrokerUnavailable("the broker does not tell which cluster it belongs to")
        topic_id = str(topic.topic_id)
        return TopicFacts(LogIdentity(cluster_id, None if topic_id == _NO_ID else topic_id), len(topic.partitions))

    async def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """The next offset to be written of each partition, as far as consumers may read."""
        return await self._offsets(partitions, OffsetSpec.latest())

    async def begins(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset each partition still holds, or its end if it holds nothing."""
        return await self._offsets(partitions, OffsetSpec.earliest())

    async def _offsets(self, partitions: Iterable[int], wanted: object) -> dict[int, int]:
        places = {TopicPartition(self._topic, partition): wanted for partition in partitions}
        if not places:
            return {}
        clock = asyncio.get_running_loop().time
        deadline = clock() + ANSWER_SECONDS
        while True:
            try:
                return await self._ask_offsets(places, deadline - clock())
            except KafkaException as failure:
                error = error_of(failure)
                passing = error is not None and (error.retriable() or error.code() in _PASSING)
                if not passing or clock() + RETRY_SECONDS >= deadline:
                    raise self._explained(failure) from failure
                await self._refresh(deadline - clock())
                await asyncio.sleep(RETRY_SECONDS)

    async def _refresh(self, seconds: float) -> None:
        """Have the client learn the topic's partitions and leaders: by itself it may take half a minute."""
        client = self._open()
        with contextlib.suppress(KafkaException):
            await asyncio.to_thread(client.list_topics, self._topic, timeout=max(seconds, RETRY_SECONDS))

    async def _ask_offsets(self, places: Mapping[TopicPartition, Any], seconds: float) -> dict[int, int]:
        asked = self._open().list_offsets(
            dict(places), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=max(seconds, RETRY_SECONDS)
        )
        try:
            async with asyncio.timeout(seconds + 0.1):
                found = await asyncio.gather(*map(asyncio.wrap_future, asked.values()))
        except TimeoutError as failure:
            raise self._explained(failure) from failure
        return {place.partition: result.offset for place, result in zip(asked, found, strict=True)}

    async def _answer(self, question: "Future[Answer]", *, about: str = "") -> Answer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS + 0.1):
                answer = await asyncio.wrap_future(question)
        except (KafkaException, TimeoutError) as failure:
            error = error_of(failure)
            if error is not None and error.code() in {
                KafkaError.UNKNOWN_TOPIC_OR_PART,
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
            }:
                raise BrokerUnavailable(f"{about}{reason_of(error)}") from failure
            raise self._explained(failure) from failure
        self._diagnosis.clear()
        return answer

    def _explained(self, failure: BaseException) -> BrokerUnavailable:
        self._open()
        return self._diagnosis.explain(failure)

    def _open(self) -> AdminClient:
        if self._client is None:
            self._client = self._connection.open(AdminClient, self._connection.admin(), self._diagnosis)
        self._client.poll(0)  # what it has to tell
        return self._client


class _Last:
    """Holds the last reference to a client, whose end waits for its threads: not on the event loop."""

    def __init__(self, client: AdminClient) -> None:
        self._client: AdminClient | None = client

    def drop(self) -> None:
        self._client = None
