"""Schema ids from a schema registry over the network (Confluent's API), asked for once each."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Final, Generic, TypeVar

from ordering.adapters.avro import released, rules
from ordering.adapters.avro.binary import Unconvertible
from ordering.adapters.avro.registry_api import (
    AVRO,
    MAX_ID,
    RegistryApi,
    RegistryUnreachable,
    SchemaRefused,
    Stored,
)
from ordering.adapters.avro.released import Released
from ordering.application.errors import RegistryUnavailable

LEVEL: Final = "FULL_TRANSITIVE"
"""Every version of a subject reads, and is read by, every other one."""

UNKNOWN_SECONDS: Final = 3.0
"""How long an id that the registry does not know is not asked for again: shorter than the consumer's next try."""

FAILURE_SECONDS: Final = 0.4
"""How long a failure stands for the next ones: shorter than the relay's probe, which so always asks anew."""

_KEPT_MAX: Final = 10_000
_ANYTHING: Final = "anything"
_CLOSED: Final = "the schema registry's client is closed"

V = TypeVar("V")


class ConfluentRegistry:
    """A schema registry with Confluent's API, for the events of one topic.

    Fulfils the port ``SchemaIds`` and the decoder's ``SchemaRegistry``. What is known is kept for ever and needs no
    registry; what is not known, or failed, is kept for a moment. Callers that ask the same thing at the same time
    share one request, and none waits longer than the ``timeout_seconds`` of its ``RegistryApi``.
    """

    def __init__(
        self,
        api: RegistryApi,
        topic: str,
        *,
        schemas: Iterable[Released] | None = None,
        auto_register: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """No I/O. ``auto_register`` registers what is missing: for demonstrations only. Closing closes ``api``."""
        known = released.load() if schemas is None else schemas
        self._released = {schema.entry.name: schema for schema in known}
        self._api, self._topic, self._auto_register = api, topic, auto_register
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, Stored] = {}
        self._unknown: _Lately[bool] = _Lately(UNKNOWN_SECONDS, monotonic)
        self._failures: _Lately[str] = _Lately(FAILURE_SECONDS, monotonic)
        self._asking: dict[Hashable, asyncio.Task[Any]] = {}
        self._closed = False

    async def close(self) -> None:
        """End what is being asked, and the client."""
        self._closed = True
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._api.close()

    async def id_of(self, schema: str) -> int:
        """The registry's id of a released schema by its name (``order-events-value/v1``).

        Raises RegistryUnavailable, also for a schema that is not registered.
        """
        known = self._ids.get(schema)
        if known is not None:
            return known
        if schema not in self._released:
            raise RegistryUnavailable(f"no released schema is named '{schema}'")
        return await self._shared(schema, lambda: self._find(self._released[schema]))

    async def schema_of(self, schema_id: int) -> str | None:
        """The schema's JSON text, or None for an id that the registry does not know.

        Raises RegistryUnavailable, or Unconvertible for a schema that is not Avro or refers to others.
        """
        stored = self._schemas.get(schema_id)
        if stored is None:
            if not 0 <= schema_id <= MAX_ID or self._unknown.get(schema_id):
                return None  # no registry gives such an id, and some fail when asked for it
            stored = await self._shared(schema_id, lambda: self._fetch(schema_id))
            if stored is None:
                return None
        if stored.type != AVRO:
            raise Unconvertible(f"a schema of type {stored.type[:20]} is no order event")
        if stored.refers:
            raise Unconvertible("a schema that refers to others is no order event")
        return stored.text

    # ------------------------------------------------------------------ asking

    async def _fetch(self, schema_id: int) -> Stored | None:
        stored = await self._api.schema(schema_id)
        if stored is None:
            self._unknown.put(schema_id, True)
        else:
            self._schemas[schema_id] = stored
        return stored

    async def _find(self, schema: Released) -> int:
        name, subject = schema.entry.name, schema.entry.subject_for(self._topic)
        found = await self._api.lookup(subject, schema.text)
        if found is None and self._auto_register:
            found = await self._register(subject, schema)
        if found is None:
            raise RegistryUnavailable(
                f"schema {name} is not registered under subject {subject}: run `ordering schemas register`"
            )
        # Every reader will go by what stands under the id, for ever; so do we before the first event carries it.
        if not is_same(await self._fetch(found), schema):
            raise RegistryUnavailable(
                f"the schema registry gives id {found} to schema {name}, and another schema stands under it"
            )
        self._ids[name] = found
        return found

    async def _register(self, subject: str, schema: Released) -> int:
        try:
            await self._api.set_compatibility(subject, LEVEL)
            return await self._api.register(subject, schema.text)
        except SchemaRefused as error:
            raise RegistryUnavailable(
                f"the schema registry does not take schema {schema.entry.name} under subject {subject}: "
                "run `ordering schemas diff`"
            ) from error

    async def _shared(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        """Ask, or wait for whoever asks the same already, or fail as it failed a moment ago."""
        if self._closed:
            raise RegistryUnavailable(_CLOSED)
        if (reason := self._failures.get(_ANYTHING) or self._failures.get(key)) is not None:
            raise RegistryUnavailable(reason)
        task: asyncio.Task[V] | None = self._asking.get(key)
        if task is None:
            # A task of its own: the request goes on for the others when the caller that began it is cancelled.
            task = asyncio.get_running_loop().create_task(self._bounded(key, ask), name="ask-schema-registry")
            self._asking[key] = task
            task.add_done_callback(lambda done: self._answered(key, done))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and caller is not None and not caller.cancelling():
                # ``close`` ended the request; nobody cancelled the caller.
                raise RegistryUnavailable(_CLOSED) from None
            raise

    async def _bounded(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        try:
            async with asyncio.timeout(self._api.timeout_seconds):
                return await ask()
        except TimeoutError:
            reason = "the schema registry does not answer in time"
            self._failures.put(_ANYTHING, reason)
            raise RegistryUnavailable(reason) from None
        except RegistryUnavailable as error:
            self._failures.put(_ANYTHING if isinstance(error, RegistryUnreachable) else key, error.reason)
            raise

    def _answered(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # nobody may be left to take it


def is_same(stored: Stored | None, schema: Released) -> bool:
    """Whether bytes written with a released schema are read alike with what a registry has stored."""
    if stored is None or stored.type != AVRO or stored.refers:
        return False
    try:
        return bool(rules.shape(json.loads(stored.text)) == rules.shape(schema.definition))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


class _Lately(Generic[V]):
    """What was learnt a moment ago. Bounded: foreign bytes can name four billion ids."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds, self._monotonic = seconds, monotonic
        self._kept: dict[Hashable, tuple[float, V]] = {}  # the oldest first

    def get(self, key: Hashable) -> V | None:
        """What was put less than ``seconds`` ago."""
        until, value = self._kept.get(key, (0.0, None))
        return value if self._monotonic() < until else None

    def put(self, key: Hashable, value: V) -> None:
        now = self._monotonic()
        self._kept.pop(key, None)
        self._kept[key] = (now + self._seconds, value)
        while len(self._kept) > _KEPT_MAX or next(iter(self._kept.values()))[0] <= now:
            del self._kept[next(iter(self._kept))]
