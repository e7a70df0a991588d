"""The test double of time is honest: it moves only forward, only when nothing else can be done, and never waits."""

import asyncio
import time
from uuid import UUID

import pytest

from tests.unit.application.runtime import Deadlock, VirtualRuntime, run


async def test_a_virtual_hour_takes_no_real_time(runtime: VirtualRuntime) -> None:
    """Sleeping moves the virtual clocks and nothing else."""
    real, began, label = time.monotonic(), runtime.monotonic(), runtime.now()
    await runtime.sleep(3600)
    assert runtime.monotonic() - began == pytest.approx(3600)
    assert runtime.now() - label == 3_600_000_000
    assert time.monotonic() - real < 1


async def test_timers_fire_in_the_order_of_their_times(runtime: VirtualRuntime) -> None:
    """The clock stops at every timer, and a cancelled one does not fire."""
    fired: list[str] = []
    runtime.call_later(2, lambda: fired.append(f"two at {runtime.monotonic():g}"))
    runtime.call_later(1, lambda: fired.append(f"one at {runtime.monotonic():g}"))
    runtime.call_later(1.5, lambda: fired.append("never")).cancel()
    await runtime.sleep(3)
    assert fired == ["one at 1", "two at 2"]


def test_waiting_for_nothing_is_an_error_instead_of_a_hanging_test() -> None:
    """With no timer left, waiting can never end."""

    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run(stuck())


async def test_ids_are_uuids_of_version_seven_and_repeat_for_a_seed() -> None:
    """Ids look like production's and are the same in every run."""
    first, again, other = VirtualRuntime(1).new_id(), VirtualRuntime(1).new_id(), VirtualRuntime(2).new_id()
    assert first == again != other
    assert UUID(first).version == 7
