"""The row that elects one relay per database, and the nudges to whoever holds it."""

from collections.abc import Callable
from typing import Final

import asyncpg

from ordering.adapters.postgres.connections import Database
from ordering.adapters.postgres.news import follow
from ordering.application.errors import StoreUnavailable

_CHANNEL: Final = "ordering_cart_relay"
_NO_RELAY: Final = "no relay is running"
_NUDGE_SECONDS: Final = 2.0

# By the database's clock alone. Nothing is lost with a lease: these commits need not wait for the disk.
_RENEW: Final = """
INSERT INTO relay_lease AS l (id, owner, expires_at, trouble)
SELECT 1, $1, clock_timestamp() + interval '2 s', $2 WHERE set_config('synchronous_commit', 'off', true) = 'off'
ON CONFLICT (id) DO UPDATE
SET owner = excluded.owner, expires_at = clock_timestamp() + interval '2 s', trouble = excluded.trouble
WHERE l.owner = excluded.owner OR l.expires_at <= clock_timestamp()
RETURNING true
"""
_HOLDERS_VIEW: Final = "SELECT trouble FROM relay_lease WHERE id = 1 AND expires_at > clock_timestamp()"
_RELEASE: Final = "UPDATE relay_lease SET expires_at = '-infinity' WHERE id = 1 AND owner = $1"
_NUDGE: Final = f"SELECT pg_notify('{_CHANNEL}', $1) WHERE set_config('synchronous_commit', 'off', true) = 'off'"


class RelayLeaseRow:
    """RelayLease in one row. ``owner`` names this instance."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database, self._owner = database, owner

    async def renew(self, deliverable: str | None) -> bool:
        return bool(await self._database.fetch(_RENEW, self._owner, deliverable))

    async def holders_view(self) -> str | None:
        rows = await self._database.fetch(_HOLDERS_VIEW)
        if not rows:
            return _NO_RELAY
        trouble: str | None = rows[0]["trouble"]
        return trouble

    async def release(self) -> None:
        await self._database.fetch(_RELEASE, self._owner)

    async def nudge(self) -> None:
        async def notify(connection: asyncpg.Connection) -> None:
            await connection.fetch(_NUDGE, self._owner)

        try:
            await self._database.run(notify, seconds=_NUDGE_SECONDS)
        except StoreUnavailable:
            return  # the holder's next sweep finds the rows

    async def follow(self, wake: Callable[[], None]) -> None:
        def heard(owner: str | None) -> None:
            if owner != self._owner:
                wake()

        await follow(self._database.connect, _CHANNEL, heard)
