"""Async tests of this folder run in virtual time."""

import asyncio

import pytest

from tests.unit.application.runtime import RecordingObserver, VirtualLoop, VirtualRuntime


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run each async test on a loop of its own that never waits."""
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture
async def runtime() -> VirtualRuntime:
    """Virtual time. An async fixture of a wider scope that is still open would impose its own loop: real waiting."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    return VirtualRuntime()


@pytest.fixture
def observer() -> RecordingObserver:
    """What the application reported."""
    return RecordingObserver()
