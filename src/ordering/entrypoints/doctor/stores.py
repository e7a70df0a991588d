"""The order store, the read model and the log: can they be used, and does everything move along?"""

import time
from collections import Counter as Count
from collections.abc import Iterator, Sequence
from typing import Final

from ordering.application.messages import Counter, DeadReason, OutboxSummary, ViewStats
from ordering.entrypoints import container
from ordering.entrypoints.doctor.findings import Finding, Level
from ordering.entrypoints.settings import Settings

WAITS_LONG: Final = 5.0
"""Seconds after which an event that waits, to be published or to be applied, is worth a look."""
CLOCKS_APART: Final = 2.0
"""Seconds: times in events and in the database are labels, and this is where people begin to wonder."""
LETTERS_READ: Final = 1_000


async def order_store(settings: Settings) -> Sequence[Finding]:
    """Its schema and durability (opening checks them), its clock, and what waits to be published."""
    async with container.inspection(settings) as look:
        facts = await look.store()
    found = [
        Finding(Level.OK, "order store", f"{_place(settings.cart_database, 'cart.db')}: schema and durability fit")
    ]
    if facts.clock_ahead is not None and abs(facts.clock_ahead) > CLOCKS_APART:
        told = f"its clock is {abs(facts.clock_ahead):.1f} s {'ahead of' if facts.clock_ahead > 0 else 'behind'} ours"
        found.append(Finding(Level.WARN, "order store", told, "let a time service (NTP) set both"))
    return [*found, *_outbox(facts.outbox)]


def _outbox(outbox: OutboxSummary) -> Iterator[Finding]:
    if outbox.parked:
        hint = "`ordering outbox list --parked` tells why; `ordering outbox retry` publishes them again"
        yield Finding(Level.WARN, "outbox", f"parked orders, whose events are not published: {outbox.parked}", hint)
    age = 0.0 if outbox.oldest_at is None else time.time() - outbox.oldest_at / 1_000_000
    if age > WAITS_LONG:
        hint = "the cart service publishes them when it runs and the log takes them: see its /health/ready"
        yield Finding(
            Level.WARN, "outbox", f"events that wait: {outbox.unpublished}, the oldest for {_long(age)}", hint
        )
    elif not outbox.parked:
        waiting = f"events on their way: {outbox.unpublished}" if outbox.unpublished else "every event is published"
        yield Finding(Level.OK, "outbox", waiting)


async def history(settings: Settings) -> Sequence[Finding]:
    """Whether the cart service would start on this order store beside this log."""
    async with container.inspection(settings) as look:
        await look.history()
    return [Finding(Level.OK, "history", "the order store knows the newest events of the log")]


async def read_model(settings: Settings) -> Sequence[Finding]:
    """Its schema, and what it holds back or has missed."""
    async with container.inspection(settings) as look:
        views = await look.views()
        stats = await views.stats()
        letters = await views.letters(LETTERS_READ) if stats.dead_letters else ()
    held = Count(letter.reason for letter in letters)
    fits = f"{_place(settings.order_database, 'view.db')}: schema and durability fit, orders: {stats.total}"
    return [Finding(Level.OK, "read model", fits), *_held(stats, held), *_missed(stats)]


def _held(stats: ViewStats, reasons: "Count[str]") -> Iterator[Finding]:
    if not stats.dead_letters:
        yield Finding(Level.OK, "dead letters", "none")
        return
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    message = f"records held back: {stats.dead_letters} ({told}), orders that wait for them: {stats.parked}"
    if reasons[DeadReason.VERSION_CONFLICT]:
        hint = "two histories of one order: was an older order store restored? `ordering dlq list`"
        yield Finding(Level.FAIL, "dead letters", message, hint)
    else:
        hint = "`ordering dlq list` and `show` tell more; `release` applies them when the reason is gone"
        yield Finding(Level.WARN, "dead letters", message, hint)


def _missed(stats: ViewStats) -> Iterator[Finding]:
    for counter, what in ((Counter.GAPS, "gaps before events"), (Counter.LATE, "events after later ones")):
        amount = stats.counters.get(counter, 0)
        if amount:
            hint = "the log was written by something else, or history was lost: compare with `ordering orders show`"
            yield Finding(Level.WARN, "read model", f"{what} of their order: {amount}", hint)


async def lag(settings: Settings) -> Sequence[Finding]:
    """Whether the read model follows this log, and how far it is."""
    async with container.inspection(settings) as look:
        views, log = await look.views(), look.log()
        recorded, present = await views.identity(settings.topic), await log.identity()
        reached, ends = await views.positions(settings.topic), await log.end_offsets()
        behind = await log.lag(reached)
    if recorded is not None and recorded != present:
        message = f"the read model was filled from another log than the present one of topic {settings.topic}"
        return [Finding(Level.FAIL, "lag", message, _OTHER_LOG)]
    beyond = [number for number, at in reached.items() if at > ends.get(number, 0)]
    if beyond:
        at, end = reached[beyond[0]], ends.get(beyond[0], 0)
        message = f"the read model is at {at} of partition {beyond[0]}, and the log ends at {end}"
        return [Finding(Level.FAIL, "lag", message, _OTHER_LOG)]
    if behind.events and behind.seconds > WAITS_LONG:
        hint = "the order service applies them when it runs: see its /health/ready"
        message = f"events the read model has not: {behind.events}, the oldest is {_long(behind.seconds)} old"
        return [Finding(Level.WARN, "lag", message, hint)]
    total = sum(ends.values())
    message = f"events on their way: {behind.events}" if behind.events else f"none; events in the read model: {total}"
    return [Finding(Level.OK, "lag", message)]


_OTHER_LOG: Final = "was an older log restored, or the topic made anew? restore what belongs together, or rebuild"


async def event_log(settings: Settings) -> Sequence[Finding]:
    """The embedded log's file."""
    async with container.inspection(settings) as look:
        ends = await look.log().end_offsets()
    return [Finding(Level.OK, "event log", f"events: {sum(ends.values())}, partitions: {len(ends)}")]


def _place(url: str | None, file: str) -> str:
    return file if url is None else "PostgreSQL"


def _long(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
