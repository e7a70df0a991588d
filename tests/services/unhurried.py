"""Time for a broker: in a test where none is away, a machine that stands still for a moment is not an outage."""

from __future__ import annotations

import pytest

from ordering.adapters.kafka import committed, diagnosis, inquiries, newest, peek, publisher, topics

PATIENCE = 120.0
LONG_SESSION = {"session.timeout.ms": "60000"}
"""Properties of a member that keeps its place however long its machine stands still; for the classic protocol."""


def give_brokers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process wait long for every answer of a broker. A question to one that is away then takes that long."""
    for module, name in (
        (publisher, "PROBE_SECONDS"), (inquiries, "ANSWER_SECONDS"), (peek, "PEEK_SECONDS"), (newest, "READ_SECONDS"),
        (committed, "ANSWER_SECONDS"), (topics, "ANSWER_SECONDS"), (diagnosis, "HANDSHAKE_SECONDS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, PATIENCE)
