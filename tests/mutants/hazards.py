"""The hazards of such a system, from the incidents of others: how each one shows, and what our design does about it.

A hazard that cannot happen to this design says why, and has no broken build.
"""

from typing import Final

import attrs


@attrs.frozen
class Hazard:
    """``line``: what goes wrong elsewhere. ``answer``: what keeps it from us, or why it cannot happen here."""

    id: str
    line: str
    answer: str
    applies: bool = True


HAZARDS: Final = (
    Hazard("H1", "dual write: an order without its event", "one transaction; the hand-off is only a hint"),
    Hazard("H2", "a time-out says 503, and the batch commits later", "withdrawal is a compare-and-set until the claim"),
    Hazard("H3", "an ambiguous commit", "the same write again: a stored event id answers Stored; else outcome-unknown"),
    Hazard(
        "H4", "a client that hangs up cancels half a commit", "requests only enqueue; a committer of its own writes"
    ),
    Hazard("H5", "one bad row fails the whole group", "a refused batch is halved until the row stands alone"),
    Hazard("H6", "one order twice in a group", "applied in order of arrival, each by compare-and-set of the version"),
    Hazard("H7", "a newer event overtakes a stuck older one", "the evidence rule: n only when n-1 is in the log"),
    Hazard("H8", "a cursor skips rows that commit late", "the outbox is a set of unpublished rows"),
    Hazard(
        "H9", "workers that claim rows split an order", "heads: only an order's lowest unpublished row is given out"
    ),
    Hazard("H10", "two relays at once", "they repeat, they never reorder; the lease is for efficiency alone"),
    Hazard("H11", "an acknowledgement that never comes, or is wrong", "no word means unsent: it stays unpublished"),
    Hazard(
        "H12", "a fatal producer, or one that promises less", "a new producer, reloaded from the database; acks=all"
    ),
    Hazard("H13", "a full queue blocks or drops", "bounded windows; what overflows waits in the database"),
    Hazard("H14", "an event that is too large blocks all", "a permanent refusal parks that order alone"),
    Hazard(
        "H15",
        "growth or another partitioner moves a key",
        "murmur2 by us, modulo the recorded count; if lost, from the log",
    ),
    Hazard("H16", "positions move without their rows", "rows and positions in one transaction; no auto-commit"),
    Hazard("H17", "a zombie consumer writes after its time", "positions and rows by compare-and-set"),
    Hazard("H18", "a slow application is put out of its group", "a thread of its own polls, and pauses partitions"),
    Hazard("H19", "duplicates, gaps, late events", "versions decide; gaps and late ones are applied once and alarmed"),
    Hazard("H20", "a poison record stops or is lost", "it is kept with its reason; its order parks behind it"),
    Hazard("H21", "a few bytes exhaust memory", "caps, no schema with empty items, no bytes behind the value"),
    Hazard(
        "H22", "a lost or recreated log is hidden by a reset", "cluster and topic id are stored; no reset, an alarm"
    ),
    Hazard("H23", "a registry that is down, hangs or forgets", "ids are kept; what failed is asked again soon"),
    Hazard(
        "H24",
        "sagas: a reply twice, a compensation that fails",
        "there is no saga: nothing that a command starts goes on in another service",
        applies=False,
    ),
    Hazard(
        "H25", "SQLite: NORMAL, deferred BEGIN, checkpoints", "FULL, BEGIN IMMEDIATE, one writer, readers only read"
    ),
    Hazard("H26", "PostgreSQL that answers before it is durable", "its settings are checked at start: it is refused"),
    Hazard("H27", "a full disk", "a definite refusal that is rolled back; the backlog leaves room"),
    Hazard("H28", "the wall clock orders, leases or measures", "versions, the database's clock, monotonic time"),
    Hazard("H29", "a window for duplicates that is too short", "a version per order is a key for ever"),
    Hazard("H30", "processes make the same ids", "UUIDv7 from the system's entropy"),
    Hazard("H31", "tables that grow without bound", "trimmed in small batches, never what still waits"),
)
