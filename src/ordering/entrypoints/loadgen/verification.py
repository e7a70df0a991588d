"""Did the services keep what they acknowledged, and nothing of what they refused? Asked of the order service."""

import asyncio
import json
import time
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any, Final

import attrs

from ordering.entrypoints.loadgen.connection import Connection, Response, connect
from ordering.entrypoints.loadgen.traffic import Address, Traffic, Written, details_of

ASKERS: Final = 8
WAIT_SECONDS: Final = 10
LIMIT_SECONDS: Final = 60.0


@attrs.define
class Verified:
    """How many orders were asked for, how many of those were refused before, and what is wrong."""

    written: int = 0
    refused: int = 0
    problems: list[str] = attrs.Factory(list)


async def verify(traffic: Traffic, size: int, address: Address, seed: int) -> Verified:
    """Ask for a sample of at most ``size`` written orders, and of as many that were refused."""
    found = Verified(problems=list(traffic.contradictions))
    if not size:
        return found
    random = Random(seed)  # noqa: S311 -- a sample, no secret
    written = random.sample(traffic.written, min(size, len(traffic.written)))
    refused = random.sample(traffic.refused, min(size, len(traffic.refused)))
    # What was refused comes last: had it been stored, its event would have come before those waited for.
    for orders in (written, refused):
        await _ask_for(orders, found, address)
    return found


async def _ask_for(orders: Sequence[Written | str], found: Verified, address: Address) -> None:
    left = list(orders)
    deadline = time.monotonic() + LIMIT_SECONDS

    async def ask() -> None:
        asker = _Asker(address)
        while left and time.monotonic() < deadline:
            order = left.pop()
            if isinstance(order, Written):
                found.written += 1
                found.problems += await _of_written(asker, order)
            else:
                found.refused += 1
                found.problems += await _of_refused(asker, order)
        asker.close()

    await asyncio.gather(*(ask() for _ in range(ASKERS)))
    if left:
        found.problems.append(f"{len(left)} orders could not be asked for within {LIMIT_SECONDS:g} s")


async def _of_written(asker: "_Asker", order: Written) -> list[str]:
    try:
        answer = await asker.ask(order.order_id, wait=WAIT_SECONDS, min_version=order.version)
    except (OSError, TimeoutError) as error:
        return [f"{order.order_id}: cannot be asked for: {str(error) or 'no answer in time'}"]
    if answer.status != 200:
        return [f"{order.order_id}: acknowledged at version {order.version}, and its details are a {answer.status}"]
    try:
        data: dict[str, Any] = json.loads(answer.body, parse_float=Decimal)["data"]
        told = {**data, "items": len(data["items"]), "version": answer.etag}
    except (ValueError, TypeError, KeyError):
        return [f"{order.order_id}: its details are not understood"]
    expected: dict[str, object] = {
        "orderId": order.order_id,
        "customerId": order.customer_id,
        "totalAmount": order.total,
        "currency": "USD",
        "items": order.lines,
    }
    if order.certain:
        expected |= {"status": str(order.status), "version": f'"{order.version}"'}
    return [
        f"{order.order_id}: {name} is {told.get(name)}, written was {value}"
        for name, value in expected.items()
        if told.get(name) != value
    ]


async def _of_refused(asker: "_Asker", order_id: str) -> list[str]:
    try:
        answer = await asker.ask(order_id)
    except (OSError, TimeoutError) as error:
        return [f"{order_id}: cannot be asked for: {str(error) or 'no answer in time'}"]
    if answer.status == 404:
        return []
    return [f"{order_id}: refused with a 503, and its details are a {answer.status}"]


class _Asker:
    """One connection that waits for each answer."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None
        self._answer: asyncio.Future[Response] | None = None

    async def ask(self, order_id: str, *, wait: int = 0, min_version: int = 1) -> Response:
        """An order's details. Raises OSError, TimeoutError."""
        async with asyncio.timeout(wait + 10.0):
            if self._connection is None:
                self._connection = await connect(self._address.host, self._address.port, self._lost, with_body=True)
            self._answer = asyncio.get_running_loop().create_future()
            request = details_of(order_id, self._address.authority, wait=wait, min_version=min_version)
            self._connection.send(request, self._answer.set_result)
            return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.cut("verified")

    def _lost(self, _connection: Connection, reason: str) -> None:
        self._connection = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))
