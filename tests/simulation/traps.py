"""Where processes die and stand still: at the so-many-th port call from now, or at a call of one port."""

import random
from collections.abc import Mapping
from typing import Final

import attrs

OFTEN: Final[Mapping[str, tuple[str, ...]]] = {
    "Cart": (
        "store.get",
        "store.answer_to",
        "store.write",
        "store.heads",
        "store.mark",
        "store.renew",
        "store.holders_view",
        "store.summary",
        "log.publish",
        "registry.id_of",
    ),
    "Reader": ("log.poll", "log.polled", "log.commit", "views.load", "views.commit", "views.get", "views.held_keys"),
    "Rebuilder": ("log.poll", "log.polled", "views.load", "views.commit", "generations.discards", "generations.rows"),
    "Terminal": ("store.retry", "views.letters", "views.load", *("registry.schema_of",) * 3),
}
"""By kind of process, the ports that each of them calls again and again."""

SELDOM: Final[Mapping[str, tuple[str, ...]]] = {
    "Cart": (
        "log.probe",
        "log.partition_count",
        "log.newest",
        "registry.schema_of",
        "store.partitions",
        "store.standings",
        "store.nudge",
        "store.trim",
    ),
    "Reader": (
        "log.identity",
        "log.seek",
        "log.end_offsets",
        "registry.schema_of",
        "views.identity",
        "views.ids",
        "views.positions",
    ),
    "Rebuilder": (
        "log.identity",
        "log.begin_offsets",
        "log.end_offsets",
        "log.seek",
        "registry.schema_of",
        "views.identity",
        "views.held_keys",
        "generations.claim",
        "generations.found",
        "generations.begin",
    ),
    "Terminal": ("views.load", *("registry.schema_of",) * 5),
}
"""Those that are called at the start, or now and then."""

AT_LAST: Final[Mapping[str, tuple[str, ...]]] = {
    "Cart": ("store.park", "store.release"),
    "Reader": ("views.record_identity", *("views.held",) * 3),
    "Rebuilder": (
        "views.held",
        "generations.figures",
        "generations.letters",
        "generations.discarded",
        "generations.flip",
        "generations.drop",
        "generations.release",
    ),
    "Terminal": ("views.held", "views.commit"),
}
"""And those that are called only if much else has happened before. One that hardly ever is has more than one lot."""

TIERS: Final = (OFTEN, SELDOM, AT_LAST)


def struck(kind: str, port: str) -> str:
    """Under which name it is counted that a process died or stood still as it came to a port."""
    return f"at port: {kind} {port}"


PLACES: Final = tuple(
    dict.fromkeys(struck(kind, port) for ports in TIERS for kind, some in ports.items() for port in some)
)
"""All of these names."""

UNAIMED: Final = (struck("Cart", "registry.schema_of"),)
"""Calls at which no trap is laid by name, and a process dies only by their number: a few at the start of some carts."""


@attrs.define
class Trap:
    """It strikes a process at its call number ``left`` from now (0: the next one), of all calls or of one port's."""

    fate: str
    left: int
    port: str | None = None

    @classmethod
    def drawn(cls, rng: random.Random, kind: str) -> "Trap":
        """At any of the ports of this kind of process; those that are seldom called have as good a chance."""
        tier = rng.choice(TIERS)
        left = rng.choice((0, 0, 3, 30)) if tier is OFTEN else 0 if tier is AT_LAST else rng.choice((0, 0, 0, 3))
        return cls(rng.choice(("crash", "pause")), left, rng.choice(tier[kind]))

    def strikes(self, port: str) -> bool:
        """Whether it does so now: a call of this port is about to begin."""
        if self.port not in (None, port):
            return False
        self.left -= 1
        return self.left < 0
