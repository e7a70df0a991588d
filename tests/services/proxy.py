"""A TCP proxy on loopback that does what networks do: cuts, swallows, holds, refuses, delays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any

import attrs

from tests.services.processes import HOST, free_ports

_CHUNK = 65_536
_PATIENCE = 120.0
_RESET = struct.pack("ii", 1, 0)  # linger for 0 s: closing sends RST and drops what is unsent


class Direction(Enum):
    """Which way bytes go."""

    TO_TARGET = "to target"
    TO_CLIENT = "to client"


@attrs.frozen
class Passing:
    """Bytes about to pass: of which connection (from 1), which way, after how many before them."""

    link: int
    direction: Direction
    before: int
    data: bytes


Watch = Callable[[Passing], int | None]
"""Sees all bytes, in the proxy's thread. None lets them pass; a number lets that many pass and then cuts the link."""


def after(count: int, direction: Direction) -> Watch:
    """Cut each link when *count* bytes went one way."""

    def watch(passing: Passing) -> int | None:
        left = count - passing.before
        return max(left, 0) if passing.direction is direction and left <= len(passing.data) else None

    return watch


def when(holds: Callable[[bytes], bool], direction: Direction, *, deliver: bool = False) -> Watch:
    """Cut a link at the first bytes one way for which *holds*; with *deliver* they still arrive."""

    def watch(passing: Passing) -> int | None:
        hit = passing.direction is direction and holds(passing.data)
        return (len(passing.data) if deliver else 0) if hit else None

    return watch


class Proxy:
    """Forwards connections to *target* (``host:port``); ``with Proxy(target) as proxy: ...`` runs it in a thread.

    Set ``watch`` to see all bytes and to cut at some; ``delay`` is in seconds for each chunk, each way. ``was_cut`` is
    set when a watch has cut a link. Every method returns when its effect holds.
    """

    def __init__(self, target: str, *, port: int = 0) -> None:
        host, _, number = target.rpartition(":")
        self._target = (host, int(number))
        self.port = port or free_ports(1)[0]
        self.watch: Watch | None = None
        self.delay = 0.0
        self.was_cut = threading.Event()
        self.connections = 0
        self._links: dict[int, _Link] = {}
        self._swallows = False
        self._server: asyncio.Server | None = None
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}")

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"{HOST}:{self.port}"

    @property
    def open_links(self) -> int:
        """How many connections clients have through it now."""
        return len(self._links)

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Proxy:
        """Listen and forward."""
        self._passes = asyncio.Event()
        self._passes.set()
        self._thread.start()
        try:
            self._call(self._listen())
        except BaseException:
            self._end_loop()
            raise
        return self

    def stop(self) -> None:
        """Cut every connection and end the thread; the proxy cannot be started again."""
        self._call(self._close())
        self._end_loop()

    def cut(self) -> None:
        """Reset every connection on both sides (RST); new ones are forwarded."""
        self._call(self._cut())

    def refuse(self) -> None:
        """Be gone, as a host without a listener: connections are reset, new ones refused."""
        self._call(self._refuse())

    def black_hole(self) -> None:
        """Accept everything, swallow every byte both ways, answer nothing, until `restore` cuts those connections."""
        self._call(self._set(swallows=True, passes=True))

    def hold(self) -> None:
        """Let nothing pass, lose nothing: what is sent arrives late, after `restore`, even if its sender is gone."""
        self._call(self._set(swallows=False, passes=False))

    def restore(self) -> None:
        """Forward again, after `refuse`, `black_hole` or `hold`; a watch and a delay stay."""
        self._call(self._set(swallows=False, passes=True))
        self._call(self._listen())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _close(self) -> None:
        await self._refuse()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _cut(self) -> None:
        links = list(self._links.values())
        for link in links:
            link.cut()
        await asyncio.gather(*(link.ended.wait() for link in links))

    async def _set(self, *, swallows: bool, passes: bool) -> None:
        broken = [] if swallows else [link for link in self._links.values() if link.swallowed]
        self._swallows = swallows
        for link in self._links.values():
            link.swallowed |= swallows
        for link in broken:
            link.cut()
        if passes:
            self._passes.set()
        else:
            self._passes.clear()
        await asyncio.gather(*(link.ended.wait() for link in broken))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(self.connections, self._swallows)
        self._links[link.number] = link
        link.add(writer)
        try:
            link.work = asyncio.create_task(self._forward(link, reader, writer))
            await asyncio.gather(link.work, return_exceptions=True)
        finally:
            await link.close()
            del self._links[link.number]
            link.ended.set()

    async def _forward(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        if link.swallowed:
            while await reader.read(_CHUNK):
                pass
            return
        try:
            target_reader, target_writer = await asyncio.open_connection(*self._target)
        except OSError:
            link.reset()
            return
        link.add(target_writer)
        ways = [
            asyncio.ensure_future(self._pump(link, Direction.TO_TARGET, reader, target_writer)),
            asyncio.ensure_future(self._pump(link, Direction.TO_CLIENT, target_reader, writer)),
        ]
        try:
            await asyncio.gather(*ways)
        except OSError:  # reset by one side: the other side hears the same
            link.reset()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(
        self, link: _Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        passed = 0
        while data := await reader.read(_CHUNK):
            await self._passes.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            if link.swallowed:
                continue
            keep = self.watch(Passing(link.number, direction, passed, data)) if self.watch else None
            writer.write(data if keep is None else data[:keep])
            await writer.drain()
            if keep is not None:
                self.was_cut.set()
                raise ConnectionResetError
            passed += len(data)
        await self._passes.wait()
        if not link.swallowed and writer.can_write_eof():
            writer.write_eof()


class _Link:
    """One client's connection, and ours to the target for it."""

    def __init__(self, number: int, swallowed: bool) -> None:
        self.number = number
        self.swallowed = swallowed
        self.work: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    def add(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # drained means sent
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.append(writer)

    def reset(self) -> None:
        """Close both sides with RST."""
        for writer in self._writers:
            with contextlib.suppress(OSError):  # closed already
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    def cut(self) -> None:
        """Reset, whatever the link waits for."""
        self.reset()
        if self.work is not None:
            self.work.cancel()

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
