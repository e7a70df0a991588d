"""News between instances: what NOTIFY tells and who LISTENs, always only a hint that costs time when it is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from ordering.application.failures import Refused, StoreUnavailable

_PAUSE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 5.0


async def follow(
    connect: Callable[[], Awaitable[asyncpg.Connection]], channel: str, heard: Callable[[str | None], None]
) -> None:
    """Call ``heard`` with every payload on the channel, and with None after each (re)connect, until cancelled."""
    while True:
        try:
            connection = await connect()
            try:
                await _listen(connection, channel, heard)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            pass  # the reason shows wherever the database is used for more than news
        except (Refused, StoreUnavailable):
            pass
        await asyncio.sleep(_PAUSE_SECONDS)


async def _listen(connection: asyncpg.Connection, channel: str, heard: Callable[[str | None], None]) -> None:
    """Until the connection is lost: the server hangs up, or answers nothing."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())

    def hear(_connection: object, _pid: int, _channel: str, payload: str) -> None:
        heard(payload)

    silence = asyncio.get_running_loop().call_later(_SILENCE_SECONDS, connection.terminate)
    try:
        await connection.add_listener(channel, hear)
        heard(None)
        while True:
            silence.cancel()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await lost.wait()
                return
            except TimeoutError:
                silence = asyncio.get_running_loop().call_later(_SILENCE_SECONDS, connection.terminate)
                await connection.fetch("SELECT")
    finally:
        silence.cancel()
