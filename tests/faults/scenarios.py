"""Every scenario by its name: the function, its counts in the small size (CI), its counts in the full size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults import broker, database, instances, races, registry
from tests.faults.outcome import Outcome

SCENARIOS: dict[str, tuple[Callable[..., Outcome], dict[str, Any], dict[str, Any]]] = {
    "broker-kill-reject": (broker.kill_reject, {"rounds": 2, "down": 3.0}, {"rounds": 5, "down": 20.0}),
    "broker-black-hole": (broker.black_hole, {"rounds": 1, "down": 8.0}, {"rounds": 5, "down": 20.0}),
    "broker-kill-accept": (broker.kill_accept, {"rounds": 2, "down": 3.0}, {"rounds": 5, "down": 20.0}),
    "broker-down-at-start": (broker.down_at_start, {}, {}),
    "topic-missing-at-start": (broker.topic_missing_at_start, {}, {}),
    "registry-down-under-load": (registry.down_under_load, {"down": 3.0}, {"down": 20.0}),
    "registry-down-at-cold-start": (registry.down_at_cold_start, {}, {}),
    "registry-hangs": (registry.hangs, {"hanging": 5.0}, {"hanging": 20.0}),
    "unknown-schema-then-known": (registry.unknown_then_known, {"orders": 3}, {"orders": 50}),
    "database-cut": (database.database_cut, {"cuts": 12}, {"cuts": 100}),
    "database-restart": (database.database_restart, {"restarts": 1}, {"restarts": 5}),
    "low-id": (database.low_id, {"orders": 300}, {"orders": 5_000}),
    "instance-killed": (instances.instance_killed, {"kills": 8}, {"kills": 100}),
    "instance-paused": (instances.instance_paused, {"pauses": 2}, {"pauses": 20}),
    "two-instances-race": (races.two_instances_race, {"orders": 90}, {"orders": 1_500}),
    "seen-from-elsewhere": (instances.seen_from_elsewhere, {"orders": 50}, {"orders": 200}),
}


def run(name: str, parts: object, size: str) -> Outcome:
    """Run one scenario in one size, ``small`` or ``full``."""
    function, small, full = SCENARIOS[name]
    return function(parts, **(full if size == "full" else small))
