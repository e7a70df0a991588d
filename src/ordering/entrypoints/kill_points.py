"""The names of the places at which a crash test may have a process end itself, for the setting ORDERING_KILL_AT.

``container.kill_points`` puts them between the use cases and their ports, and only when the setting names one.
"""

import re
from enum import StrEnum

import attrs

from ordering.entrypoints.settings_values import Kind


class KillPoint(StrEnum):
    """Each is reached by one of the services; in the other one it means nothing. CONTRIBUTING.md describes them."""

    BEFORE_BEGIN = "before-begin"
    """Cart: a batch of changes was claimed, its transaction not begun."""
    IN_TRANSACTION = "in-transaction"
    """Cart, files: between the statements of the transaction. PostgreSQL: its one statement is sent, not answered."""
    COMMIT_ANSWER = "between-commit-and-answer"
    """Cart: the changes are durable, nobody was told."""
    ANSWER_RELAY = "between-answer-and-relay"
    """Cart: the clients were told, nothing has gone to the log."""
    RELOAD = "at-reload"
    """Cart: the relay has read from the outbox what an earlier life left unpublished, and has done nothing with it."""
    APPEND_ACK = "between-append-and-ack"
    """Cart: the log has the events, the relay does not know it."""
    ACK_MARK = "between-ack-and-mark"
    """Cart: the relay knows it, nothing is marked."""
    IN_MARKING = "in-marking"
    """Cart: the transaction that marks events as published is under way."""
    LEASE = "at-lease"
    """Cart: the relay has just taken or renewed its lease."""
    IN_TRIMMING = "in-trimming"
    """Cart: a transaction of the housekeeping is under way."""
    POLL_APPLY = "between-poll-and-apply"
    """Order: records were read, not decoded."""
    APPLY_COMMIT = "between-apply-and-commit"
    """Order, files: rows and positions are written, not committed. PostgreSQL: the statement is sent, not answered."""
    COMMIT_OFFSET = "between-commit-and-offset"
    """Order: rows and positions are durable, the broker was not told."""
    OFFSET_POLL = "between-offset-and-poll"
    """Order: the broker was told, nothing more was read."""


@attrs.frozen
class KillAt:
    """End the process the ``nth`` time (from 1) that it reaches the point."""

    point: KillPoint
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.point}:{self.nth}"


def kill_point() -> Kind:
    """The setting's type: NAME or NAME:N."""

    def parse(raw: str) -> KillAt:
        name, colon, times = raw.partition(":")
        if name not in set(KillPoint):
            raise ValueError(f"must be NAME or NAME:N, with a NAME of {', '.join(KillPoint)}")
        if colon and not re.fullmatch("[1-9][0-9]{0,5}", times):
            raise ValueError(f"must be {name} or {name}:N, with N from 1 to 999999")
        return KillAt(KillPoint(name), int(times) if colon else 1)

    return Kind("kill point", parse)
