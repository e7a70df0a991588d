"""The systems the conformance table runs against."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.http.systems import Body, EmbeddedBody, MemoryBody, ProcessBody, StandInBody, System, system_of

BODIES: dict[str, Callable[[Path], Body]] = {
    "stand-ins": lambda _: StandInBody(),
    "memory": MemoryBody,
    "embedded": EmbeddedBody,
    "processes": ProcessBody,
}


@pytest.fixture(
    scope="package",  # not longer: its event loop would be every later test's, whatever loop these ask for
    params=[pytest.param(name, marks=pytest.mark.process if name == "processes" else ()) for name in BODIES],
)
async def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """One running system for all rows; every row uses orders of its own."""
    folder = tmp_path_factory.mktemp(request.param) / "data"
    async with system_of(BODIES[request.param](folder)) as running:
        yield running
