"""Async tests of this folder run in virtual time."""

import pytest

from tests.unit.application.runtime import RecordingObserver, VirtualLoop, VirtualRuntime


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run each async test on a loop of its own that never waits."""
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture
def runtime() -> VirtualRuntime:
    """Virtual time."""
    return VirtualRuntime()


@pytest.fixture
def observer() -> RecordingObserver:
    """What the application reported."""
    return RecordingObserver()
