"""Trimming what is kept only for a while: answers to idempotency keys and published journal rows."""

import attrs

from ordering.application.failures import CommitAmbiguous, StoreUnavailable
from ordering.application.ports import Housekeeping, Runtime


@attrs.frozen
class Retention:
    """How long things are kept, in seconds, and how gently they go."""

    answers_seconds: float = 86_400.0
    journal_seconds: float = 7 * 86_400.0
    batch: int = 200
    batch_pause_seconds: float = 0.05
    round_seconds: float = 60.0


class Trimmer:
    """Deletes in small batches with pauses, so that no commit waits noticeably."""

    def __init__(self, store: Housekeeping, runtime: Runtime, retention: Retention) -> None:
        self._store, self._runtime, self._retention = store, runtime, retention

    async def run(self) -> None:
        """Trim until cancelled."""
        while True:
            try:
                went = await self.trim_once()
            except (StoreUnavailable, CommitAmbiguous):
                went = 0
            full = went >= self._retention.batch
            await self._runtime.sleep(self._retention.batch_pause_seconds if full else self._retention.round_seconds)

    async def trim_once(self) -> int:
        """One batch; how many rows went."""
        now, keep = self._runtime.now(), self._retention
        return await self._store.trim(
            answers_before=now - int(keep.answers_seconds * 1e6),
            journal_before=now - int(keep.journal_seconds * 1e6),
            limit=keep.batch,
        )
