"""Open loop at a fixed rate: how long a POST takes, and how long after its answer the order is visible.

Requests start at their scheduled times whatever the answers do, so a slow server cannot slow its own measurement.
"""

import asyncio
import itertools
import time
from collections.abc import Callable

import attrs

from benchmarks.load import ITEMS


@attrs.frozen
class Paced:
    """Milliseconds: from a request's scheduled time to its answer, and from the answer to the order's visibility.
    ``ids``: what was answered 201."""

    post: list[float] = attrs.Factory(list)
    visible: list[float] = attrs.Factory(list)
    ids: list[str] = attrs.Factory(list)


class Connection:
    """One keep-alive HTTP/1.1 connection, just enough of a client to cost almost nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request; the status and the body."""
        if self._streams is not None and self._streams[0].at_eof():  # the server has hung up an idle connection
            self.close()
            self._streams = None
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
        head += "content-type: application/json\r\n\r\n" if body else "\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(answer[9:12]), await reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


def cart_of(order_id: str) -> str:
    """A cart of three items."""
    return f'{{"orderId":"{order_id}","customerId":"CUST-1","currency":"USD","items":{ITEMS}}}'


def invented(order_id: str) -> str:
    """The seed's request: three items, which the service invents."""
    return f'{{"orderId":"{order_id}","numItems":3}}'


async def _one(cart: Connection, order: Connection | None, order_id: str, body: str, due: float, paced: Paced) -> None:
    status, _ = await cart.ask("POST", "/api/create-order", body.encode())
    answered = time.perf_counter()
    paced.post.append((answered - due) * 1e3)
    if status != 201:
        raise SystemExit(f"POST answered {status}")
    paced.ids.append(order_id)
    if order is None:
        return
    status, _ = await order.ask("GET", f"/api/order-details?orderId={order_id}&wait=10")
    paced.visible.append((time.perf_counter() - answered) * 1e3)
    if status != 200:
        raise SystemExit(f"GET answered {status}")


async def paced(
    cart_port: int,
    order_port: int | None,
    rate: float,
    seconds: float,
    prefix: str,
    body_of: Callable[[str], str] = cart_of,
) -> Paced:
    """Run the open loop with the ids ``prefix-0``, ``prefix-1``...; every order is waited for, where there is a port to
    ask. Ends the program if one is not answered 201, or not found."""
    results = Paced()
    free: list[tuple[Connection, Connection | None]] = []
    every: list[tuple[Connection, Connection | None]] = []

    def pair() -> tuple[Connection, Connection | None]:
        """The connections that were used last, or new ones: a slow server must not delay the next request."""
        if not free:
            every.append((Connection(cart_port), Connection(order_port) if order_port else None))
            free.append(every[-1])
        return free.pop()

    async def serve(number: int, due: float) -> None:
        order_id, used = f"{prefix}-{number}", pair()
        await _one(*used, order_id, body_of(order_id), due, results)
        free.append(used)

    began = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(serve(number, due))
    for connection in itertools.chain.from_iterable(every):
        if connection is not None:
            connection.close()
    return results
