"""Named broken builds that the scenarios must catch, beside those of the crash test."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import crash_mutants
from tests.e2e.crash_mutants import Mutant
from tests.faults import mutants_group, mutants_store

MUTANTS: dict[str, Mutant] = {
    **crash_mutants.MUTANTS,
    **mutants_store.MUTANTS,
    **mutants_group.MUTANTS,
    # Outages are seen and do not close the gate.
    "outage-ignored": Mutant(
        "application/outage_gate.py",
        '        """Events do not reach the log."""\n        self._undeliverable = reason\n',
        '        """Events do not reach the log."""\n',
    ),
    # The gate is asked after the commit: a 503 has stored.
    "stored-behind-503": Mutant(
        "application/place_order.py",
        "                self._gate.check()\n"
        "            outcome = await self._commit.submit(self._recorder.write(order, event, context), deadline)\n",
        "            outcome = await self._commit.submit(self._recorder.write(order, event, context), deadline)\n"
        "            self._gate.check()\n",
    ),
    # Accepting is not different from rejecting.
    "accept-rejects": Mutant(
        "application/outage_gate.py",
        "return self._undeliverable if self._policy is OutagePolicy.REJECT else self._full",
        "return self._undeliverable or self._full",
    ),
    # An event is handed to the producer whatever waits before it.
    "evidence-rule-removed": Mutant(
        "application/relay_outbox.py",
        "self._fault is None and (outcome.first_in_line or self._acked.get(aggregate) == event.version - 1):",
        "self._fault is None:",
    ),
    # An outage that was noticed once stays.
    "never-probes-again": Mutant(
        "application/relay_outbox.py",
        "        if self._fault is not None:\n            await self._probe()\n",
        "        if self._fault is not None and not self._recount_at:\n            await self._probe()\n",
    ),
    # Whoever has seen that a topic is missing does not look for it again.
    "missing-topic-is-final": Mutant(
        "application/relay_outbox.py",
        "        if self._fault is not None:\n            await self._probe()\n",
        '        if self._fault is not None and "not exist" not in self._fault:\n            await self._probe()\n',
    ),
    # Neither events that wait at the producer nor the question for the topic's size tell that a broker hangs.
    "hanging-is-no-outage": Mutant(
        "application/relay_limits.py",
        '    recount_seconds: float = 10.0\n    """How often the topic is asked whether it has grown."""\n'
        "    late_seconds: float = 5.0\n",
        "    recount_seconds: float = 600.0\n    late_seconds: float = 600.0\n",
    ),
    # A service that asks the broker before it starts does not start without one.
    "needs-the-broker-at-start": Mutant(
        "adapters/kafka/publisher.py",
        "        self._loop: asyncio.AbstractEventLoop | None = None\n        self._open",
        "        self._producer.list_topics(timeout=1.0)\n"
        "        self._loop: asyncio.AbstractEventLoop | None = None\n        self._open",
    ),
    # The schema's id is asked for at every event.
    "id-never-kept": Mutant(
        "adapters/avro/confluent.py",
        "        if known is not None:\n            return known\n        if schema not in self._released",
        "        if schema not in self._released",
    ),
    # A question to the registry stops everything else in the process while it is tried three times.
    "registry-blocks-the-loop": Mutant(
        "adapters/avro/confluent.py",
        "            async with asyncio.timeout(self._api.timeout_seconds):\n                return await ask()\n",
        "            time.sleep(3 * self._api.timeout_seconds)\n            return await ask()\n",
    ),
    # What the registry could not tell once is not asked again.
    "asked-once-and-never-again": Mutant(
        "adapters/avro/confluent.py", "FAILURE_SECONDS: Final = ", "FAILURE_SECONDS: Final = 600.0 + "
    ),
    # An unknown id stops the partition, not the order.
    "unknown-id-stops-all": Mutant(
        "adapters/avro/decoder.py",
        "                return _dead(DeadReason.UNKNOWN_SCHEMA, ",
        "                from ordering.application.failures import RegistryUnavailable\n\n"
        "                raise RegistryUnavailable(",
    ),
    # What was parked for an unknown id is never tried again.
    "unknown-id-forgotten": Mutant(
        "application/consume_events.py",
        "        for key in keys:\n            try:\n                released",
        "        for key in ():\n            try:\n                released",
    ),
    # Later events of an order overtake the one that is held.
    "held-is-overtaken": Mutant(
        "application/projection.py", "        if row is not None and row.held:\n", "        if row is None and False:\n"
    ),
}


def build(name: str, folder: Path) -> Path:
    """Write the broken build into a folder; what to put in front of PYTHONPATH."""
    return crash_mutants.build(name, folder, MUTANTS)
