"""Which schema a service needs, and whether the server and the schema that it found will do."""

from typing import Final

import asyncpg
import attrs

from ordering.adapters.postgres.errors import NotDurable, NotMigrated, ReleaseTooOld, ServerTooOld

APPLICATION_LEVEL: Final = 2
"""This release. A migration that older releases cannot live with states the oldest level that may run on it."""

_OLDEST_SERVER: Final = 15


@attrs.frozen
class Schema:
    """A service's own PostgreSQL schema, and the level of it that this release needs."""

    name: str
    needed: int


CART: Final = Schema("ordering_cart", 2)
ORDER: Final = Schema("ordering_order", 2)

_FACTS: Final = """
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
  current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
  current_setting('synchronous_commit') AS synchronous_commit,
  to_regclass(quote_ident($1) || '.compatibility') IS NOT NULL AS migrated
"""
_DURABLE: Final = ("fsync", "full_page_writes", "synchronous_commit")


async def require_fit(connection: asyncpg.Connection, schema: Schema) -> None:
    """Raises Refused unless this release may run on this server and schema."""
    facts = await connection.fetchrow(_FACTS, schema.name)
    if facts["number"] < _OLDEST_SERVER * 10_000:
        raise ServerTooOld(facts["version"], _OLDEST_SERVER)
    if unsafe := [f"{name}=off" for name in _DURABLE if facts[name] == "off"]:
        raise NotDurable(", ".join(unsafe))
    if not facts["migrated"]:
        raise NotMigrated(schema.name, None, schema.needed)
    row = await connection.fetchrow(f"SELECT level, oldest_application FROM {schema.name}.compatibility")  # noqa: S608
    if row is None or row["level"] < schema.needed:
        raise NotMigrated(schema.name, row["level"] if row else None, schema.needed)
    if row["oldest_application"] > APPLICATION_LEVEL:
        raise ReleaseTooOld(schema.name, row["level"], row["oldest_application"], APPLICATION_LEVEL)
