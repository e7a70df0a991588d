"""Migrations, for the command line only: the services never import this.

Each service's schema has its own tree of migrations and its own version table; see ``migrations``.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import asyncpg
import attrs
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ordering.adapters.postgres.errors import Unusable, is_answered, raise_refused, reason_of
from ordering.adapters.postgres.schema import CART, ORDER
from ordering.application.failures import Refused

SCHEMAS: Final = {"cart": CART.name, "order": ORDER.name}
"""The parts there are to migrate, and the PostgreSQL schema of each."""

_HERE: Final = Path(__file__).with_name("migrations")
_CONNECT_SECONDS: Final = 5.0
_LOCK_SECONDS: Final = 2
"""How long a migration waits for a table. Whoever asks for it meanwhile waits as well, behind the migration: services
that go on, whose statements have longer than this. But it is longer than PostgreSQL takes to end its own vacuuming."""
T = TypeVar("T")


@attrs.frozen
class Step:
    """One migration of a tree: its number, what it brings, and whether the database has it."""

    revision: str
    summary: str
    applied: bool


async def up(url: str, part: str) -> list[str]:
    """Bring a part's schema to the newest revision; the revisions that ran, none if it was there already.

    One transaction, one runner at a time. Raises Refused, also if somebody keeps a table that it changes.
    """
    before, after = await _run(url, part, lambda config: command.upgrade(config, "head"))
    return [step.revision for step in after if step not in before and step.applied]


async def down(url: str, part: str, to: str) -> list[str]:
    """Go back to a revision (``base``: to nothing, with all data); the revisions taken back, newest first.

    By its name only: Alembic's steps from here (``-1``), done again after an end that nobody has heard of, take one
    more. Raises Refused.
    """
    names = [script.revision for script in ScriptDirectory.from_config(_config(part)).walk_revisions()][::-1]
    if to not in ("base", *names):
        raise Refused(f"{part} has no revision {to}: name `base`, or one of {', '.join(names)}")
    before, after = await _run(url, part, lambda config: command.downgrade(config, to))
    gone = [step.revision for step in after if step not in before and not step.applied]
    return gone[::-1]


async def status(url: str, part: str) -> list[Step]:
    """Every known migration of a part, oldest first. Changes nothing. Raises Refused."""

    def look(connection: Connection) -> list[Step]:
        return _steps(part, connection)

    return await _connected(url, look)


def sql(part: str) -> str:
    """The script that sets up a part's schema from nothing, for people who run it themselves."""
    out = io.StringIO()
    command.upgrade(_config(part, out), "head", sql=True)
    return out.getvalue()


# ---------------------------------------------------------------------- Alembic


def _config(part: str, out: io.StringIO | None = None) -> Config:
    if part not in SCHEMAS:
        raise Refused(f"there is no part {part!r} to migrate: use {' or '.join(SCHEMAS)}")
    config = Config(output_buffer=out)
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("version_locations", str(_HERE / part).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["schema"] = SCHEMAS[part]
    return config


def _steps(part: str, connection: Connection) -> list[Step]:
    found = _applied(SCHEMAS[part], connection)
    tree = ScriptDirectory.from_config(_config(part))
    known = list(tree.walk_revisions())[::-1]
    applied: set[str] = set()
    if found is not None:
        try:
            applied = {script.revision for script in tree.walk_revisions("base", found)}
        except CommandError as error:
            raise Refused(f"schema {SCHEMAS[part]} is at revision {found}, which this release does not know") from error
    return [Step(script.revision, script.doc, script.revision in applied) for script in known]


def _applied(schema: str, connection: Connection) -> str | None:
    context = MigrationContext.configure(
        connection, opts={"version_table": "migrations", "version_table_schema": schema}
    )
    return context.get_current_revision()


# ---------------------------------------------------------------------- the database


async def _run(url: str, part: str, work: Callable[[Config], None]) -> tuple[list[Step], list[Step]]:
    """The part's steps before and after."""

    def migrate(connection: Connection) -> tuple[list[Step], list[Step]]:
        config = _config(part)
        config.attributes["connection"] = connection
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": SCHEMAS[part]})
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
        before = _steps(part, connection)
        work(config)
        return before, _steps(part, connection)

    return await _connected(url, migrate)


async def _connected(url: str, work: Callable[[Connection], T]) -> T:
    """Run in one transaction on asyncpg, to which the address goes as it is."""

    async def connect() -> object:
        return await asyncpg.connect(url, timeout=_CONNECT_SECONDS, server_settings={"application_name": "ordering"})

    try:
        engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    except Refused:
        raise
    except CommandError as error:
        raise Refused(str(error)) from error
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        if isinstance(cause, Exception) and not is_answered(cause):
            raise Refused(_told(cause)) from error
        if isinstance(cause, asyncpg.LockNotAvailableError):
            reason = "somebody is using a table that it changes (a dump?): run it again when that has ended"
        else:
            reason = str(cause or error.orig)
        raise Refused(f"the migration failed and changed nothing: {reason}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError) as error:
        raise Refused(_told(error)) from error


def _told(error: Exception) -> str:
    try:
        raise_refused(error)
    except Unusable as refused:
        return str(refused)
    except Exception:  # the table's word for it
        return reason_of(error)
