"""Named broken builds of the reading side, which the scenarios of the consumer group and its topic must catch."""

from __future__ import annotations

from tests.e2e.crash_mutants import Mutant

MUTANTS: dict[str, Mutant] = {
    # Whoever commits last wins, whatever others have stored meanwhile. The pause stands for a slow machine: it makes
    # the moment between reading and writing long enough for a signal to fall into it.
    "compare-and-set-dropped": Mutant(
        "adapters/postgres/changes.py",
        "    await connection.fetch(_APPLY, *arguments)\n\n\n"
        "def arguments_of(changes: Changes, origin: str) -> list[object]:\n"
        '    """What the function takes; ``origin`` is this instance\'s name in the news. Raises WriteRejected."""\n',
        "    values = list(arguments)\n"
        "    at = await connection.fetch(\n"
        '        "SELECT partition, next FROM positions WHERE topic = $1 AND generation = $2", *values[:2]\n'
        "    )\n"
        "    rows = await connection.fetch(\n"
        '        "SELECT key, revision FROM view_rows WHERE generation = $1 AND key = ANY ($2::text[])",\n'
        "        *values[1:6:4],\n"
        "    )\n"
        "    values[3] = [dict(at).get(partition, 0) for partition in values[2]]\n"
        "    values[17] = [dict(rows).get(key, 0) + 1 for key in values[5]]\n"
        "    await connection.fetch(_APPLY, *values)\n\n\n"
        "def arguments_of(changes: Changes, origin: str) -> list[object]:\n"
        "    import time\n\n    time.sleep(1.0)\n",
    ),
    # Whoever takes a partition over begins where the broker says that its group is.
    "positions-from-the-broker": Mutant(
        "application/consume_events.py",
        "        stored = (await self._store.load(self._topic, ())).positions\n",
        "        import asyncio\n\n        from confluent_kafka import TopicPartition\n\n"
        "        asked = [TopicPartition(self._topic, partition) for partition in self._astray]\n"
        "        told = await asyncio.to_thread(self._source._fetcher._consumer.committed, asked, 10.0)\n"
        "        stored = {place.partition: max(place.offset, 0) for place in told}\n",
    ),
    # A log that is another one is read from its present end on.
    "reset-to-the-end": Mutant(
        "application/consume_events.py",
        "                self.halted, self.trouble = True, str(error)\n"
        '                self._observer.alarmed("consumer.halted", topic=self._topic, reason=str(error))\n',
        "                self._source._identity = None\n"
        "                self._source._unchecked = {}\n"
        "                self._source._fetcher and self._source._fetcher.out_of_range.clear()\n"
        "                await self._store.record_identity(self._topic, await self._source.identity())\n"
        "                self._known, self._astray = True, set()\n"
        "                self._source._backlog.seek(await self._source.end_offsets())\n",
    ),
    # The alarm is raised, and at the next start everything is forgotten.
    "other-log-taken-at-start": Mutant(
        "application/consume_events.py",
        "        require_same_log(self._topic, known, found)\n",
        "",
    ),
    # Keys go where the topic's present size sends them.
    "keys-move-with-growth": Mutant(
        "application/addressing.py",
        "        self._partitions[topic], self._found[topic] = recorded, found\n",
        "        self._partitions[topic], self._found[topic] = found, found\n        recorded = found\n",
    ),
    # Instances do not hear of each other.
    "news-unheard": Mutant(
        "entrypoints/container/services.py",
        "        await views.follow(waiters.notify)\n",
        "        await asyncio.Event().wait()\n",
    ),
    # A read model in a file is ready whatever it reads.
    "ready-with-some-partitions": Mutant(
        "entrypoints/container/causes.py",
        "        elif self._alone and (unread := await self._unread()) is not None:\n",
        "        elif (unread := None) is not None:\n",
    ),
    # Every member is a new one after a restart.
    "no-static-members": Mutant(
        "adapters/kafka/connection.py", "        if instance_id is not None:\n", "        if not instance_id:\n"
    ),
    # A member that stops does not say so: its partitions wait for the end of its session.
    "leaves-without-a-word": Mutant(
        "adapters/kafka/fetching.py",
        "            with contextlib.suppress(KafkaException, RuntimeError):\n                self._consumer.close()\n",
        "            pass\n",
    ),
}
