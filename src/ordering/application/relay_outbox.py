"""The relay: what was committed reaches the log, each aggregate's events in their order.

The rule everything here serves: version n of an aggregate is given to a producer only with evidence that n-1 is in
the log. Evidence is this process's own acknowledgement of n-1, or a transaction or snapshot that shows no unpublished
earlier event. So a freshly committed event is taken over in memory only if its own transaction saw none before it, or
behind its predecessor that is under way here; any other is left to the sweep, which reads the lowest unpublished
event of each aggregate. Two relays can therefore repeat events, but never reorder them.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from ordering.application.addressing import Addressing
from ordering.application.failures import BrokerUnavailable, LogChanged, StoreUnavailable
from ordering.application.group_commit import StoredEvents
from ordering.application.messages import Acked, NewEvent, PublishResult, Rejected, Unsent
from ordering.application.outage_gate import NOT_REACHED, OutageGate
from ordering.application.partitioning import Places
from ordering.application.ports import EventPublisher, Observer, Outbox, RelayLease, Runtime, SchemaIds
from ordering.application.relay_lead import Lead
from ordering.application.relay_limits import RelayLimits, Turn

_Ref = tuple[str, int]


class OutboxRelay:
    """Publishes the outbox, marks what is acknowledged, and tells the gate whether events can be delivered."""

    def __init__(
        self,
        outbox: Outbox,
        publisher: EventPublisher,
        schema_ids: SchemaIds,
        lease: RelayLease,
        gate: OutageGate,
        runtime: Runtime,
        observer: Observer,
        topic: str,
        schema: str,
        limits: RelayLimits | None = None,
        start_check: Callable[[], Awaitable[Places]] | None = None,
    ) -> None:
        """``start_check`` is awaited before the first event is published: where such lie, or it raises if none may."""
        self._outbox, self._publisher, self._schema_ids, self._lease = outbox, publisher, schema_ids, lease
        self._gate, self._runtime, self._observer = gate, runtime, observer
        self._topic, self._schema = topic, schema
        self._limits = limits or RelayLimits()
        self._ready: deque[NewEvent] = deque()
        self._busy: dict[str, int] = {}
        """Aggregates with an event ready or at the producer: the version."""
        self._behind: dict[str, deque[NewEvent]] = {}
        """Committed events whose predecessor is busy here."""
        self._acked: dict[str, int] = {}
        """Aggregates whose last acknowledged version is not marked yet."""
        self._to_mark: list[_Ref] = []
        self._swept: set[str] = set()
        """Aggregates whose event under way came from a sweep: more may wait behind it in the database."""
        self._seen: dict[_Ref, float] = {}
        """When this relay first saw an event it has not delivered yet; oldest first."""
        self._start_check = start_check
        if start_check is not None:
            gate.hold()
        self._addressing = Addressing(outbox, publisher, schema_ids, observer)
        self._recount_at = 0.0
        self._fault: str | None = NOT_REACHED
        self._doubt: str | None = None
        """Why the last event was not taken. A broker that answers may still refuse events (a missing permission), so
        only an acknowledgement ends the doubt while there is an event to try with."""
        self._lead = Lead(lease, runtime)
        self.store_trouble: str | None = None
        """Why the store did not answer when the relay last asked for the lease; None if it did."""
        self._has_ready, self._has_acked, self._has_news, self._has_nudge = (asyncio.Event() for _ in range(4))
        self._turns = asyncio.Semaphore(1)
        self._settled = asyncio.Event()

    @property
    def leading(self) -> bool:
        """Whether this relay holds the lease."""
        return self._lead.held

    # ------------------------------------------------------------------ coming in

    def offer(self, stored: StoredEvents) -> None:
        """Take freshly committed events over, or leave them to the sweep where evidence or room is missing."""
        if not self._lead.held:
            self._has_nudge.set()
            return
        for event, outcome in stored:
            aggregate = event.aggregate_id
            if self._acked.get(aggregate, 0) >= event.version:
                continue  # a sweep saw the commit before this process was told of it, and the log has it by now
            if len(self._ready) >= self._limits.window_max:
                self._has_news.set()
                return
            busy = self._busy.get(aggregate)
            if busy is not None:
                followers = self._behind.setdefault(aggregate, deque())
                if event.version > busy and len(followers) < self._limits.followers_max:
                    followers.append(event)  # one left out here breaks the chain later, and the sweep goes on
            elif self._fault is None and (outcome.first_in_line or self._acked.get(aggregate) == event.version - 1):
                self._take(event)
            else:
                self._has_news.set()

    def _take(self, event: NewEvent) -> None:
        ref = event.aggregate_id, event.version
        self._busy[event.aggregate_id] = event.version
        if ref in self._seen:
            self._observer.counted("events_repeated")
        else:
            self._seen[ref] = self._runtime.monotonic()
        self._ready.append(event)
        self._has_ready.set()
        self._settled.clear()

    # ------------------------------------------------------------------ running

    async def run(self) -> None:
        """Relay until cancelled. The first sweep reloads whatever an earlier life left unpublished."""
        loops = [
            self._runtime.spawn(self._tick_loop(), name="relay-tick"),
            self._runtime.spawn(self._sweep_loop(), name="relay-sweep"),
            self._runtime.spawn(self._mark_loop(), name="relay-mark"),
            self._runtime.spawn(self._nudge_loop(), name="relay-nudge"),
            self._runtime.spawn(self._lease.follow(self._has_news.set), name="relay-follow"),
        ]
        if self._gate.watches_backlog:
            loops.append(self._runtime.spawn(self._backlog_loop(), name="relay-backlog"))
        for number in range(self._limits.publishes_at_once):
            loops.append(self._runtime.spawn(self._publish_loop(), name=f"relay-publish-{number}"))
        try:
            await asyncio.gather(*loops)
        finally:
            for loop in loops:
                loop.cancel()

    async def drain(self, seconds: float) -> bool:
        """Wait until everything taken over is published and marked; False if that took longer."""
        self._settle()
        timer = self._runtime.call_later(seconds, self._settled.set)
        await self._settled.wait()
        timer.cancel()
        return self._is_settled()

    def _is_settled(self) -> bool:
        return not self._busy and not self._acked

    def _settle(self) -> None:
        if self._is_settled():
            self._settled.set()
        else:
            self._settled.clear()

    # ------------------------------------------------------------------ publishing

    async def _publish_loop(self) -> None:
        while True:
            if not self._ready:
                self._has_ready.clear()
                await self._has_ready.wait()
            await self._turns.acquire()
            turn = Turn(self._turns)
            # A batch that stalls (one partition of many has no leader just now) gives its turn away before its end.
            stall = self._runtime.call_later(self._limits.stall_seconds, turn.give_away)
            batch = [self._ready.popleft() for _ in range(min(len(self._ready), self._limits.batch_max))]
            if batch:
                await self._publish(batch)
            stall.cancel()
            turn.give_away()

    async def _publish(self, batch: list[NewEvent]) -> None:
        began = self._runtime.monotonic()
        results: Iterable[PublishResult]
        try:
            results = await self._publisher.publish([await self._addressing.record(event) for event in batch])
        except (BrokerUnavailable, StoreUnavailable) as error:
            results = [Unsent(error.reason)] * len(batch)
        self._observer.measured("publish_seconds", self._runtime.monotonic() - began)
        self._observer.measured("publish_batch", len(batch))
        for event, result in zip(batch, results, strict=True):
            if isinstance(result, Acked):
                self._acknowledged(event)
            elif isinstance(result, Rejected):
                await self._park(event, result.reason)
            else:
                self._unsent(event, result.reason)
        if self._lead.held and self._gate.undeliverable is not None:
            self._show(self._late())  # an acknowledgement may end the outage: nobody has to wait for the next tick
        self._settle()

    def _acknowledged(self, event: NewEvent) -> None:
        aggregate = event.aggregate_id
        self._doubt = None
        self._acked[aggregate] = event.version
        self._to_mark.append((aggregate, event.version))
        self._seen.pop((aggregate, event.version), None)
        self._has_acked.set()
        self._observer.counted("events_published")
        self._observer.noted("event.published", key=aggregate, version=event.version)
        del self._busy[aggregate]
        followers = self._behind.pop(aggregate, None)
        if followers and followers[0].version == event.version + 1:
            self._take(followers.popleft())
            self._behind[aggregate] = followers
        elif followers:
            self._has_news.set()

    def _unsent(self, event: NewEvent, reason: str) -> None:
        self._forget(event)
        self._doubt = reason
        self._cannot_deliver(reason)

    def _cannot_deliver(self, reason: str) -> None:
        if self._fault is None:
            self._observer.alarmed("relay.outage", reason=reason)
        self._fault = reason
        if self._lead.held:
            self._show(reason)

    async def _park(self, event: NewEvent, reason: str) -> None:
        self._seen.pop((event.aggregate_id, event.version), None)
        self._observer.alarmed("outbox.parked", key=event.aggregate_id, version=event.version, reason=reason)
        self._observer.counted("outbox_parked")
        try:
            await self._outbox.park(event.aggregate_id, event.version, reason)
        except StoreUnavailable:
            self._has_news.set()  # still a head: it will be tried and rejected again
        self._forget(event)  # not before: until it is parked a sweep would take it once more

    def _forget(self, event: NewEvent) -> None:
        self._busy.pop(event.aggregate_id, None)
        self._behind.pop(event.aggregate_id, None)
        self._swept.discard(event.aggregate_id)

    # ------------------------------------------------------------------ marking

    async def _mark_loop(self) -> None:
        while True:
            self._has_acked.clear()
            if not self._to_mark:
                await self._has_acked.wait()
            marks, self._to_mark = self._to_mark, []
            try:
                await self._outbox.mark_published(marks)
            except StoreUnavailable:
                # They are in the log, only the mark is missing: at worst they are published twice after a crash.
                self._to_mark = marks + self._to_mark
                await self._runtime.sleep(self._limits.tick_seconds)
                continue
            for aggregate, version in marks:
                if self._acked.get(aggregate) == version:
                    del self._acked[aggregate]
                if aggregate in self._swept:
                    # A backlog goes on with its next event now: a version per round trip, not one per sweep.
                    self._swept.discard(aggregate)
                    self._has_news.set()
            self._settle()
            await self._runtime.sleep(self._limits.mark_pause_seconds)

    # ------------------------------------------------------------------ sweeping

    async def _sweep_loop(self) -> None:
        while True:
            more = await self._sweep() if self._lead.held and self._fault is None else False
            if more:
                await self._runtime.sleep(self._limits.mark_pause_seconds)
                continue
            timer = self._runtime.call_later(self._limits.sweep_seconds, self._has_news.set)
            await self._has_news.wait()
            self._has_news.clear()
            timer.cancel()

    async def _sweep(self) -> bool:
        """Take the heads that fit into the window; whether there may be more."""
        room = self._limits.window_max - len(self._busy)
        if room <= 0:
            return True
        limit = min(room, self._limits.batch_max)
        exclude = {*self._busy, *self._acked}
        gone = {ref for ref in self._seen if ref[0] not in exclude}
        try:
            rows = await self._outbox.heads(limit, exclude)
        except StoreUnavailable:
            return False
        for row in rows:
            event = row.event
            gone.discard((event.aggregate_id, event.version))
            # What was acknowledged or taken while the heads were being read must not be taken a second time.
            if event.aggregate_id not in self._busy and self._acked.get(event.aggregate_id, 0) < event.version:
                if len(self._busy) >= self._limits.window_max:
                    return True  # what was committed meanwhile has filled the window
                self._take(event)
                self._swept.add(event.aggregate_id)
        if len(rows) == limit:
            return True
        for ref in gone:
            # It is no head any more: another relay's acknowledgement marked it, or it was parked.
            if self._busy.get(ref[0]) != ref[1]:
                self._seen.pop(ref, None)
        return False

    async def _nudge_loop(self) -> None:
        """What this process commits while another one relays is told there, at most once per pause."""
        while True:
            await self._has_nudge.wait()
            self._has_nudge.clear()
            await self._lease.nudge()
            await self._runtime.sleep(self._limits.nudge_pause_seconds)

    # ------------------------------------------------------------------ judging

    async def _tick_loop(self) -> None:
        while True:
            await self._tick()
            await self._runtime.sleep(self._limits.tick_seconds)

    async def _tick(self) -> None:
        if (outage := self._publisher.outage) is not None:
            self._cannot_deliver(outage)
        if self._fault is not None:
            await self._probe()
            self._gate.release()  # a broker that is away has been noticed now: the policy decides what that means
        elif self._runtime.monotonic() >= self._recount_at:
            with contextlib.suppress(BrokerUnavailable, StoreUnavailable):  # deliveries show whether there is trouble
                await self._recount()
        try:
            led = self._lead.held
            await self._lead.renew(self._late(), self._fault)
            if self._lead.held and not led:
                self._has_news.set()
                if self._lead.is_news:
                    self._observer.changed("relay.leading", topic=self._topic)
            elif led and not self._lead.held:
                self._step_down()
            self._show(self._late() if self._lead.held else await self._lead.view(self._fault))
        except StoreUnavailable as error:
            self.store_trouble = error.reason  # commands hear of it from the store itself
        else:
            self.store_trouble = None

    async def _backlog_loop(self) -> None:
        """A loop of its own: a probe of a hanging broker must not let the backlog grow unseen."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                self._gate.judge_backlog(await self._outbox.summary(), self._runtime.now())
            await self._runtime.sleep(self._limits.backlog_seconds)

    async def _probe(self) -> None:
        try:
            for answer in await asyncio.gather(
                self._publisher.probe(), self._schema_ids.id_of(self._schema), return_exceptions=True
            ):
                if isinstance(answer, BaseException):
                    raise answer
            if self._start_check is not None:
                self._addressing.lie(self._topic, await self._start_check())
                self._start_check = None
            await self._recount()
        except (BrokerUnavailable, StoreUnavailable) as error:
            self._fault = error.reason
            return
        except LogChanged as error:
            self._fault = str(error)
            return
        self._fault = None
        self._observer.changed("relay.delivering", topic=self._topic)
        self._has_news.set()

    async def _recount(self) -> None:
        await self._addressing.count(self._topic)
        self._recount_at = self._runtime.monotonic() + self._limits.recount_seconds

    def _late(self) -> str | None:
        if self._fault is not None:
            return self._fault
        if self._doubt is not None and self._seen:
            return self._doubt
        oldest = next(iter(self._seen.values()), None)
        waited = 0.0 if oldest is None else self._runtime.monotonic() - oldest
        if waited > self._limits.late_seconds:
            return f"an event has been waiting for delivery for {waited:.0f} s"
        return None

    def _show(self, reason: str | None) -> None:
        if reason is None:
            self._gate.deliverable()
        else:
            self._gate.outage(reason)

    def _step_down(self) -> None:
        """Somebody else relays now: what is not at the producer yet is theirs."""
        for event in self._ready:
            self._forget(event)
        self._ready.clear()
        self._behind.clear()
        self._seen.clear()
        self._settle()
