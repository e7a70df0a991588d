"""What one seed's world is made of: each seed draws its own sizes and its own mix of everything."""

import random
from typing import Final

import attrs

from ordering.application.outage_gate import OutagePolicy

SCRIPTS: Final = (
    "hot order",
    "crash loop",
    "rolling restart",
    "two leaders",
    "broker flaps",
    "store flaps",
    "all at once",
)
"""Storms with a plot: uniform faults hide what needs the same thing twice in the right places."""


@attrs.frozen
class Swarm:
    """Sizes and rates. Seconds are virtual; rates are chances per request."""

    policy: OutagePolicy
    script: str | None
    """A storm's name, or None: faults come one by one, of all kinds alike."""
    liveness: bool
    """Whether a core is healed for good in the middle of the storm, and everything else stays broken."""
    carts: int
    readers: int
    clients: int
    requests: int
    width: int
    """How many orders are worked on at a time."""
    fresh: float
    """How many idempotency keys are new ones."""
    bad: float
    """How many requests are about an order that no store takes."""
    storm_seconds: float
    think_seconds: float
    tempo: float
    """About how many seconds pass between two faults of chaos."""
    read: float
    repeat: float
    keyed: float
    matched: float
    malformed: float
    patience: tuple[float | None, ...]
    """How long clients wait before they hang up; None: for ever."""
    waiters_max: int
    rebuilds: bool
    trims: bool
    checks: bool
    """Whether carts compare store and log before they publish anything."""
    restores: bool
    """Whether the store is put back to a backup once, in the end."""

    @classmethod
    def drawn(cls, rng: random.Random) -> "Swarm":
        """Half of the seeds follow a script; sizes are one, few or many."""
        script = rng.choice(SCRIPTS) if rng.random() < 0.5 else None
        return cls(
            policy=rng.choice((OutagePolicy.REJECT, OutagePolicy.ACCEPT)),
            script=script,
            liveness=rng.random() < 0.4,
            carts=rng.choice((1, 2, 2, 3)),
            readers=rng.choice((1, 1, 2)),
            clients=rng.choice((2, 4, 8)),
            requests=rng.choice((20, 40, 80)),
            width=1 if script == "hot order" else rng.choice((1, 2, 6, 20)),
            fresh=rng.choice((0.3, 0.9)),
            bad=rng.choice((0.0, 0.02, 0.1)),
            storm_seconds=rng.choice((3.0, 6.0, 10.0)),
            think_seconds=rng.choice((0.0, 0.02, 0.1, 0.3)),
            tempo=rng.choice((0.3, 1.0, 5.0)),
            read=rng.choice((0.0, 0.2, 0.5)),
            repeat=rng.choice((0.05, 0.2, 0.5)),
            keyed=rng.choice((0.0, 0.3, 0.8)),
            matched=rng.choice((0.0, 0.3)),
            malformed=rng.choice((0.0, 0.02)),
            patience=rng.choice(((None,), (None, None, 0.05), (0.0, 0.01, 0.2))),
            waiters_max=rng.choice((1, 1_000)),
            rebuilds=rng.random() < 0.5,
            trims=rng.random() < 0.15,
            checks=(checks := rng.random() < 0.4),
            restores=checks and rng.random() < 0.3,
        )
