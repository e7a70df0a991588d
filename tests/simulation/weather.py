"""What may go wrong in a world, under the names that coverage counts, and how often it does for one seed."""

import random
from collections.abc import Mapping
from typing import Final

import attrs

SHARES: Final = (0.04, 0.1, 0.2, 0.4)
"""How many of all faults a world has at all: many at once hide what needs one of them and otherwise peace."""
FAVOURED: Final = (
    "log.poisoned",
    "log.trimmed",
    "group.deaf",
    "registry.no_schema",
    "registry.forgot",
    "power.cut_at_server",
)
"""What needs something else, too, before it does any harm: every third world has it."""
RARE: Final = (0.02, 0.2)
OFTEN: Final = (0.03, 0.25)
EVENT: Final = (1.0, 4.0)
FATAL: Final = 0.12
SLOWEST: Final = (0.0, 0.0, 0.01, 0.3)
STORE_SLOWEST: Final = (0.001, 0.001, 0.02, 0.5)
"""Seconds that a call takes at most as a rule."""

CALLS: Final[Mapping[str, tuple[float, ...]]] = {
    "store.busy": OFTEN,
    "store.slow": OFTEN,
    "store.read_failed": OFTEN,
    "store.ambiguous_stored": OFTEN,
    "store.ambiguous_not_stored": OFTEN,
    "store.ambiguous_late": OFTEN,
    "store.late": OFTEN,
    "store.mark_failed": OFTEN,
    "store.mark_answer_lost": OFTEN,
    "store.lease_failed": OFTEN,
    "store.nudge_lost": (0.3, 1.0),
    "log.unsent": OFTEN,
    "log.late_append": (0.5, 1.0),
    "log.ack_lost": OFTEN,
    "log.doubled": RARE,
    "log.fatal": RARE,
    "log.rejected": RARE,
    "log.slow": OFTEN,
    "log.probe_failed": OFTEN,
    "log.poll_failed": OFTEN,
    "log.stale_fetch": OFTEN,
    "log.end_failed": OFTEN,
    "log.offsets_not_told": (0.5, 1.0),
    "log.short_poll": (0.3, 1.0),
    "group.deaf": (0.5, 1.0),
    "registry.no_id": OFTEN,
    "registry.no_schema": (0.2, 0.7),
    "registry.slow": OFTEN,
    "views.busy": OFTEN,
    "views.slow": OFTEN,
    "views.read_failed": OFTEN,
    "views.ambiguous_stored": OFTEN,
    "views.ambiguous_not_stored": OFTEN,
    "views.ambiguous_late": OFTEN,
    "views.stale": OFTEN,
    "views.refused": RARE,
    "views.news_lost": (0.3, 1.0),
}
"""Faults of single calls: the rates that a seed draws from for those that it has."""

EVENTS: Final[Mapping[str, tuple[float, ...]]] = {
    "store.down": EVENT,
    "store.full": EVENT,
    "store.stalled": EVENT,
    "views.down": EVENT,
    "log.down": EVENT,
    "log.leaderless": EVENT,
    "log.grown": EVENT,
    "log.poisoned": (6.0, 16.0),
    "log.trimmed": (4.0, 10.0),
    "log.compacted": (1.0, 3.0),
    "group.rebalanced": EVENT,
    "registry.down": EVENT,
    "registry.forgot": (1.0, 2.0),
    "power.cut_at_server": (2.0, 8.0),
}
"""What happens to everybody for a while: how often in a storm, on average."""

FATES: Final = ("log.recreated", "log.history_lost")
"""What no reader may survive unnoticed: one of them in a few worlds, once."""

PATHS: Final = (
    "store.conflict",
    "store.answer_taken",
    "store.repeated",
    "store.rejected",
    "store.waited_for_locks",
    "store.not_first_in_line",
    "store.marks_lost",
    "store.parked",
    "store.unparked",
    "store.trimmed",
    "lease.refused",
    "lease.taken_over",
    "lease.released",
    "group.eager",
    "group.cooperative",
    "group.member_expired",
    "group.revoked",
    "group.zombie_poll",
    "log.given_up",
    "log.no_partition",
    "log.timed_out",
    "log.log_changed",
    "log.record_gone",
    "registry.unknown_id",
    "registry.id_learned",
    "foreign.junk",
    "foreign.corrupt",
    "foreign.tombstone",
    "foreign.bad-key",
    "foreign.no-key",
    "foreign.key-mismatch",
    "foreign.unknown-schema",
    "foreign.version-conflict",
    "foreign.resent",
    "foreign.stranger",
    "views.waited_for_locks",
    "views.rejected",
    "generations.flipped",
    "views.lost_race",
    "power.cut",
    "power.lost_unsynced",
    "power.kept_unsynced",
    "process.call_died_too",
)
"""What follows from the others."""

FAULTS: Final = (*CALLS, *EVENTS, *FATES, *PATHS)
"""Every name that a run may count."""


@attrs.frozen
class Weather:
    """How likely each fault is in this world, and how slow everything may be."""

    rates: Mapping[str, float]
    slowest: float = 0.001
    store_slowest: float = 0.001

    @classmethod
    def drawn(cls, rng: random.Random) -> "Weather":
        """Each fault is absent, rare or frequent, and most are absent: uniform rates would hide what needs one of them
        often, and where everything fails nothing gets far enough to be broken."""
        share = rng.choice(SHARES)
        rates = {
            name: rng.choice(some)
            for name, some in {**CALLS, **EVENTS}.items()
            if rng.random() < (max(share, 0.3) if name in FAVOURED else share)
        }
        rates |= {name: 1.0 for name in FATES if rng.random() < FATAL}
        return cls(rates, rng.choice(SLOWEST), rng.choice(STORE_SLOWEST))

    def only(self, kept: tuple[str, ...]) -> "Weather":
        """The same, with these faults alone (names or what they begin with)."""
        return Weather({name: rate for name, rate in self.rates.items() if name.startswith(kept)} if kept else {})


CALM: Final = Weather({})
"""Nothing goes wrong."""
STILL: Final = Weather({}, 0.0, 0.0)
"""And nothing takes time."""
