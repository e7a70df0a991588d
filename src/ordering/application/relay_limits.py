"""How much the relay takes at a time, and who may begin a batch."""

import asyncio

import attrs


@attrs.frozen
class RelayLimits:
    """Bounds of the relay. Whatever does not fit into the window waits in the database, where the sweep finds it."""

    batch_max: int = 512
    window_max: int = 8_192
    followers_max: int = 16
    publishes_at_once: int = 1
    stall_seconds: float = 0.05
    """How long a batch has to be under way before another one is sent beside it: what waits meanwhile goes in one."""
    mark_pause_seconds: float = 0.02
    sweep_seconds: float = 1.0
    tick_seconds: float = 0.5
    backlog_seconds: float = 0.1
    nudge_pause_seconds: float = 0.005
    recount_seconds: float = 10.0
    """How often the topic is asked whether it has grown."""
    late_seconds: float = 5.0
    """An event that waits longer than this, counted from when this relay first saw it, means an outage."""


class Turn:
    """The right to begin a batch, given away once."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns: asyncio.Semaphore | None = turns

    def give_away(self) -> None:
        if self._turns is not None:
            self._turns.release()
            self._turns = None
