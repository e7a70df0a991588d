"""The Runtime port on the system's clocks and asyncio."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uuid_utils

from ordering.application.ports import Timer


class SystemRuntime:
    """Real time. ``spawn`` keeps a reference to its tasks: asyncio itself holds them only weakly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def now(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, call)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def new_id(self) -> str:
        return str(uuid_utils.uuid7())
