"""One real schema registry for all tests of a run; each test takes a topic, and so subjects, of its own.

A conftest or test module that wants it imports the fixture ``registry``; it starts with the first test that asks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.processes import Missing
from tests.services.registry import Registry


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """The running registry; the test is skipped where there is none."""
    try:
        running = Registry()
    except Missing as error:
        pytest.skip(str(error))
    with running:
        yield running
