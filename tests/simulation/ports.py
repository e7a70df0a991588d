"""Everything that a node calls, in one place to import from."""

from tests.simulation.outside import Node, Outside
from tests.simulation.sim_log import SimPublisher, SimSource
from tests.simulation.sim_registry import SimRegistry, SimSchemas
from tests.simulation.sim_store import SimStore
from tests.simulation.sim_views import SimGenerations, SimViews
from tests.simulation.weather import CALM, FAULTS, Weather

__all__ = [
    "CALM",
    "FAULTS",
    "Node",
    "Outside",
    "SimGenerations",
    "SimPublisher",
    "SimRegistry",
    "SimSchemas",
    "SimSource",
    "SimStore",
    "SimViews",
    "Weather",
]
