"""The systems the conformance table runs against."""

from collections.abc import AsyncIterator

import pytest

from tests.http import systems
from tests.http.systems import System

BODIES = {"stand-ins": systems.stand_ins}


@pytest.fixture(scope="session", params=BODIES)
async def system(request: pytest.FixtureRequest) -> AsyncIterator[System]:
    """One running system for all rows; every row uses orders of its own."""
    async with BODIES[request.param]() as running:
        yield running
