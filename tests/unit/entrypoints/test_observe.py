"""What a service tells about itself."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from ordering.entrypoints.observe import ServiceObserver, configure_logging
from ordering.entrypoints.settings import LogFormat, LogLevel


def observer() -> ServiceObserver:
    """An observer without a log."""
    return ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))


async def test_counters_and_measurements_become_metrics() -> None:
    """What the application reports shows under the names of the table."""
    told = observer()
    told.counted("events_published", 3)
    told.counted("events_published")
    told.counted("events_held", of="corrupt")
    told.measured("commit_seconds", 0.004)
    told.measured("commit_batch", 17)
    told.alarmed("relay.outage", reason="no broker")
    text = (await told.page.text()).decode()

    assert "ordering_events_published_total 4.0" in text
    assert 'ordering_consumer_held_total{reason="corrupt"} 1.0' in text
    assert 'ordering_commit_duration_seconds_bucket{le="0.005"} 1.0' in text
    assert 'ordering_commit_batch_size_bucket{le="32.0"} 1.0' in text
    assert 'ordering_alarms_total{event="relay.outage"} 1.0' in text


async def test_two_observers_do_not_share_figures() -> None:
    """No global registry."""
    one, other = observer(), observer()
    one.counted("events_published")

    assert b"ordering_events_published_total 0.0" in await other.page.text()


@pytest.mark.parametrize(("level", "lines"), [(LogLevel.INFO, 1), (LogLevel.DEBUG, 2), (LogLevel.ERROR, 0)])
def test_single_orders_are_logged_at_debug_only(
    level: LogLevel, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A busy service does not write a line per order."""
    told = ServiceObserver(configure_logging(level, LogFormat.JSON, "cart"))
    told.changed("relay.delivering", topic="order-events")
    told.noted("order.placed", order="o-1")
    printed = capsys.readouterr()

    assert printed.out == ""
    assert len(printed.err.splitlines()) == lines


class Writes(io.StringIO):
    """A stream that remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


@pytest.mark.parametrize("form", LogFormat)
def test_a_line_is_one_write(form: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two services share one stderr; their lines must not run together."""
    stream = Writes()
    monkeypatch.setattr("sys.stderr", stream)
    told = ServiceObserver(configure_logging(LogLevel.INFO, form, "cart"))
    told.changed("relay.delivering", topic="order-events")
    told.changed("service.stopped")

    assert len(stream.pieces) == 2
    assert all(piece.endswith("\n") for piece in stream.pieces)


def test_json_lines_are_json_also_with_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, the traceback inside it."""
    told = ServiceObserver(configure_logging(LogLevel.INFO, LogFormat.JSON, "order"))
    try:
        raise ValueError("no such thing")
    except ValueError as error:
        told.request_failed("request-1", error)
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)

    assert entry["event"] == "request.failed"
    assert entry["request_id"] == "request-1"
    assert entry["service"] == "order"
    assert "ValueError: no such thing" in entry["exception"]
