"""Many clients in one process, each on a connection of its own: as cheap as a client can be, so that what is measured
is the service and not the load.

A client asks, waits for the answer, asks again (a closed loop). One that is refused rests as long as it is told to,
and then asks for another order, so that an id that was refused is never tried again and must not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import attrs

from tests.e2e.crash_clients import Attempt
from tests.overload.systems import Attempts

SEED = 20_261_127
LAST_ANSWERS_SECONDS = 60.0
"""How long clients that go home wait for their last answer."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE).search
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE).search
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE).search
_CODE = re.compile(rb'"code":"([a-z-]+)"').search


def create_request(order_id: str, *, key: bool = True) -> bytes:
    """``POST /api/create-order`` as bytes."""
    body = b'{"orderId":"%b","numItems":1}' % order_id.encode()
    once = b"Idempotency-Key: %b\r\n" % order_id.encode() if key else b""
    return b"POST /api/create-order HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (once, len(body), body)


@attrs.frozen
class Answer:
    """One whole answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether it is the last one on its connection."""
        return _CLOSES(self.head) is not None

    @property
    def code(self) -> str:
        """The code of a problem."""
        found = _CODE(self.body)
        return found.group(1).decode() if found else ""


def read_answer(buffer: bytes) -> tuple[Answer, bytes] | None:
    """The first answer in the buffer with what is behind it; None while it is not whole. Answers have a length."""
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator:
        return None
    length = _LENGTH(head)
    assert length is not None, head
    size = int(length.group(1))
    return None if len(rest) < size else (Answer(int(head[9:12]), head, rest[:size]), rest[size:])


@attrs.define
class Record:
    """What clients were told, by order id, and how long it took (seconds)."""

    attempts: Attempts = attrs.Factory(dict)
    accepted: list[float] = attrs.Factory(list)
    refused: list[float] = attrs.Factory(list)
    statuses: Counter[str] = attrs.Factory(Counter)
    unheard: list[str] = attrs.Factory(list)
    """Ids of requests whose connection closed before any byte of an answer."""
    broken: list[str] = attrs.Factory(list)
    """Ids of requests whose connection closed within an answer."""

    def began(self, order_id: str) -> None:
        """A request leaves."""
        self.attempts.setdefault(order_id, []).append(Attempt(order_id, "pending"))

    def answered(self, order_id: str, answer: Answer, seconds: float) -> None:
        """Its answer came."""
        attempt = self.attempts[order_id][-1]
        attempt.status, attempt.version = answer.status, 1 if answer.status == 201 else None
        self.statuses[f"{answer.status} {answer.code}".strip()] += 1
        if attempt.acknowledged:
            self.accepted.append(seconds)
        elif attempt.refused:
            self.refused.append(seconds)

    def others(self, *expected: str) -> int:
        """How many answers were none of these: statuses, or statuses with a code."""
        return sum(count for told, count in self.statuses.items() if not {told, told[:3]} & {*expected})

    def never(self) -> Attempts:
        """Attempts that were not heard nor repeated, as if they had been refused: none of them may be stored."""
        return {
            order_id: [Attempt(order_id, "pending", 503)]
            for order_id in self.unheard
            if len(self.attempts[order_id]) == 1
        }

    def told(self) -> str:
        """How often each answer came, in words."""
        return ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))


def percentile(values: list[float], share: float) -> float:
    """The value that so many of all are not above; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Client:
    """One client, on one connection after the other."""

    def __init__(self, load: Load, number: int) -> None:
        self._load, self._number, self._made = load, number, 0
        self.link: _Link | None = None
        self._order: str | None = None
        self._began = 0.0
        self._again = False

    def ask(self) -> None:
        """The next request, on the open connection or a new one."""
        if self._load.stopped:
            self.close()
            self._load.quiet()
        elif self.link is None:
            self._load.connect(self)
        else:
            if self._order is None:
                self._made += 1
                self._order = f"{self._load.name}-{self._number}-{self._made}"
            self._load.record.began(self._order)
            self._began = time.perf_counter()
            self.link.send(create_request(self._order))

    def answered(self, answer: Answer) -> None:
        """The answer to what was asked last."""
        order, self._order, self._again = self._order, None, False
        assert order is not None, answer
        self._load.record.answered(order, answer, time.perf_counter() - self._began)
        if answer.closes:
            self.close()
        if answer.status == 503:
            told = _RETRY_AFTER(answer.head)
            self._load.later(float(told.group(1)) if told else 0.0, self)
        else:
            self.ask()

    def lost(self, *, within_answer: bool) -> None:
        """The connection closed, perhaps without the answer; what was not heard may be asked once more."""
        self.link = None
        if self._order is None:
            return
        record = self._load.record
        (record.broken if within_answer else record.unheard).append(self._order)
        if within_answer or self._again or not self._load.repeats or self._number % 2:
            self._order, self._again = None, False
        else:
            self._again = True
        self._load.later(0.05, self)

    def close(self) -> None:
        """Leave the connection."""
        link, self.link = self.link, None
        if link is not None:
            link.close()

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return self._order is not None and self.link is not None


class _Link(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, client: Client) -> None:
        self._client, self._buffer = client, b""
        self._transport: Any = None  # uvloop's is no asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._client.link = self
        self._client.ask()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        found = read_answer(self._buffer)
        if found is not None:
            answer, self._buffer = found
            self._client.answered(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._client.link is self:
            self._client.lost(within_answer=bool(self._buffer))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Load:
    """So many clients against one service, until the end of the block and the answers to what was asked in it.

    Their connections are opened within ``opening`` seconds. ``jitter`` stretches the rest of a refused client by up to
    this share, as sensible clients do. With ``repeats`` every other client asks once more, with the same key, where
    the connection closed before any byte of the answer.
    """

    def __init__(
        self,
        url: str,
        name: str,
        clients: int,
        *,
        record: Record,
        opening: float = 0.0,
        jitter: float = 0.5,
        repeats: bool = False,
    ) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self._host, self._port = address.hostname, address.port
        self.name, self.repeats = name, repeats
        self.record = record
        self.stopped = False
        self.unconnected = 0
        """How often a connection was refused or reset before anything was asked."""
        self._random = random.Random(SEED)
        self._opening, self._jitter = opening, jitter
        self._clients = [Client(self, number) for number in range(clients)]
        self._quiet = asyncio.Event()
        self._connecting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Load:
        for client in self._clients:
            asyncio.get_running_loop().call_later(self._random.random() * self._opening, self.connect, client)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopped = True
        if any(client.waits for client in self._clients):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), LAST_ANSWERS_SECONDS)
        for client in self._clients:
            client.close()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def connect(self, client: Client) -> None:
        """Give it a connection, sooner or later."""
        if self.stopped:
            return
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def later(self, seconds: float, client: Client) -> None:
        """Let it ask again after a while."""
        stretched = seconds * (1 + self._random.random() * self._jitter)
        asyncio.get_running_loop().call_later(stretched, client.ask)

    def quiet(self) -> None:
        """A client has gone home; perhaps it was the last one that waited."""
        if not any(client.waits for client in self._clients):
            self._quiet.set()

    async def _connect(self, client: Client) -> None:
        while not self.stopped:
            try:
                await asyncio.get_running_loop().create_connection(lambda: _Link(client), self._host, self._port)
            except OSError:
                self.unconnected += 1
                await asyncio.sleep(0.05)  # nobody listens at the moment; nothing tells when somebody does
            else:
                return


async def ask(url: str, request: bytes, seconds: float = 60.0) -> Answer | None:
    """One request on a connection of its own; None if it closed before the answer was whole."""
    address = urlsplit(url)
    buffer = b""
    async with asyncio.timeout(seconds):
        try:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            return None
        try:
            writer.write(request)
            while (found := read_answer(buffer)) is None:
                received = await reader.read(65_536)
                if not received:
                    return None
                buffer += received
            return found[0]
        except OSError:
            return None
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def usual(url: str, record: Record, name: str) -> float:
    """How long the slowest of ten orders takes, in seconds, while nobody else asks; all of them are accepted."""
    slowest = 0.0
    for number in range(10):
        order_id = f"{name}-{number}"
        began = time.monotonic()
        record.began(order_id)
        answer = await ask(url, create_request(order_id))
        took = time.monotonic() - began
        assert answer is not None, "a service that has nothing to do hangs up"
        record.answered(order_id, answer, took)
        assert answer.status == 201, answer
        slowest = max(slowest, took)
    return slowest


async def until_normal(url: str, record: Record, name: str, *, within: float, seconds: float = 60.0) -> float:
    """Ask every 50 ms until ten orders in a row are accepted within so many seconds each; when the first of them
    was asked, in seconds from now."""
    start = time.monotonic()
    number, row, first = 0, 0, 0.0
    while row < 10 and time.monotonic() - start < seconds:
        number += 1
        order_id = f"{name}-{number}"
        began = time.monotonic()
        record.began(order_id)
        answer = await ask(url, create_request(order_id))
        took = time.monotonic() - began
        if answer is not None:
            record.answered(order_id, answer, took)
        if answer is not None and answer.status == 201 and took <= within:
            first, row = first if row else began - start, row + 1
        else:
            row = 0
        await asyncio.sleep(0.05)
    return first if row == 10 else seconds
