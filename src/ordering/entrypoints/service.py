"""What a service is made of, as the container hands it to the worker."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

import attrs


class Resource(Protocol):
    """Something that is opened before a service starts and closed after it ended."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


Loop = Callable[[], Coroutine[Any, Any, None]]


@attrs.frozen
class Service:
    """One service, not started yet.

    ``loops`` run beside the HTTP server until the end; one that ends by itself before that is a failure of the whole
    service. ``stop`` asks those named in ``finishing`` to finish what they have and return; ``drain`` then gets the
    rest out within some seconds and tells whether that worked. ``farewell`` comes last, before the resources close.
    """

    name: str
    app: Any
    """The ASGI application."""
    resources: Sequence[Resource]
    loops: Mapping[str, Loop]
    finishing: frozenset[str]
    stop: Callable[[], None]
    drain: Callable[[float], Awaitable[bool]]
    farewell: Callable[[], Awaitable[None]]
