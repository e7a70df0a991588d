"""Every scenario by its name: the function, its counts in the small size (CI), its counts in the full size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults.outcome import Outcome
from tests.overload import closed_loop, cutting, stops, stuck
from tests.overload.systems import Place

UNHURRIED = {"ORDERING_SHUTDOWN_SECONDS": "60"}
"""For a stop that is to be complete however slow the machine is."""

SCENARIOS: dict[str, tuple[Callable[..., Outcome], dict[str, Any], dict[str, Any]]] = {
    "closed-loop": (
        closed_loop.closed_loop,
        {"admitted": 16, "seconds": 2.0, "slow": 0.0},
        {"admitted": 256, "seconds": 20.0, "slow": 0.0},
    ),
    "slow-store": (
        closed_loop.closed_loop,
        {"admitted": 16, "seconds": 2.0, "slow": 0.2},
        {"admitted": 256, "seconds": 20.0, "slow": 0.2},
    ),
    "stuck-heads": (
        stuck.stuck_heads,
        {"sockets": 50, "admitted": 24, "head": 1.0, "body": 1.5},
        {"sockets": 500, "admitted": 256, "head": 10.0, "body": 30.0},
    ),
    "stuck-bodies": (
        stuck.stuck_bodies,
        {"sockets": 50, "admitted": 24, "head": 1.0, "body": 1.5},
        {"sockets": 500, "admitted": 256, "head": 10.0, "body": 30.0},
    ),
    "sigterm": (stops.sigterm, {"stops": 2, "clients": 32, "settings": UNHURRIED}, {"stops": 20, "clients": 64}),
    "sigterm-all": (
        stops.sigterm,
        {"stops": 2, "clients": 32, "whole": True, "settings": UNHURRIED},
        {"stops": 20, "clients": 64, "whole": True},
    ),
    "cut-connections": (cutting.cut_connections, {"cuts": 150}, {"cuts": 2_000}),
}


def run(name: str, place: Place, size: str) -> Outcome:
    """Run one scenario in one size, ``small`` or ``full``."""
    function, small, full = SCENARIOS[name]
    return function(place, **(full if size == "full" else small))
