"""What a service is made of, as the container hands it to the worker."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs

Loop = Callable[[], Coroutine[Any, Any, None]]


@attrs.frozen
class Service:
    """One service, made but not running.

    ``opening`` is awaited first, before anything runs (it may refuse). ``loops`` run beside the HTTP server until the
    end; one that ends by itself before that is a failure of the whole service. ``stop`` ends the taking of new work and
    all waiting, while HTTP still answers what it has: those loops named in ``finishing`` then finish what was taken and
    return; ``drain`` after that gets the rest out within some seconds and tells whether that worked. ``farewell`` comes
    after the loops have ended; ``exits`` closes what was opened.
    """

    app: Any
    """The ASGI application."""
    loops: Mapping[str, Loop]
    finishing: frozenset[str]
    stop: Callable[[], None]
    drain: Callable[[float], Awaitable[bool]]
    farewell: Callable[[], Awaitable[None]]
    exits: AsyncExitStack
    opening: Sequence[Callable[[], Awaitable[None]]] = ()
