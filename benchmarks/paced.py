"""Open loop at a fixed rate: how long a POST takes, and how long after its answer the order is visible.

Requests start at their scheduled times whatever the answers do, so a slow server cannot slow its own measurement.
"""

import asyncio
import time
from collections.abc import Callable

import attrs

from benchmarks.load import ITEMS


@attrs.frozen
class Paced:
    """Milliseconds: from a request's scheduled time to its answer, and from the answer to the order's visibility."""

    post: list[float]
    visible: list[float]


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
    ask. Ends the program if one is not answered 201."""
    results = Paced([], [])
    free = [(Connection(cart_port), Connection(order_port) if order_port else None) for _ in range(64)]
    every = list(free)
    tasks: set[asyncio.Task[None]] = set()
    began = time.perf_counter() + 0.1

    async def serve(number: int, due: float) -> None:
        pair = free.pop()
        order_id = f"{prefix}-{number}"
        await _one(*pair, order_id, body_of(order_id), due, results)
        free.append(pair)

    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(serve(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for pair in every:
        for connection in pair:
            if connection is not None:
                connection.close()
    return results
