"""Opening adapters so that everything that was opened is closed, in the opposite order."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Protocol, TypeVar

from ordering.application.failures import Refused, StoreUnavailable
from ordering.entrypoints.settings_values import mask

Opening = Sequence[Callable[[], Awaitable[None]]]
"""What is awaited before a service runs; may raise one of REFUSALS, or StoreUnavailable."""


class Closable(Protocol):
    """What has to be closed at the end."""

    async def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


def opened(exits: AsyncExitStack, opening: Callable[..., C], *arguments: object, **named: object) -> C:
    """Open something now, and close it with everything else that was opened."""
    made = opening(*arguments, **named)
    exits.push_async_callback(made.close)
    return made


@asynccontextmanager
async def naming(url: str) -> AsyncIterator[None]:
    """Whatever is wrong with a database is told with its address, without secrets: people have several."""
    try:
        yield
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error.reason} ({mask(url)})") from error
    except Refused as error:
        raise Refused(f"{error} ({mask(url)})") from error


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports of an extra's driver. Raises Refused if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Refused(f"{error.name} is not installed: this needs the extra `ordering[{name}]`") from None
