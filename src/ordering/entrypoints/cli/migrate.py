"""``ordering migrate``: the tables of the cluster mode's PostgreSQL stores."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ordering.entrypoints import container
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.container import Migrations
from ordering.entrypoints.process import CalledWrongly, StartupError
from ordering.entrypoints.settings import load


def up(part: str | None) -> int:
    """Bring every part, or one, to the newest revision."""

    async def work(migrations: Migrations, parts: Sequence[str]) -> int:
        for name in parts:
            went = await migrations.up(name)
            print(f"{name}: " + (f"migrated to {went[-1]}" if went else "is up to date"))
        return 0

    return _run(part, work)


def down(part: str | None, to: str) -> int:
    """Take revisions of one part back; going back to ``base`` takes its data with it."""
    if part is None:
        raise CalledWrongly("name the part to take back: --part cart or --part order")

    async def work(migrations: Migrations, parts: Sequence[str]) -> int:
        for name in parts:
            gone = await migrations.down(name, to)
            print(f"{name}: " + (f"took back {', '.join(gone)}" if gone else "nothing to take back"))
        return 0

    return _run(part, work)


def status(part: str | None, output: out.Output) -> int:
    """Print every revision and whether the database has it; 1 if one is missing."""

    async def work(migrations: Migrations, parts: Sequence[str]) -> int:
        found = [
            {"part": name, "revision": step.revision, "applied": "yes" if step.applied else "no", "what": step.summary}
            for name in parts
            for step in await migrations.status(name)
        ]
        out.rows(found, ("part", "revision", "applied", "what"), output, empty="there are no migrations")
        return 0 if all(row["applied"] == "yes" for row in found) else 1

    return _run(part, work)


def sql(part: str | None) -> int:
    """Print the script that sets up the parts from nothing, for people who run it themselves."""

    async def work(migrations: Migrations, parts: Sequence[str]) -> int:
        for name in parts:
            print(migrations.sql(name))
        return 0

    return _run(part, work)


def _run(part: str | None, work: Callable[[Migrations, Sequence[str]], Coroutine[Any, Any, int]]) -> int:
    settings = load(os.environ).settings
    try:
        migrations = Migrations(settings)
        if part is not None and part not in migrations.urls:
            raise CalledWrongly(f"the {part} service's store is no PostgreSQL database")
        return asyncio.run(work(migrations, [part] if part else list(migrations.urls)))
    except container.REFUSALS as error:
        raise StartupError(str(error)) from None
