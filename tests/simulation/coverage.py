"""What a run has seen, by name, against what it must see: a fault that never strikes proves nothing."""

from collections.abc import Mapping
from typing import Final

from tests.simulation.traps import PLACES
from tests.simulation.weather import FAULTS

ANSWERS: Final = (
    "answer 201 POST",
    "answer 200 PUT",
    "answer 201 replay",
    "answer 200 replay",
    "answer 400 invalid-input",
    "answer 404 order-not-found",
    "answer 409 duplicate-order",
    "answer 409 illegal-transition",
    "answer 409 idempotency-key-in-flight",
    "answer 412 precondition-failed",
    "answer 422 idempotency-key-reused",
    "answer 500 outcome-unknown",
    "answer 503 broker-unavailable",
    "answer 503 broker-unavailable backlog-full",
    "answer 503 store-unavailable",
    "answer 503 overloaded",
    "answer 503 shutting-down",
    "read 200",
    "read 200 after waiting",
    "read 404 order-not-found",
    "read 404 order-not-found after waiting",
    "read 409 version-not-reached",
    "read 409 version-not-reached after waiting",
    "read 503 store-unavailable",
    "read 503 overloaded after waiting",
    "read 503 shutting-down after waiting",
    "list 200",
    "list 404 topic-not-found",
    "list 503 read-model-behind",
    "list 503 broker-unavailable",
    "list 503 store-unavailable",
)
"""Every answer of the application layer, with how it came about, but one: ``contended`` takes five lost races of one
command, and an order has three changes. What HTTP itself refuses (405, 413, 431...) is held by tests/http."""

REPORTED: Final = (
    "commit.ambiguous",
    "commit.unknown",
    "consumer.assigned",
    "consumer.consuming",
    "consumer.paused",
    "events_applied",
    "events_duplicates",
    "events_published",
    "events_repeated",
    "events_gaps",
    "events_held:parked",
    "events_held:not-framed",
    "events_held:corrupt",
    "events_held:empty",
    "events_held:bad-key",
    "events_held:key-mismatch",
    "events_held:unknown-schema",
    "events_held:version-conflict",
    "events_held:refused",
    "dead_letter",
    "consumer.halted",
    "topic.partitions_differ",
    "outbox.parked",
    "projection_stale",
    "relay.delivering",
    "relay.leading",
    "relay.outage",
    "store.available",
    "store.unavailable",
    "write.rejected",
)
"""What the production code tells its Observer."""

WORLD: Final = (
    "mode.liveness",
    "process.killed",
    "process.died_at_port",
    "process.paused",
    "process.paused_at_port",
    "process.stopped",
    "process.clock_set",
    "process.cut_off",
    "process.cut_off_for_good",
    "script: broker flaps",
    "script: store flaps",
    "people.discarded",
    "people.released",
    "people.unparked",
    "rebuild.flipped",
    "rebuild.verified",
    "rebuild.refused",
    "rebuild.resumed",
    "rebuild.gave_up",
    "rebuild.log_changed",
    "all readers halted",
    "store.restored",
    "store.found_old",
    "people.reconciled",
    "people.reconcile_killed",
    "own writes were read",
    "asked again",
)
"""What the world does by itself."""

REQUIRED: Final = tuple(dict.fromkeys((*ANSWERS, *REPORTED, *WORLD, *FAULTS, *PLACES)))

FLOOR_PER_SEED: Final = 0.02
"""How often each name has to come up, per seed: ten times in 500 seeds."""
RARE: Final = PLACES
"""Deaths by place: each strikes in a few worlds, so that once in 500 seeds is enough."""


def lacking(seen: Mapping[str, int], seeds: int) -> dict[str, int]:
    """The required names that came up less often than so many seeds should bring, with how often they did."""
    floor = max(1, int(seeds * FLOOR_PER_SEED))
    return {name: seen.get(name, 0) for name in REQUIRED if seen.get(name, 0) < (1 if name in RARE else floor)}


def table(seen: Mapping[str, int], columns: int = 3) -> str:
    """All names with their counts, those that must come up first; a run's own names behind them."""
    names = [*REQUIRED, *sorted(seen.keys() - set(REQUIRED))]
    width = max(map(len, names))
    cells = [f"{name:<{width}} {seen.get(name, 0):>9,}" for name in names]
    rows = -(-len(cells) // columns)
    return "\n".join("   ".join(cells[row::rows]).rstrip() for row in range(rows))
