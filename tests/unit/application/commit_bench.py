"""A group commit before a slow store."""

import asyncio
from collections.abc import Sequence

from ordering.application.failures import WriteRejected
from ordering.application.group_commit import CommitLimits, GroupCommit, StoredEvents
from ordering.application.messages import Conflict, Encoded, NewEvent, Outcome, Stored, Write
from tests.unit.application.runtime import RecordingObserver, VirtualRuntime, outcome_of

STORED = Stored(first_in_line=True)


def write_of(name: str, version: int = 1) -> Write:
    """A write of an aggregate; its event id names it."""
    event = NewEvent(
        f"{name}-{version}", name, version, "things", name.encode(), (), Encoded("thing", b""), 1_000_000 * version
    )
    return Write(name, version - 1, event)


class SlowStore:
    """A BatchWriter: versions in memory, ``seconds`` per commit, faults as scripted.

    ``faults`` are met one per call; a fault that is a pair (error, True) happens after the batch was stored.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds
        self.calls: list[list[str]] = []
        self.versions: dict[str, int] = {}
        self.event_ids: set[str] = set()
        self.faults: list[Exception | tuple[Exception, bool] | None] = []
        self.bad: set[str] = set()

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        self.calls.append([write.aggregate_id for write in batch])
        await asyncio.sleep(self.seconds)
        fault = self.faults.pop(0) if self.faults else None
        error, stored_anyway = fault if isinstance(fault, tuple) else (fault, False)
        if error is not None and not stored_anyway:
            raise error
        if self.bad & {write.aggregate_id for write in batch}:
            raise WriteRejected("a value does not fit")
        outcomes = [self._one(write) for write in batch]
        if error is not None:
            raise error
        return outcomes

    def _one(self, write: Write) -> Outcome:
        assert write.event is not None
        if write.event.event_id in self.event_ids:
            return Stored(first_in_line=True)
        version = self.versions.get(write.aggregate_id, 0)
        if version != write.expected_version:
            return Conflict(version)
        self.versions[write.aggregate_id] = write.event.version
        self.event_ids.add(write.event.event_id)
        return Stored(first_in_line=version == 0)


class Bench:
    """A running group commit before a slow store."""

    def __init__(self, runtime: VirtualRuntime, limits: CommitLimits | None = None, seconds: float = 0.1) -> None:
        self.runtime, self.store, self.observer = runtime, SlowStore(seconds), RecordingObserver()
        self.offered: list[str] = []
        self.commit = GroupCommit(self.store, runtime, self.observer, self._stored, limits)
        self.running = runtime.spawn(self.commit.run(), name="commit")

    def _stored(self, stored: StoredEvents) -> None:
        self.offered += [event.event_id for event, _ in stored]

    def submit(self, *names: str) -> list["asyncio.Task[object]"]:
        return [
            self.runtime.spawn(outcome_of(self.commit.submit(write_of(name))), name=f"submit {name}") for name in names
        ]
