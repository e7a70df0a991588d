"""What operators set up and change outside of running services: tables and topics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ordering.application.failures import Refused
from ordering.entrypoints.container.opening import extra, naming
from ordering.entrypoints.settings import Settings

if TYPE_CHECKING:
    from ordering.adapters.kafka.topics import Plan
    from ordering.adapters.postgres.migrate import Step


async def ensure_topic(settings: Settings, *, dry_run: bool, grow: bool) -> "Plan":
    """Make the topic, or bring it to what the event log needs. Raises BrokerUnavailable, Refused."""
    with extra("kafka"):
        from ordering.adapters.kafka import topics  # noqa: PLC0415 -- its driver is an extra
        from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- the same
    return await topics.ensure(
        cluster.connection(settings),
        settings.topic,
        settings.partitions,
        settings.kafka_replication,
        dry_run=dry_run,
        grow=grow,
    )


class Migrations:
    """The migrations of the services' PostgreSQL schemas that the settings name: ``cart``, ``order``, or both."""

    def __init__(self, settings: Settings) -> None:
        """Raises Refused if there is nothing to migrate, or the extra is not installed."""
        urls = {"cart": settings.cart_database, "order": settings.order_database}
        self.urls: Mapping[str, str] = {part: url for part, url in urls.items() if url is not None}
        if not self.urls:
            raise Refused("no DATABASE_URL names a PostgreSQL database: stores in files need no migration")
        with extra("migrate"):
            from ordering.adapters.postgres import migrate  # noqa: PLC0415 -- its tools are an extra
        self._migrate = migrate

    async def up(self, part: str) -> Sequence[str]:
        """Bring a part to the newest revision; the revisions that ran. Raises Refused."""
        async with naming(self.urls[part]):
            return await self._migrate.up(self.urls[part], part)

    async def down(self, part: str, to: str) -> Sequence[str]:
        """Take revisions back down to this one; those that went. Raises Refused."""
        async with naming(self.urls[part]):
            return await self._migrate.down(self.urls[part], part, to)

    async def status(self, part: str) -> "Sequence[Step]":
        """Every revision of a part, oldest first. Raises Refused."""
        async with naming(self.urls[part]):
            return await self._migrate.status(self.urls[part], part)

    def sql(self, part: str) -> str:
        """The script that sets a part up from nothing."""
        return self._migrate.sql(part)
