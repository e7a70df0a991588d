"""How a stored event becomes a log record: behind its schema's registry id, in the partition its key has for ever."""

from ordering.application.framing import frame
from ordering.application.messages import NewEvent, OutgoingRecord
from ordering.application.partitioning import Places, partition_of, spread_over
from ordering.application.ports import EventPublisher, Observer, Outbox, SchemaIds


class Addressing:
    """Makes records, and knows how many partitions keys are spread over: as many as there were at first use."""

    def __init__(self, outbox: Outbox, publisher: EventPublisher, schema_ids: SchemaIds, observer: Observer) -> None:
        self._outbox, self._publisher, self._schema_ids, self._observer = outbox, publisher, schema_ids, observer
        self._partitions: dict[str, int] = {}
        self._found: dict[str, int] = {}
        """How many there really are, as far as people were told."""
        self._places: dict[str, Places] = {}

    async def record(self, event: NewEvent) -> OutgoingRecord:
        """The event for the log. Raises BrokerUnavailable, RegistryUnavailable, StoreUnavailable."""
        schema_id = await self._schema_ids.id_of(event.encoded.schema)
        partitions = self._partitions.get(event.topic)
        if partitions is None:
            partitions = await self.count(event.topic)
        return OutgoingRecord(
            event.topic,
            partition_of(event.key, partitions),
            event.key,
            frame(schema_id, event.encoded.body),
            event.headers,
            event.occurred_at // 1000,
        )

    def lie(self, topic: str, places: Places) -> None:
        """Where the newest records of ours lie. A store that has lost the recorded number (a backup from before the
        first event, or none at all) gets one that leaves them there, although the topic may have grown since."""
        self._places[topic] = places

    async def count(self, topic: str) -> int:
        """Ask how many partitions the topic has; the recorded number, which counts. Raises BrokerUnavailable,
        StoreUnavailable."""
        found = await self._publisher.partition_count(topic)
        places = self._places.get(topic, ())
        recorded = await self._outbox.partitions(topic, spread_over(places, found) or found)
        self._places.pop(topic, None)
        misplaced = {key for key, at in places if partition_of(key, recorded) != at}
        if misplaced:
            self._observer.alarmed("topic.keys_misplaced", topic=topic, recorded=recorded, keys=len(misplaced))
        if recorded != found and self._found.get(topic) != found:
            # Keys keep their partitions for ever, so growth changes nothing for us; people should know.
            self._observer.alarmed("topic.partitions_differ", topic=topic, recorded=recorded, found=found)
        self._partitions[topic], self._found[topic] = recorded, found
        return recorded
