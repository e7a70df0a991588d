"""What commands look at and repair, beside running services."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ordering.adapters.avro import rules
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.system import SystemRuntime
from ordering.application.commands import ChangeRecorder
from ordering.application.compare_log import Reconciler
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import Refused
from ordering.application.generations import Difference, Progress
from ordering.application.patience import Waits, nobody_waits
from ordering.application.ports import EventDecoder, WholeLog
from ordering.application.rebuild import Rebuild
from ordering.application.republish import Republisher
from ordering.entrypoints.container import embedded
from ordering.entrypoints.container.opening import extra
from ordering.entrypoints.container.parts import EVENT_SOURCE, OrderStore, ReadModel
from ordering.entrypoints.settings import Mode, Settings

if TYPE_CHECKING:
    from ordering.adapters.avro.subjects import SchemaSubjects

check_schemas = rules.check

LEASE_SECONDS: Final = 3.0
"""Longer than the lease of a service that is no more."""


def schema_subjects(settings: Settings) -> "SchemaSubjects":
    """The schema registry's subjects against the released schemas; to be closed. Raises Refused."""
    with extra("kafka"):
        from ordering.entrypoints.container import registry  # noqa: PLC0415 -- its driver is an extra

    return registry.schema_subjects(settings)


class Tools:
    """The parts of the system that the settings name; each is opened when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._exits = AsyncExitStack()
        self._runtime = SystemRuntime()
        self._in_cluster = settings.effective_mode is Mode.CLUSTER
        self.codec = OrderCodec()

    async def close(self) -> None:
        """Close what was opened."""
        await self._exits.aclose()

    @cached_property
    def decoder(self) -> EventDecoder:
        """Records to events."""
        if self._in_cluster:
            with extra("kafka"):
                from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

            return OrderEventDecoder(cluster.registry(self.settings, self._exits), self.codec)
        return OrderEventDecoder(BuiltInRegistry(), self.codec)

    @cached_property
    def store(self) -> OrderStore:
        """The order store; there must be one."""
        if self.settings.cart_database is not None:
            with extra("kafka"):
                from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

            return cluster.order_store(self.settings.cart_database, self._exits)
        return embedded.existing_order_store(self.settings, self._exits)

    async def idle_store(self) -> OrderStore:
        """The order store, for changes that no running service may meet. Raises Refused if one does, StoreUnavailable.

        A file tells by its lock. A database tells by the lease of whoever publishes, which a service that died leaves
        behind for a moment; one whose way to the broker is broken may stand aside and not be seen.
        """
        if self.settings.cart_database is None:
            return embedded.idle_order_store(self.settings, self._exits)
        given_up = self._runtime.monotonic() + LEASE_SECONDS
        while not await self.store.renew("a repair begins"):
            if self._runtime.monotonic() > given_up:
                raise Refused("a cart service is running: stop it first")
            await self._runtime.sleep(LEASE_SECONDS / 10)
        await self.store.release()
        return self.store

    async def reconciler(self, *, dry_run: bool) -> Reconciler:
        """The log compared with the order store, and adopted by it. Raises like ``idle_store``."""
        store = self.store if dry_run else await self.idle_store()
        return Reconciler(self.source, self.decoder, store, EVENT_SOURCE)

    async def republisher(self) -> Republisher:
        """The log filled up from the order store. In the embedded mode a log that was lost is begun anew. Raises like
        ``idle_store``."""
        begin = None
        if self._in_cluster:
            store = await self.idle_store()
        else:
            store = embedded.idle_order_store(self.settings, self._exits)
            begin = await embedded.idle_log(self.settings, store, self._exits)
        recorder = ChangeRecorder(self.codec, self._runtime, self.settings.topic, EVENT_SOURCE)
        request_id = self._runtime.new_id()
        return Republisher(
            self.source,
            self.decoder,
            store,
            Reconciler(self._log_reader(), self.decoder, store, EVENT_SOURCE),
            lambda state: recorder.again(state, request_id),
            EVENT_SOURCE,
            begin,
        )

    @cached_property
    def views(self) -> ReadModel:
        """The read model; there must be one."""
        if self.settings.order_database is not None:
            with extra("kafka"):
                from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

            return cluster.read_model(self.settings.order_database, self._exits)
        return embedded.existing_read_model(self.settings, self._exits)

    @cached_property
    def held(self) -> HeldRecords:
        """Release and discard."""
        return HeldRecords(self.views, self.decoder, self._runtime, self.settings.topic)

    async def require_answers(self) -> None:
        """Ask read model and log once: what is away before a rebuild has begun is told at once, as every command does
        it; only a rebuild that is under way waits. Raises StoreUnavailable, BrokerUnavailable, LogChanged, Refused."""
        await self.views.identity(self.settings.topic)
        await self.source.identity()

    def rebuild(
        self, told: Callable[[Progress], None], found: Callable[[Difference], None], waits: Waits = nobody_waits
    ) -> Rebuild:
        """The read model from the log once more."""
        return Rebuild(
            self.source,
            self.decoder,
            self.views,
            self.views.generations(),
            self._runtime,
            self.settings.topic,
            told=told,
            found=found,
            waits=waits,
        )

    @cached_property
    def source(self) -> WholeLog:
        """The log, all of its partitions."""
        return self._log_reader()

    def _log_reader(self) -> WholeLog:
        if self._in_cluster:
            with extra("kafka"):
                from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

            return cluster.log_reader(self.settings, self._exits)
        return embedded.log_source(self.settings, self._exits)
