"""Every scenario by its name: the function, its counts in the small size (CI), its counts in the full size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults import broker, database, group, instances, races, readers, registry, topic
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
    "group-churn-classic": (
        group.churn,
        {"protocol": "classic", "changes": 4, "every": 3.0, "pause": 0.3},
        {"protocol": "classic", "changes": 24, "every": 5.0, "pause": 0.08},
    ),
    "group-churn-consumer": (
        group.churn,
        {"protocol": "consumer", "changes": 4, "every": 3.0, "pause": 0.3},
        {"protocol": "consumer", "changes": 24, "every": 5.0, "pause": 0.08},
    ),
    "group-member-killed": (group.member_killed, {"rounds": 1}, {"rounds": 6}),
    "group-member-frozen": (group.member_frozen, {"rounds": 1}, {"rounds": 6}),
    "group-static-member-classic": (
        group.static_member,
        {"protocol": "classic", "rounds": 2, "session": 30.0},
        {"protocol": "classic", "rounds": 6, "session": 10.0},
    ),
    "group-static-member-consumer": (
        group.static_member,
        {"protocol": "consumer", "rounds": 2, "session": 45.0},
        {"protocol": "consumer", "rounds": 6, "session": 45.0},
    ),
    "group-static-member-crashed": (group.static_member_crashed, {"rounds": 1}, {"rounds": 3}),
    "group-offsets-moved": (group.offsets_moved, {"events": 60}, {"events": 2_000}),
    "group-read-elsewhere": (readers.read_elsewhere, {"orders": 6}, {"orders": 100}),
    "group-of-files": (readers.files_in_a_group, {"events": 100}, {"events": 1_000}),
    "topic-grown": (topic.grown, {"events": 150}, {"events": 2_000}),
    "topic-recreated": (topic.recreated, {"events": 100}, {"events": 2_000}),
    "topic-elsewhere": (topic.elsewhere, {"events": 60}, {"events": 1_000}),
    "topic-trimmed": (topic.trimmed, {"events": 60}, {"events": 1_000}),
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
