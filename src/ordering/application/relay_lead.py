"""Who relays: the lease, and when its holder lets others try.

A holder whose own way to the broker is broken (its network, its credentials) would keep healthy instances from
publishing for as long as it lives. So it gives the lease back after a while and stands aside for longer than the others
need to take it; if nobody does, it takes it again.
"""

import contextlib

import attrs

from ordering.application.failures import StoreUnavailable
from ordering.application.ports import RelayLease, Runtime


@attrs.frozen
class LeadLimits:
    """``patience_seconds``: how long a holder may be unable to deliver; ``aside_seconds``: how long it then does not
    ask for the lease, unless it can deliver again."""

    patience_seconds: float = 5.0
    aside_seconds: float = 3.0


class Lead:
    """One relay's part in the election."""

    def __init__(self, lease: RelayLease, runtime: Runtime, limits: LeadLimits | None = None) -> None:
        self._lease, self._runtime, self._limits = lease, runtime, limits or LeadLimits()
        self._helpless_since: float | None = None
        self._aside_until = 0.0
        self.held = False
        """Whether this relay holds the lease."""
        self.is_news = False
        """Whether the last ``renew`` brought it, and not only again because nobody else had wanted it."""
        self._others_led = True

    async def renew(self, told: str | None, trouble: str | None) -> None:
        """Take, keep or give back the lease. ``told``: what this relay tells the others if it holds it; ``trouble``:
        why it can deliver nothing. Raises StoreUnavailable: then everything is as before."""
        before = self.held
        if self._stands_aside(trouble):
            self.held = False
            if before:
                with contextlib.suppress(StoreUnavailable):  # it expires by itself
                    await self._lease.release()
        else:
            self.held = await self._lease.renew(told)
            self._others_led |= not self.held
        self.is_news = self.held and not before and self._others_led
        if self.held:
            self._others_led = False

    async def view(self, trouble: str | None) -> str | None:
        """Why the holder cannot deliver; None if it can. Where nobody can, one's own reason says more. Raises
        StoreUnavailable."""
        told = await self._lease.holders_view()
        return told and (trouble or told)

    def _stands_aside(self, trouble: str | None) -> bool:
        now = self._runtime.monotonic()
        if trouble is None:
            self._helpless_since, self._aside_until = None, now
            return False
        if now < self._aside_until:
            return True
        if not self.held:
            self._helpless_since = None
            return False
        if self._helpless_since is None:
            self._helpless_since = now
        if now - self._helpless_since < self._limits.patience_seconds:
            return False
        self._helpless_since, self._aside_until = None, now + self._limits.aside_seconds
        return True
