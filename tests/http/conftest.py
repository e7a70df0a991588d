"""The systems the conformance table runs against."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.http.systems import Body, EmbeddedBody, MemoryBody, ProcessBody, StandInBody, System, system_of
from tests.services.deployment import deployed

BODIES: dict[str, Callable[[Path], Body]] = {
    "stand-ins": lambda _: StandInBody(),
    "memory": MemoryBody,
    "embedded": EmbeddedBody,
    "processes": ProcessBody,
}
NAMES = [
    *(name for name in BODIES if name != "processes"),
    *(pytest.param(name, marks=pytest.mark.process) for name in ("processes", "cluster")),
]


@pytest.fixture(
    scope="package",  # not longer: its event loop would be every later test's, whatever loop these ask for
    params=NAMES,
)
async def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """One running system for all rows; every row uses orders of its own."""
    folder = tmp_path_factory.mktemp(request.param) / "data"
    with ExitStack() as parts:
        if request.param == "cluster":
            body: Body = ProcessBody(folder, parts.enter_context(deployed()))
        else:
            body = BODIES[request.param](folder)
        async with system_of(body) as running:
            yield running
