"""Sends traffic in a closed loop (each connection asks again when it was answered) or in an open one (at its times).

An open loop's latency counts from the moment a request was meant to be sent, however late a busy connection sent it:
else a server that stalls would hold back the very requests that show the stall (coordinated omission).
"""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

from ordering.entrypoints.loadgen.connection import Connection, Response, connect
from ordering.entrypoints.loadgen.histogram import Histogram
from ordering.entrypoints.loadgen.traffic import Address, Kind, Request, Traffic

WAITING_MAX: Final = 100_000
"""How many requests of an open loop may wait for a connection; more are counted as not sent."""

RETRY_SECONDS: Final = 0.05
SWEEP_SECONDS: Final = 0.1
PACE_SECONDS: Final = 0.0005
"""Requests of an open loop that are meant to be sent closer together than this are sent together."""

NOT_SENT: Final = "not sent"
NOT_CONNECTED: Final = "not connected"


@attrs.frozen
class Plan:
    """How much is sent, and how. ``rate`` is requests a second; without it each connection asks as fast as it can."""

    connections: int
    seconds: float
    count: int | None = None
    rate: float | None = None
    timeout: float = 10.0


@attrs.define
class Tally:
    """What came of it. ``latencies`` are of successes, ``refusals`` of all other answers: a refusal is fast, and would
    make everything look so. ``lateness`` is how late requests of an open loop were due to this program alone: latencies
    hold it, too. ``seconds`` is from the first request to the last answer."""

    latencies: dict[Kind, Histogram] = attrs.Factory(lambda: {kind: Histogram() for kind in Kind})
    refusals: Histogram = attrs.Factory(Histogram)
    answers: Counter[tuple[str, str]] = attrs.Factory(Counter)
    lateness: Histogram = attrs.Factory(Histogram)
    sent: int = 0
    seconds: float = 0.0


@attrs.define
class _Slot:
    """Room for one request at a time, with a connection to either service."""

    connections: dict[Address, Connection] = attrs.Factory(dict)
    request: Request | None = None
    intended: float = 0.0
    sent: float = 0.0


class Driver:
    """One run of one plan in one event loop. Always ends: after the plan's time or count, and one time-out."""

    def __init__(self, plan: Plan, traffic: Traffic, cart: Address, order: Address) -> None:
        self.tally = Tally()
        self._plan, self._traffic = plan, traffic
        self._address = {Kind.CREATE: cart, Kind.UPDATE: cart, Kind.READ: order}
        self._addresses = {self._address[kind]: None for kind in (Kind.CREATE, *traffic.kinds)}
        self._slots = [_Slot() for _ in range(plan.connections)]
        self._idle: list[_Slot] = []
        self._waiting: deque[float] = deque()
        self._left = plan.count
        self._over, self._closing = False, False
        self._done = asyncio.Event()
        self._connecting: set[asyncio.Task[None]] = set()

    async def run(self, ready: Callable[[], None]) -> Tally:
        """Connect, call ``ready`` (which may block until the other processes are, too), send, and wait for what is
        under way. Raises ConnectionError if a service cannot be connected to at all."""
        for slot in self._slots:
            for address in self._addresses:
                try:
                    await self._connected(slot, address)
                except OSError as error:
                    self._hang_up()
                    raise address.unreachable(error) from None
        ready()
        began = time.perf_counter()
        pacer = self._start(began)
        sweeper = asyncio.get_running_loop().create_task(self._sweep())
        try:
            async with asyncio.timeout(self._plan.seconds + self._plan.timeout + 1.0):
                await self._done.wait()
        except TimeoutError:
            self.tally.answers["-", NOT_SENT] += len(self._waiting)
        finally:
            self._over = True
            pacer.stop()
            sweeper.cancel()
            for task in self._connecting:
                task.cancel()
            self._hang_up()
        return self.tally

    def _hang_up(self) -> None:
        self._over = self._closing = True
        for slot in self._slots:
            for connection in list(slot.connections.values()):
                connection.cut("end of the run")

    # ------------------------------------------------------------------ when to send

    def _start(self, began: float) -> "Pacer":
        rate, loop = self._plan.rate, asyncio.get_running_loop()
        pacer = Pacer(partial(loop.call_soon_threadsafe, self._due))
        self._next, self._until = began, began + self._plan.seconds
        if rate is None:
            loop.call_later(self._plan.seconds, self._end)
            for slot in self._slots:
                self._free(slot)
        else:
            self._idle = list(self._slots)
            pacer.start(began, max(1.0 / rate, PACE_SECONDS))
        return pacer

    def _due(self) -> None:
        """Every request of the open loop that is meant to have been sent by now."""
        now, rate = time.perf_counter(), self._plan.rate
        assert rate is not None
        while self._next <= now and not self._over:
            intended, self._next = self._next, self._next + 1.0 / rate
            self.tally.lateness.record(round((now - intended) * 1_000_000))
            if self._idle:
                self._begin(self._idle.pop(), intended)
            elif len(self._waiting) < WAITING_MAX:
                self._waiting.append(intended)
            else:
                self.tally.answers["-", NOT_SENT] += 1
            if self._next >= self._until or self._spent():
                self._end()

    def _spent(self) -> bool:
        return self._left is not None and self._left - len(self._waiting) <= 0

    def _end(self) -> None:
        """Nothing new from here on."""
        self._over = True
        self._finished()

    def _finished(self) -> None:
        if self._over and not self._waiting and len(self._idle) == len(self._slots):
            self._done.set()

    def _free(self, slot: _Slot) -> None:
        """The slot can take a request."""
        if self._waiting:
            self._begin(slot, self._waiting.popleft())
        elif self._plan.rate is None and not self._over and self._left != 0:
            self._begin(slot, time.perf_counter())
        else:
            self._over |= self._left == 0
            self._idle.append(slot)
            self._finished()

    # ------------------------------------------------------------------ sending

    def _begin(self, slot: _Slot, intended: float) -> None:
        if self._left is not None:
            self._left -= 1
        slot.request, slot.intended, slot.sent = self._traffic.next(), intended, time.perf_counter()
        self.tally.sent += 1
        address = self._address[slot.request.kind]
        connection = slot.connections.get(address)
        if connection is None or not connection.usable:
            self._reconnect(slot, address)
        else:
            connection.send(slot.request.data, partial(self._answered, slot))

    def _answered(self, slot: _Slot, response: Response) -> None:
        now, request = time.perf_counter(), slot.request
        assert request is not None
        slot.request = None
        counted = self.tally.latencies[request.kind] if response.status < 400 else self.tally.refusals
        counted.record(round((now - slot.intended) * 1_000_000))
        self.tally.answers[request.kind, str(response.status)] += 1
        self.tally.seconds = now - (self._until - self._plan.seconds)
        self._traffic.answered(request, response.status)
        self._free(slot)

    def _gone(self, slot: _Slot, address: Address, connection: Connection, reason: str) -> None:
        """A connection is lost; its place is taken by a new one when it is needed."""
        if slot.connections.get(address) is connection:
            del slot.connections[address]
        if connection.busy and not self._closing:
            self._lose(slot, reason)

    def _lose(self, slot: _Slot, reason: str) -> None:
        request = slot.request
        assert request is not None
        slot.request = None
        self.tally.answers[request.kind, reason] += 1
        self._traffic.lost(request)
        self._free(slot)

    async def _sweep(self) -> None:
        """Cut what was not answered in time."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            late = time.perf_counter() - self._plan.timeout
            for slot in self._slots:
                if slot.request is not None and slot.sent < late:
                    connection = slot.connections.get(self._address[slot.request.kind])
                    if connection is not None:
                        connection.cut("no answer in time")

    # ------------------------------------------------------------------ connecting

    async def _connected(self, slot: _Slot, address: Address) -> Connection:
        connection = await connect(address.host, address.port, partial(self._gone, slot, address))
        slot.connections[address] = connection
        return connection

    def _reconnect(self, slot: _Slot, address: Address) -> None:
        task = asyncio.get_running_loop().create_task(self._connect_and_send(slot, address))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_and_send(self, slot: _Slot, address: Address) -> None:
        request = slot.request
        assert request is not None
        try:
            async with asyncio.timeout(self._plan.timeout):
                connection = await self._connected(slot, address)
        except OSError:
            await asyncio.sleep(RETRY_SECONDS)  # else a closed loop would do nothing but try
            self._lose(slot, NOT_CONNECTED)
        else:
            connection.send(request.data, partial(self._answered, slot))


class Pacer:
    """Calls at given times, from a thread: an event loop's timers are a millisecond late."""

    def __init__(self, due: Callable[[], object]) -> None:
        self._due, self._stopped = due, threading.Event()

    def start(self, began: float, interval: float) -> None:
        """Call every ``interval`` seconds from ``began`` on, by ``time.perf_counter``."""
        threading.Thread(target=self._run, args=(began, interval), name="pacer", daemon=True).start()

    def stop(self) -> None:
        """No call begins after this."""
        self._stopped.set()

    def _run(self, began: float, interval: float) -> None:
        at = began
        while not self._stopped.is_set():
            time.sleep(max(0.0, at - time.perf_counter()))
            if self._stopped.is_set():
                return
            try:
                self._due()
            except RuntimeError:  # the loop has ended
                return
            at = max(at + interval, time.perf_counter())
