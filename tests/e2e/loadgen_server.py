"""A stand-in for both services, to be wrong in ways that ours are not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

Order = dict[str, Any]


@attrs.define
class StandIn:
    """Keeps orders in a dict, and answers as told.

    ``spoil`` changes what details say of an order (None: not found). ``refuse`` tells which creates, by their number
    from 1 on, are a 503; ``stored`` whether those are kept all the same. ``delay`` is how many seconds the answer to
    a create takes.
    """

    spoil: Callable[[Order], Order | None] = lambda order: order
    refuse: Callable[[int], bool] = lambda _: False
    stored: bool = False
    delay: Callable[[int], float] = lambda _: 0.0
    hangs_up: Callable[[int], bool] = lambda _: False
    made: int = 0
    orders: dict[str, Order] = attrs.Factory(dict)
    asked: list[str] = attrs.Factory(list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = head.split(" ", 2)
                lengths = [line for line in head.split("\r\n") if line.startswith("Content-Length:")]
                body = await reader.readexactly(int(lengths[0].split(":")[1])) if lengths else b""
                answer = await self.answer(method, target, body)
                if answer is None:
                    break
                status, version, document = answer
                data = json.dumps(document).encode()
                etag = f'ETag: "{version}"\r\n' if version else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{etag}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, method: str, target: str, body: bytes) -> tuple[int, int, object] | None:
        """Status, version, document; None: hang up."""
        if method == "GET":
            order_id = parse_qs(urlsplit(target).query)["orderId"][0]
            self.asked.append(order_id)
            order = self.orders.get(order_id)
            shown = None if order is None else self.spoil(dict(order))
            return (404, 0, {}) if shown is None else (200, shown.pop("version"), {"data": shown})
        wanted = json.loads(body)
        if method == "PUT":
            order = self.orders[wanted["orderId"]]
            order.update(status=wanted["status"], version=order["version"] + 1)
            return 200, order["version"], {}
        self.made += 1
        number = self.made
        await asyncio.sleep(self.delay(number))
        if self.hangs_up(number):
            return None
        if self.refuse(number) and not self.stored:
            return 503, 0, {}
        items = json.loads(body, parse_float=Decimal)["items"]
        total = float(sum(Decimal(item["price"]) * item["quantity"] for item in items))
        self.orders[wanted["orderId"]] = {**wanted, "totalAmount": total, "status": "pending", "version": 1}
        return (503, 0, {}) if self.refuse(number) else (201, 1, {})


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """In a thread of its own."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        async with await asyncio.start_server(stand_in.serve, "127.0.0.1", 0) as server:
            stand_in.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            started.set()
            await stop.wait()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(60)
        yield stand_in
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
