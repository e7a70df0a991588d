"""The gate before the store: whether new changes are accepted while their events cannot be delivered."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import attrs

from ordering.application.causes import Cause, CauseCode
from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import OutboxSummary

NOT_REACHED: Final = "the relay has not reached the broker yet"


class OutagePolicy(StrEnum):
    """REJECT: no delivery, no new changes. ACCEPT: changes are taken until the backlog's limit."""

    REJECT = "reject"
    ACCEPT = "accept"


@attrs.frozen
class BacklogLimits:
    """How much may wait for delivery under ACCEPT: events, age of the oldest in seconds, free bytes to keep on disk."""

    events: int = 1_000_000
    seconds: float = 86_400.0
    free_bytes: int = 1 << 30


class OutageGate:
    """Open or closed, with the reason; the relay keeps it up to date, commands ask it just before they store."""

    def __init__(
        self,
        policy: OutagePolicy = OutagePolicy.REJECT,
        limits: BacklogLimits | None = None,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        self._policy, self._limits, self._free_bytes = policy, limits or BacklogLimits(), free_bytes
        self._undeliverable: str | None = NOT_REACHED
        self._full: str | None = None
        self._held: str | None = None

    @property
    def undeliverable(self) -> str | None:
        """Why events cannot be delivered now; None if they can."""
        return self._undeliverable

    @property
    def closed(self) -> str | None:
        """Why new changes are refused now; None if they are taken."""
        if self._held is not None:
            return self._held
        return self._undeliverable if self._policy is OutagePolicy.REJECT else self._full

    @property
    def cause(self) -> Cause | None:
        """Why new changes are refused, with its kind."""
        reason = self.closed
        if reason is None:
            return None
        if reason == NOT_REACHED:
            return Cause(CauseCode.STARTING, reason)
        accepting = self._policy is OutagePolicy.ACCEPT
        return Cause(CauseCode.BACKLOG_FULL if accepting else CauseCode.EVENTS_UNDELIVERABLE, reason)

    @property
    def watches_backlog(self) -> bool:
        """Whether the policy needs ``judge_backlog``."""
        return self._policy is OutagePolicy.ACCEPT

    def hold(self) -> None:
        """Refuse everything, whatever the policy, until ``release``: nobody has looked at the log yet."""
        self._held = NOT_REACHED

    def release(self) -> None:
        """The policy decides from here on."""
        self._held = None

    def check(self) -> None:
        """Raise BrokerUnavailable with the reason if new changes are refused."""
        reason = self.closed
        if reason is not None:
            raise BrokerUnavailable(reason)

    def deliverable(self) -> None:
        """Events reach the log."""
        self._undeliverable = None

    def outage(self, reason: str) -> None:
        """Events do not reach the log."""
        self._undeliverable = reason

    def judge_backlog(self, backlog: OutboxSummary, now: int) -> None:
        """Compare what waits (``now`` in UTC microseconds) with the limits."""
        limits = self._limits
        age = 0.0 if backlog.oldest_at is None else (now - backlog.oldest_at) / 1e6
        if backlog.unpublished >= limits.events:
            self._full = f"{backlog.unpublished} events wait for delivery, the limit is {limits.events}"
        elif age > limits.seconds:
            self._full = f"the oldest undelivered event is {age:.0f} s old, the limit is {limits.seconds:.0f} s"
        else:
            self._full = self._disk_full()

    def _disk_full(self) -> str | None:
        if self._free_bytes is None:
            return None
        try:
            enough = self._free_bytes() >= self._limits.free_bytes
        except OSError as error:
            return f"nobody can tell how much is free on the disk: {error}"
        return None if enough else f"less than {self._limits.free_bytes / 2**20:,.0f} MiB are free on the store's disk"
