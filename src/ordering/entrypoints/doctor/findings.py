"""What a check finds, and how checks run: at the same time, each alone, each within its time."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

import attrs

from ordering.application.compare_log import StoreBehindLog
from ordering.application.failures import BrokerUnavailable, Failure, LogChanged, Refused, StoreUnavailable
from ordering.domain.errors import OrderingError
from ordering.entrypoints import container


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It works, or will; somebody should look at it."""
    FAIL = "fail"
    """Something cannot work as it is."""


@attrs.frozen
class Finding:
    """One line of the report: of which check, how it is, and what to do about it."""

    level: Level
    check: str
    message: str
    hint: str = ""


@attrs.frozen
class Check:
    """One thing to look at. ``look`` may raise whatever our adapters raise: that is a failure with ``hint``."""

    name: str
    look: Callable[[], Awaitable[Sequence[Finding]]]
    hint: str = ""


def examine(checks: Sequence[Check], seconds: float) -> list[Finding]:
    """Run all checks and return their findings, in the checks' order.

    Each has a thread and an event loop of its own, so one that hangs (a dead network disk, say) holds up no other; it
    is given up after ``seconds``.
    """
    found: dict[str, Sequence[Finding]] = {}

    def run(check: Check) -> None:
        found[check.name] = asyncio.run(_guarded(check, seconds))

    threads = [threading.Thread(target=run, args=(check,), name=check.name, daemon=True) for check in checks]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds + 1.0  # the check's own limit comes first and can tidy up
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [finding for check in checks for finding in found.get(check.name) or [_late(check, seconds)]]


async def _guarded(check: Check, seconds: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(seconds):
            return await check.look()
    except TimeoutError:
        return [_late(check, seconds)]
    except Exception as error:  # whatever it is, the other checks' findings are worth more than its traceback
        return [_failed(check, error)]


def _failed(check: Check, error: Exception) -> Finding:
    level, hint = Level.FAIL, check.hint
    match error:
        case container.NothingYet():
            level, message, hint = Level.WARN, str(error), "right before the first start; else see ORDERING_DATA_DIR"
        case container.OlderSchema(convertible=True):
            level, message, hint = Level.WARN, str(error), "releases before this one cannot use it afterwards"
        case container.OlderSchema() | container.NewerSchema() | StoreBehindLog():
            message, hint = str(error), ""  # it says what to do
        case BrokerUnavailable() | StoreUnavailable():
            message = error.reason
        case Refused() | OrderingError() | Failure() | LogChanged():
            message = str(error)
        case OSError():
            message = f"{error.filename or ''} {error.strerror or error}".strip()
        case _:
            message, hint = f"{type(error).__name__}: {error}", "the doctor did not expect this: please report it"
    return Finding(level, check.name, message, hint)


def _late(check: Check, seconds: float) -> Finding:
    return Finding(Level.FAIL, check.name, f"no answer within {seconds:g} s", check.hint)
