"""No record is handed out before the log is known to be the same: whatever comes at whatever moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from confluent_kafka import Message

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.inquiries import TopicFacts
from ordering.adapters.kafka.source import KafkaSource
from ordering.application.failures import BrokerUnavailable, LogChanged
from ordering.application.messages import LogIdentity

pytestmark = pytest.mark.anyio

TOPIC = "order-events"
OLD, NEW = LogIdentity("cluster", "old"), LogIdentity("cluster", "new")


def nothing() -> None:
    """Happens mostly."""


class Broker:
    """Answers questions; ``meanwhile`` happens while it is asked how far the topic reaches."""

    def __init__(self) -> None:
        self.identity = OLD
        self.asked = 0
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.meanwhile: Callable[[], None] = nothing

    async def facts(self) -> TopicFacts:
        self.asked += 1
        if self.away:
            raise BrokerUnavailable("all brokers down")
        facts = TopicFacts(self.identity, 1)
        await self.answers.wait()
        return facts

    async def begins(self, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    async def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        self.meanwhile()
        return dict.fromkeys(partitions, 9)

    async def close(self) -> None:
        """Nothing is open."""


class Fetching:
    """What the thread leaves for the event loop."""

    def __init__(self) -> None:
        self.down = self.outage = self.denied = None
        self.doubtful = self.spent = False
        self.out_of_range: dict[int, int] = {}

    def recovered(self) -> None:
        self.down = None

    def commit(self, _positions: object) -> None:
        """Nobody to tell."""

    def stop(self) -> None:
        """There is no thread."""

    def join(self, _seconds: float) -> bool:
        return True


class Reading(KafkaSource):
    """A source whose thread and broker are the test's."""

    def __init__(self) -> None:
        super().__init__(KafkaConnection("127.0.0.1:1", {}), "group", TOPIC, lambda: 0)
        self.broker, self.thread = Broker(), Fetching()
        self._inquiries: Any = self.broker

    def _start(self) -> Any:  # noqa: ANN401 -- a stand-in
        self._backlog.assign([0])
        return self.thread

    def comes(self, *offsets: int, after_pause: bool = False) -> None:
        """The thread has fetched records."""
        messages = [Message(topic=TOPIC, partition=0, offset=one, key=b"k", value=b"v", headers=[]) for one in offsets]
        self._backlog.add(messages, after_pause=after_pause)

    def placed(self, at: int) -> None:
        """The consumer was told where to go on."""
        self._backlog.placed(0, at)

    async def offsets(self) -> list[int]:
        """One poll."""
        return [record.offset for record in (await self.poll(100, 0)).records]


@pytest.fixture
async def reading() -> Reading:
    """At position 5, everything before read."""
    source = Reading()
    assert (await source.poll(100, 0)).assigned == (0,)
    await source.seek({0: 5})
    return source


async def test_records_after_a_pause_are_handed_out_once_the_log_is_recognised(reading: Reading) -> None:
    """One question, asked after they came; those that follow closely need none."""
    await reading.poll(100, 0)
    reading.placed(5)
    asked = reading.broker.asked
    reading.comes(5, 6, after_pause=True)
    assert await reading.offsets() == [5, 6]
    assert reading.broker.asked == asked + 1
    reading.comes(7)
    assert await reading.offsets() == [7]
    assert reading.broker.asked == asked + 1


async def test_records_that_come_while_the_position_is_compared_are_not_handed_out_unseen(reading: Reading) -> None:
    """The topic was made anew, and reaches as far as the old one: its records look like the next ones."""

    def made_anew() -> None:
        reading.broker.meanwhile = nothing
        reading.broker.identity = NEW
        reading.placed(5)
        reading.comes(5, 6, 7, 8, after_pause=True)

    reading.broker.meanwhile = made_anew
    for _ in range(2):
        with pytest.raises(LogChanged, match="deleted and created again"):
            await reading.poll(100, 0)


async def test_an_answer_that_was_asked_for_before_a_doubt_does_not_dispel_it(reading: Reading) -> None:
    """It arrives afterwards, and is as old as its question."""
    await reading.poll(100, 0)
    reading.placed(5)
    reading.broker.answers.clear()
    early = asyncio.create_task(reading.identity())
    await asyncio.sleep(0)  # it is asked
    reading.broker.identity, reading.broker.away, reading.thread.doubtful = NEW, True, True
    reading.comes(5)
    with pytest.raises(BrokerUnavailable):
        await reading.poll(100, 0)
    reading.broker.away = False
    reading.broker.answers.set()
    assert await early == OLD
    with pytest.raises(LogChanged):
        await reading.poll(100, 0)
