"""The real parts that these tests break, one of each for the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.parts import Parts
from tests.services.fixtures import unavailable
from tests.services.processes import Missing
from tests.services.surroundings import composed


@pytest.fixture(scope="session")
def parts() -> Iterator[Parts]:
    """Parts of our own, to be killed; those of docker-compose.yml are killed by the test of that file."""
    if composed():
        pytest.skip("faults: parts are killed here, so they have to be our own (run without INTEGRATION=compose)")
    with Parts() as started:
        try:
            assert started.kafka
            assert started.postgres
            assert started.registry
        except Missing as reason:
            unavailable(reason)
        yield started
