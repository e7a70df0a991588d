"""How a command opens what it looks at: beside running services, never instead of them."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    Failure,
    LogChanged,
    StalePosition,
    WriteRejected,
)
from ordering.domain.errors import OrderingError
from ordering.entrypoints import container
from ordering.entrypoints.container import Tools
from ordering.entrypoints.process import StartupError
from ordering.entrypoints.settings import load

__all__ = ["Tools", "use"]


def use(work: Callable[[Tools], Awaitable[int]]) -> int:
    """Run a command's work with opened tools; what can go wrong becomes one line."""
    settings = load(os.environ).settings
    os.umask(0o077)
    try:
        return asyncio.run(_with_tools(Tools(settings), work))
    except BrokerUnavailable as error:
        raise StartupError(error.reason) from None  # commands only read the log
    except (*container.REFUSALS, OrderingError, Failure, LogChanged) as error:
        raise StartupError(str(error)) from None
    except WriteRejected as error:
        raise StartupError(f"the database refuses to store this: {error}") from None
    except StalePosition:
        raise StartupError("the order service kept changing this order: try again") from None
    except CommitAmbiguous:
        raise StartupError("the disk failed while storing; look before you try again") from None


async def _with_tools(tools: Tools, work: Callable[[Tools], Awaitable[int]]) -> int:
    try:
        return await work(tools)
    finally:
        await tools.close()
