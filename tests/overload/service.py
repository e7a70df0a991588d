"""The ``ordering`` command on an order store that is slowed at will.

Each batch takes so many seconds longer as the file says that ``SLOW_STORE`` names; none while there is no such file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.application.messages import Outcome, Write
from ordering.entrypoints.cli import main

SLOW_STORE = "SLOW_STORE"

Writing = Callable[[Any, Sequence[Write]], Awaitable[Sequence[Outcome]]]


def slowed(writing: Writing, file: Path) -> Writing:
    """The same, and slow while the file says so."""

    async def write(store: Any, batch: Sequence[Write]) -> Sequence[Outcome]:  # noqa: ANN401 -- one of the stores
        try:
            seconds = float(file.read_text())  # noqa: ASYNC240 -- a few bytes, and a slow store is wanted
        except FileNotFoundError:
            seconds = 0.0
        if seconds:
            await asyncio.sleep(seconds)
        return await writing(store, batch)

    return write


def _slow_stores(file: Path) -> None:
    SqliteOrderStore.write = slowed(SqliteOrderStore.write, file)  # type: ignore[method-assign]
    if os.environ.get("ORDERING_MODE") == "cluster":
        from ordering.adapters.postgres.store import PostgresOrderStore  # noqa: PLC0415 -- its driver is an extra

        PostgresOrderStore.write = slowed(PostgresOrderStore.write, file)  # type: ignore[method-assign]


if __name__ == "__main__":
    _slow_stores(Path(os.environ[SLOW_STORE]))
    sys.exit(main())
