"""The way into a topic: librdkafka's idempotent producer and a thread that listens to it.

The event loop only hands records over, which never waits; the thread collects what the producer reports and settles a
whole burst of it on the loop with one call. An idempotent producer that lost its sequence is of no use any more
(librdkafka calls that fatal): it is replaced at once, and whatever it had under way is told to be Unsent.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.errors import error_of, is_of_the_record, reason_of, unavailable
from ordering.application.failures import BrokerUnavailable, Refused
from ordering.application.messages import Acked, OutgoingRecord, PublishResult, Rejected, Unsent

PROBE_SECONDS: Final = 0.8
VERIFY_SECONDS: Final = 0.5
POLL_SECONDS: Final = 0.1
CLOSE_SECONDS: Final = 1.0
RESENDS: Final = 3

_LOGGER: Final = logging.getLogger("ordering.kafka")


class _Batch:
    """What one call waits for. Lives on the event loop."""

    __slots__ = ("done", "left", "producer", "results")

    def __init__(self, size: int, producer: Producer, done: "asyncio.Future[None]") -> None:
        self.results: list[PublishResult | None] = [None] * size
        self.left, self.producer, self.done = size, producer, done

    def settle(self, index: int, result: PublishResult) -> None:
        """The first answer counts: a replaced producer may still report what was given up."""
        if self.results[index] is None:
            self.results[index] = result
            self.left -= 1
            if not self.left and not self.done.done():
                self.done.set_result(None)

    def give_up(self, reason: str) -> None:
        for index, result in enumerate(self.results):
            if result is None:
                self.settle(index, Unsent(reason))


_Report = tuple[_Batch, int, PublishResult]


class KafkaPublisher:
    """EventPublisher into one topic. All calls come from one event loop.

    A record is Rejected for what is wrong with itself, by the word of a live broker: it is too large, or its partition
    is not there. A topic that is missing and rights that are missing concern every record alike, so those stay Unsent.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topic: str,
        *,
        message_timeout_seconds: float = 30.0,
        replaced: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """Connects in the background: a broker that is down is an outage, not an error here. Raises Refused.

        ``replaced`` is called on the event loop with the reason whenever a new producer takes over.
        """
        self._connection, self._topic, self._replaced = connection, topic, replaced
        self._config = {**connection.producer(message_timeout_seconds), "error_cb": self._heard}
        self._diagnosis = connection.diagnosis()
        self._producer = connection.open(Producer, self._config, self._diagnosis)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: set[_Batch] = set()
        self._reports: list[_Report] = []
        """The thread's: what the producer reported since the loop was last told."""
        self._partitions: int | None = None
        self._outage: str | None = None
        self._suspected = False
        self._asked: dict[str, Future[int]] = {}
        """The questions that are not answered yet, by topic: whoever asks the same meanwhile gets that answer."""
        self._asking = threading.Lock()
        self._closing = threading.Event()
        # One thread asks, so that a broker that hangs holds up one question and not one thread each.
        self._asker = ThreadPoolExecutor(1, "kafka-probe")
        self._thread = threading.Thread(target=self._listen, name="kafka-publisher", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ the port

    @property
    def outage(self) -> str | None:
        return self._outage

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        results = await self._send(batch, await self._refusals(batch))
        # librdkafka takes a record for delivered when a later one of its partition is, and then knows no offset. That
        # is wrong when a leader that has just been elected refused the producer's first request and took the second
        # (Kafka lets a new producer begin with any sequence): the record is nowhere. So it is sent again.
        for _ in range(RESENDS):
            unplaced = [index for index, result in enumerate(results) if result == _UNPLACED]
            if not unplaced:
                break
            _LOGGER.warning("UNPLACED %d records were confirmed without an offset and are sent again", len(unplaced))
            again = await self._send([batch[index] for index in unplaced], [None] * len(unplaced))
            for index, result in zip(unplaced, again, strict=True):
                results[index] = result
        # The broker judges a request, and the client puts several records into one: a refusal of many may be meant for
        # one of them. Each is sent alone once more. No key has two records under way, so none overtakes its own.
        for index in [index for index, result in enumerate(results) if isinstance(result, _TooLarge)]:
            (results[index],) = await self._send([batch[index]], [None])
        return [_told(result) for result in results]

    async def probe(self) -> None:
        await self._ask(self._topic)

    async def partition_count(self, topic: str) -> int:
        return await self._ask(topic)

    async def close(self) -> None:
        """Give what is under way a second to arrive, then end: what did not arrive is Unsent."""
        if self._closing.is_set():
            return
        if self._open:
            await asyncio.wait([batch.done for batch in self._open], timeout=CLOSE_SECONDS)
        self._closing.set()
        for batch in tuple(self._open):
            batch.give_up("the publisher is closed")
        await asyncio.get_running_loop().run_in_executor(self._asker, self._let_go)
        self._asker.shutdown(wait=False)

    # ------------------------------------------------------------------ sending, on the event loop

    async def _refusals(self, batch: Sequence[OutgoingRecord]) -> list[PublishResult | None]:
        """What need not be sent at all. Asks how many partitions there are if the known number does not do."""
        highest = max((record.partition for record in batch if record.topic == self._topic), default=-1)
        why: str | None = None
        if highest >= 0 and (self._partitions is None or highest >= self._partitions):
            try:
                await self._ask(self._topic)
            except BrokerUnavailable as error:
                why = error.reason
        return [self._refusal(record, why) for record in batch]

    def _refusal(self, record: OutgoingRecord, why: str | None) -> PublishResult | None:
        if record.topic != self._topic:
            return Rejected(f"topic {record.topic} is not published here")
        if record.partition < 0:
            return Rejected(f"topic {record.topic} has no partition {record.partition}")
        if self._partitions is None or record.partition >= self._partitions:
            return Unsent(why) if why else Rejected(f"topic {record.topic} has no partition {record.partition}")
        return None

    async def _send(
        self, records: Sequence[OutgoingRecord], refusals: Sequence[PublishResult | None]
    ) -> list[PublishResult]:
        loop = self._loop = asyncio.get_running_loop()
        batch = _Batch(len(records), self._producer, loop.create_future())
        stuck: str | None = "the publisher is closed" if self._closing.is_set() else None
        for index, (record, refusal) in enumerate(zip(records, refusals, strict=True)):
            if refusal is not None or stuck is not None:
                batch.settle(index, refusal or Unsent(stuck or ""))
                continue
            try:
                batch.producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    timestamp=record.timestamp,
                    headers=list(record.headers),
                    on_delivery=partial(self._reported, batch, index),
                )
            except BufferError:
                # The rest would overtake this one if the queue had room again a moment later.
                stuck = "too many records are under way"
                batch.settle(index, Unsent(stuck))
            except KafkaException as failure:
                error = error_of(failure)
                batch.settle(index, _result_of(error, None) if error else Unsent(unavailable(failure).reason))
        if batch.left:
            self._open.add(batch)
            try:
                await batch.done
            finally:
                self._open.discard(batch)
        return [result for result in batch.results if result is not None]

    def _settle(self, reports: list[_Report]) -> None:
        for batch, index, result in reports:
            batch.settle(index, result)

    def _take_over(self, producer: Producer, reason: str) -> None:
        """The new producer is the one from now on; the old one's records are given up."""
        self._producer = producer
        for batch in tuple(self._open):
            if batch.producer is not producer:
                batch.give_up(reason)
        self._replaced(reason)

    # ------------------------------------------------------------------ listening, on the thread

    def _listen(self) -> None:
        producer = self._producer
        while not self._closing.is_set():
            reason = self._poll(producer, POLL_SECONDS)
            if self._reports:
                self._tell(self._settle, self._reports)
                self._reports = []
            if self._suspected and self._outage is None:
                self._suspected = False
                self._verify()
            if reason is not None:
                _LOGGER.warning("PRODUCER is made anew: %s", reason)
                old, producer = producer, self._successor(producer)
                if producer is not old:
                    self._tell(self._take_over, producer, reason)
                    self._end(old)
        self._end(producer)

    def _end(self, producer: Producer) -> None:
        """Free what a producer still holds; what it reports now comes too late to count."""
        with contextlib.suppress(KafkaException, SystemError):
            producer.purge()
        self._poll(producer, 0)
        self._reports = []

    def _let_go(self) -> None:
        """On the asking thread, so that nobody asks meanwhile. A producer that is left to the end of the process may
        call back into an interpreter that is no more, and crash it."""
        self._thread.join()
        with contextlib.suppress(KafkaException, RuntimeError):
            self._producer.close()

    def _poll(self, producer: Producer, seconds: float) -> str | None:
        """Collect reports; the reason if the producer is of no use any more.

        A fatal error comes out of ``poll`` itself, not through ``error_cb``: as KafkaException, or as SystemError if a
        report's callback ran in the same call.
        """
        try:
            producer.poll(seconds)
        except Exception as failure:  # whatever it was, this thread must live on
            cause = failure if isinstance(failure, KafkaException) else failure.__cause__
            error = error_of(cause) if cause is not None else None
            if error is not None and not error.fatal():
                return None
            return "the producer has lost its sequence and is made anew"
        return None

    def _successor(self, old: Producer) -> Producer:
        try:
            return self._connection.open(Producer, self._config, self._diagnosis)
        except Refused as error:
            # It worked before, so it is this moment (no descriptors, no memory): the old one fails again, and so on.
            _LOGGER.error("PRODUCER cannot be made anew: %s", error)
            self._closing.wait(POLL_SECONDS)
            return old

    def _reported(self, batch: _Batch, index: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._outage = None
        self._reports.append((batch, index, _result_of(error, message)))

    def _heard(self, error: KafkaError) -> None:
        """librdkafka's own news, within ``poll``."""
        self._diagnosis.heard(error)
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._suspected = True

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        """Run on the event loop, unless that has nobody to listen (any more)."""
        if self._loop is None:
            call(*arguments)  # nothing was handed over yet, so nobody can be in the way
            return
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            self._closing.set()

    # ------------------------------------------------------------------ asking

    def _verify(self) -> None:
        """All connections are gone, which idle ones may be at any time: only a broker that does not answer is down."""
        with contextlib.suppress(RuntimeError):  # closing
            self._question(self._topic, VERIFY_SECONDS)

    async def _ask(self, topic: str) -> int:
        """How many partitions the topic has, by a live broker. Raises BrokerUnavailable within a second."""
        self._loop = asyncio.get_running_loop()
        try:
            answer = asyncio.wrap_future(self._question(topic, PROBE_SECONDS))
        except RuntimeError:
            raise BrokerUnavailable("the publisher is closed") from None
        answer.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(PROBE_SECONDS + 0.1):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise BrokerUnavailable(self._outage or "the broker does not answer in time") from None

    def _question(self, topic: str, seconds: float) -> Future[int]:
        with self._asking:
            asked = self._asked.get(topic)
            if asked is None or asked.done():
                asked = self._asked[topic] = self._asker.submit(self._metadata, topic, seconds)
            return asked

    def _metadata(self, topic: str, seconds: float) -> int:
        """On the asking thread. Whether any broker answered decides about the outage, not what it answered."""
        try:
            found = self._producer.list_topics(topic, timeout=seconds).topics[topic]
        except KafkaException as failure:
            explained = self._diagnosis.explain(failure)
            self._outage = explained.reason
            raise explained from failure
        self._diagnosis.clear()
        self._outage = None
        if found.error is not None:
            raise BrokerUnavailable(f"topic {topic}: {reason_of(found.error)}")
        leaderless = sorted(number for number, one in found.partitions.items() if one.leader < 0)
        if leaderless or not found.partitions:
            raise BrokerUnavailable(f"topic {topic}: a partition has no leader at the moment ({leaderless})")
        if topic == self._topic:
            self._partitions = len(found.partitions)
        return len(found.partitions)


class _TooLarge(Rejected):
    """Refused by the broker within a request that may have held other records."""


_UNPLACED: Final = Acked(None)


def _told(result: PublishResult) -> PublishResult:
    if isinstance(result, _TooLarge):
        return Rejected(result.reason)
    return Unsent("the broker confirmed the record without its place") if result == _UNPLACED else result


def _result_of(error: KafkaError | None, message: Message | None) -> PublishResult:
    if error is None:
        return Acked(message.offset() if message is not None else None)
    if not is_of_the_record(error):
        return Unsent(reason_of(error))
    return Rejected(reason_of(error)) if message is None else _TooLarge(reason_of(error))


def _retrieve(answer: "asyncio.Future[int]") -> None:
    """Whoever asked may have gone: an answer that nobody hears is no mistake."""
    if not answer.cancelled():
        answer.exception()
