"""Every metric of the system, declared: name, label, meaning, and which service's page shows it.

Names follow Prometheus' conventions (base units, ``_total`` for counters). A label only takes values from a list that
is written in our code, or in the settings (``group``), so the number of series does not depend on what clients send.
docs/operations.md explains each metric; a test compares.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import attrs

from ordering.application.causes import CauseCode
from ordering.application.messages import DeadReason
from ordering.domain.errors import Code


class Part(StrEnum):
    """The service whose page it is."""

    CART = "cart"
    ORDER = "order"


BOTH: Final = frozenset(Part)
CART: Final = frozenset({Part.CART})
ORDER: Final = frozenset({Part.ORDER})

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0)


@attrs.frozen
class Counter:
    """Counts what the application reports as ``what``. With a ``label``, every value it can have is listed: each has
    a series from the start, so that the first event is an increase and not a new series."""

    what: str
    name: str
    meaning: str
    parts: frozenset[Part]
    label: str | None = None
    values: tuple[str, ...] = ()


@attrs.frozen
class Histogram:
    """Measures what the application reports as ``what``."""

    what: str
    name: str
    meaning: str
    parts: frozenset[Part]
    bounds: tuple[float, ...]


@attrs.frozen
class Gauge:
    """Shows something as it is now: asked when the page is asked for, or taken from a sample."""

    name: str
    meaning: str
    parts: frozenset[Part]
    labels: tuple[str, ...] = ()


ALARMS: Final[Mapping[str, frozenset[Part]]] = {
    "write.rejected": CART,
    "store.unavailable": CART,
    "commit.ambiguous": CART,
    "commit.unknown": CART,
    "relay.outage": CART,
    "store.behind_log": CART,
    "outbox.parked": CART,
    "topic.keys_misplaced": CART,
    "topic.partitions_differ": CART,
    "producer.replaced": CART,
    "consumer.paused": ORDER,
    "consumer.halted": ORDER,
    "projection.gaps": ORDER,
    "projection.late": ORDER,
    "dead_letter": ORDER,
    "descriptors.few": BOTH,
    "kill_point.armed": BOTH,
    "kill_point.reached": BOTH,
    "service.refused": BOTH,
    "request.failed": BOTH,
    "loop.failed": BOTH,
    "http.failed": BOTH,
}
"""Every log line at WARNING or above that the services write, by the name it begins with."""

CAUSES: Final[Mapping[CauseCode, frozenset[Part]]] = {
    CauseCode.STARTING: BOTH,
    CauseCode.SHUTTING_DOWN: BOTH,
    CauseCode.EVENTS_UNDELIVERABLE: CART,
    CauseCode.BACKLOG_FULL: CART,
    CauseCode.STORE_UNAVAILABLE: BOTH,
    CauseCode.LOG_UNAVAILABLE: ORDER,
    CauseCode.REGISTRY_UNAVAILABLE: ORDER,
    CauseCode.LOG_CHANGED: ORDER,
    CauseCode.READ_MODEL_CONTENDED: ORDER,
    CauseCode.PARTITIONS_MISSING: ORDER,
}

CUTS: Final = ("no-room", "stalled", "sends-on")
"""Why a connection is cut off, as ``bounds.Reports`` has them."""

COUNTERS: Final[Sequence[Counter]] = (
    Counter(
        "http_refused",
        "ordering_http_turned_away",
        "Requests answered with 503 before anything of them was read, because too much was in hand.",
        BOTH,
    ),
    Counter(
        "connections_cut",
        "ordering_http_connections_cut",
        "Connections cut off without an answer, by reason: no room for one more, or its client stood still or sent on.",
        BOTH,
        "reason",
        CUTS,
    ),
    Counter("events_published", "ordering_events_published", "Events that the log has acknowledged.", CART),
    Counter(
        "events_repeated",
        "ordering_events_repeated",
        "Events given to the log once more because the first try was not acknowledged: each may be in it twice.",
        CART,
    ),
    Counter(
        "outbox_parked",
        "ordering_outbox_parkings",
        "Events that the log refuses for good; each parks its order's outbox until somebody acts.",
        CART,
    ),
    Counter("events_applied", "ordering_consumer_applied", "Events that changed the read model.", ORDER),
    Counter(
        "events_duplicates", "ordering_consumer_duplicates", "Events that were applied before, and were dropped.", ORDER
    ),
    Counter(
        "events_gaps", "ordering_consumer_gaps", "Events applied although versions before them had not come.", ORDER
    ),
    Counter("events_late", "ordering_consumer_late", "Events that came after a later version was applied.", ORDER),
    Counter(
        "events_held",
        "ordering_consumer_held",
        "Records held back from the read model, by reason; parked: only because an earlier one of their order is.",
        ORDER,
        "reason",
        tuple(DeadReason),
    ),
    Counter(
        "projection_stale",
        "ordering_consumer_stale",
        "Transactions that changed nothing because another consumer had moved first; they are read again.",
        ORDER,
    ),
)

HISTOGRAMS: Final[Sequence[Histogram]] = (
    Histogram(
        "commit_seconds",
        "ordering_commit_duration_seconds",
        "How long the order store took to make a batch of changes durable.",
        CART,
        SECONDS,
    ),
    Histogram("commit_batch", "ordering_commit_batch_size", "Changes in one transaction.", CART, SIZES),
    Histogram(
        "publish_seconds",
        "ordering_publish_duration_seconds",
        "How long the log took to answer for a batch of events.",
        CART,
        SECONDS,
    ),
    Histogram("publish_batch", "ordering_publish_batch_size", "Events given to the log at a time.", CART, SIZES),
    Histogram(
        "projection_seconds",
        "ordering_consumer_batch_duration_seconds",
        "How long a batch of records took from the log into the read model, decoding and storing.",
        ORDER,
        SECONDS,
    ),
    Histogram(
        "projection_batch",
        "ordering_consumer_batch_size",
        "Records in one transaction of the read model.",
        ORDER,
        SIZES,
    ),
)

BUILD_INFO: Final = Gauge(
    "ordering_build_info", "Always 1: which release runs, as what.", BOTH, ("version", "service", "mode")
)
IN_FLIGHT: Final = Gauge("ordering_http_requests_in_flight", "Requests that are being answered now.", BOTH)
READY: Final = Gauge("ordering_ready", "1 if /health/ready would answer 200 now.", BOTH)
NOT_READY: Final = Gauge("ordering_not_ready", "1 for each cause that /health/ready would name now.", BOTH, ("code",))
SAMPLE_UP: Final = Gauge(
    "ordering_sample_up",
    "1 if the last question of this kind was answered; what it would tell is NaN if not.",
    BOTH,
    ("source",),
)
SAMPLE_AGE: Final = Gauge(
    "ordering_sample_age_seconds", "How old the figures of this kind are; NaN if there are none.", BOTH, ("source",)
)
LAG_EVENTS: Final = Gauge(
    "ordering_consumer_lag_events", "Events in the log that this consumer group has not applied.", BOTH, ("group",)
)
LAG_SECONDS: Final = Gauge(
    "ordering_consumer_lag_seconds",
    "Age of the oldest event in the log that this consumer group has not applied; 0 if it has applied all of them.",
    BOTH,
    ("group",),
)
QUEUE_LENGTH: Final = Gauge("ordering_commit_queue_length", "Changes that wait to be stored.", CART)
QUEUE_AGE: Final = Gauge(
    "ordering_commit_queue_age_seconds",
    "How long the oldest change has waited for the store, in its hands or not; 0 if none.",
    CART,
)
GATE_OPEN: Final = Gauge("ordering_gate_open", "1 while new changes are taken, 0 while they are refused.", CART)
DELIVERABLE: Final = Gauge("ordering_events_deliverable", "1 while events reach the log.", CART)
LEASE: Final = Gauge("ordering_relay_lease_held", "1 if this instance publishes the outbox; one of them does.", CART)
OUTBOX_EVENTS: Final = Gauge(
    "ordering_outbox_unpublished_events", "Stored events that are not known to be in the log.", CART
)
OUTBOX_PARKED: Final = Gauge(
    "ordering_outbox_parked_orders", "Orders whose events are not published until somebody acts.", CART
)
OUTBOX_AGE: Final = Gauge(
    "ordering_outbox_oldest_age_seconds", "Age of the oldest unpublished event that is not parked; 0 if none.", CART
)
PARTITIONS: Final = Gauge("ordering_consumer_partitions", "Partitions that this instance reads.", ORDER)
CONSUMING: Final = Gauge(
    "ordering_consumer_running", "1 while the consumer makes progress or has nothing to do.", ORDER
)
WAITERS: Final = Gauge("ordering_waiters", "Requests that wait for the read model to move.", ORDER)
ORDERS: Final = Gauge("ordering_read_model_orders", "Orders in the read model.", ORDER)
DEAD_LETTERS: Final = Gauge("ordering_dead_letters", "Records held back for a reason of their own, now.", ORDER)
PARKED: Final = Gauge(
    "ordering_read_model_parked_orders", "Orders whose later events wait behind a dead letter.", ORDER
)

GAUGES: Final[Sequence[Gauge]] = (
    BUILD_INFO,
    READY,
    NOT_READY,
    SAMPLE_UP,
    SAMPLE_AGE,
    IN_FLIGHT,
    QUEUE_LENGTH,
    QUEUE_AGE,
    GATE_OPEN,
    DELIVERABLE,
    LEASE,
    OUTBOX_EVENTS,
    OUTBOX_PARKED,
    OUTBOX_AGE,
    LAG_EVENTS,
    LAG_SECONDS,
    PARTITIONS,
    CONSUMING,
    WAITERS,
    ORDERS,
    DEAD_LETTERS,
    PARKED,
)

# ---------------------------------------------------------------------------------------------- of both, by label

REQUESTS: Final = ("ordering_http_requests", "Requests answered, by route and status.")
REQUEST_SECONDS: Final = (
    "ordering_http_request_duration_seconds",
    "How long requests took until their answer was ready, by route.",
)
REFUSALS: Final = ("ordering_refusals", "Requests that were not done, by the code of their problem document.")
ALARMS_TOTAL: Final = ("ordering_alarms", "Log lines that somebody should look at, by the name they begin with.")

OTHER: Final = "other"
"""The route of a path that is none of ours, and the method that HTTP does not know: one series for all of them."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CODES: Final = tuple(Code)
EXPECTED: Final = (500, 503)
"""Statuses that each route has a series of from the start, besides that of its success: the first failure counts."""

NAMES: Final[frozenset[str]] = frozenset(
    {
        *(f"{counter.name}_total" for counter in COUNTERS),
        *(histogram.name for histogram in HISTOGRAMS),
        *(gauge.name for gauge in GAUGES),
        f"{REQUESTS[0]}_total",
        REQUEST_SECONDS[0],
        f"{REFUSALS[0]}_total",
        f"{ALARMS_TOTAL[0]}_total",
    }
)
"""Every metric of ours, as the page names it."""
