"""What holds for every test: one event loop, fixed randomness, no hidden I/O, and a report of what could not run."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

from tests.services.surroundings import clear, composed

pytest_plugins = ["tests.services.fixtures"]

# The same examples on every machine and every run; a loaded machine is not a failure.
settings.register_profile("ordering", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("ordering")

# What a test without the `process` mark may not do, by audit event.
_IO_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"}
)
_held: pytest.Item | None = None
_running: pytest.Item | None = None

# A shell that starts a run in the background has it ignore Ctrl-C, and every process started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Not before pytest has read what is meant for it, such as the width and the colours of its own report."""
    clear(os.environ, ours=not composed())


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, the only loop the services run on."""
    return "asyncio"


def _forbid_unmarked_io(event: str, _args: tuple[object, ...]) -> None:
    if event in _IO_EVENTS and _running is not None:
        msg = f"{_running.nodeid} uses {event}: mark it with @pytest.mark.process"
        raise RuntimeError(msg)


sys.addaudithook(_forbid_unmarked_io)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold tests without the `process` mark to it: `make check` needs neither network nor processes."""
    global _held  # noqa: PLW0603 -- an audit hook has no other way to know the running test
    _held = None if item.get_closest_marker("process") else item
    try:
        with _logs_as_before():
            return (yield)
    finally:
        _held = None


@contextlib.contextmanager
def _logs_as_before() -> Generator[None, None, None]:
    """Whoever logs as a service does logs to a stream that ends with his test; all that came after it would fail."""
    loggers = [logging.getLogger(name) for name in (None, "uvicorn")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    try:
        yield
    finally:
        structlog.reset_defaults()
        for logger, (handlers, level) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(level)


# In its own fixtures and its own code only: what ends in between was started by others, who may have the mark.
@contextlib.contextmanager
def _watching() -> Generator[None, None, None]:
    global _running  # noqa: PLW0603 -- as above
    before, _running = _running, _held
    try:
        yield
    finally:
        _running = before


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    """What a test asks for is the test's doing."""
    with _watching():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """And so is what it does itself."""
    with _watching():
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what could not run on this machine, one line per reason."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple)
    )
    ran = sum(len(terminalreporter.getreports(outcome)) for outcome in ("passed", "failed", "xfailed", "xpassed"))
    terminalreporter.section("what could not run on this machine")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} x {reason}")
    terminalreporter.write_line(f"{ran} ran, {reasons.total()} could not")
