"""What is sent: orders, changes and reads in a given mix, and what the services have to know of it afterwards."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Final

import attrs

from ordering.domain.status import TRANSITIONS, OrderStatus

KEPT: Final = 20_000
"""How many orders a process remembers: an even sample of all it wrote; they are read, changed and verified."""

REFUSED_KEPT: Final = 2_000
CONTRADICTIONS_KEPT: Final = 100
TRIES: Final = 8
CENT: Final = Decimal("0.01")


class Kind(StrEnum):
    """What a request does."""

    CREATE = "create"
    UPDATE = "update"
    READ = "read"


@attrs.define
class Written:
    """An order that was acknowledged. ``certain``: every change of it was answered, so its status is known."""

    order_id: str
    customer_id: str
    total: Decimal
    lines: int
    status: OrderStatus = OrderStatus.PENDING
    version: int = 1
    busy: bool = False
    certain: bool = True

    @property
    def next_status(self) -> OrderStatus | None:
        """The step it takes next, cancellation left aside."""
        return next(iter(TRANSITIONS[self.status]), None)


@attrs.frozen
class Request:
    """One request: its bytes, which service it is for, and the order that it is about."""

    kind: Kind
    data: bytes
    order: Written


@attrs.frozen
class Address:
    """Where a service answers, in clear HTTP."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """As it stands in a Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def unreachable(self, error: OSError) -> ConnectionError:
        """What to raise for an error of connecting to it: one that says where."""
        return ConnectionError(
            f"http://{self.authority} cannot be connected to: {(error.strerror or str(error)).lower()}"
        )


class Traffic:
    """An endless mix of requests of one process, made from its seed; hears how each ended."""

    def __init__(self, run: str, seed: int, mix: Mapping[Kind, int], cart: Address, order: Address) -> None:
        """``run`` begins every order's id, so that no two runs meet. ``mix`` gives each kind's weight."""
        self._run, self._random = run, Random(seed)  # noqa: S311 -- load, not secrets
        self.kinds, self._weights = list(mix), list(mix.values())
        self._cart, self._order = cart.authority, order.authority
        self._made = 0
        self.written: list[Written] = []
        self.written_count = 0
        self.refused: list[str] = []
        """Ids of orders that the service said it did not store."""
        self.contradictions: list[str] = []
        """Answers that cannot be right, whatever happened before."""

    def next(self) -> Request:
        """A request that makes sense now; while there is no order to change or read, one is made."""
        (kind,) = self._random.choices(self.kinds, self._weights)
        order = None if kind is Kind.CREATE else self._known(kind)
        if order is None:
            return self._create()
        return self._update(order) if kind is Kind.UPDATE else self._read(order)

    def answered(self, request: Request, status: int) -> None:
        """An answer came."""
        order = request.order
        if request.kind is Kind.CREATE:
            if status == 201:
                self._keep(order)
            elif status == 503 and len(self.refused) < REFUSED_KEPT:
                self.refused.append(order.order_id)
            elif status < 500:
                self._contradicted(f"a new order {order.order_id} was answered {status}")
        elif request.kind is Kind.UPDATE:
            order.busy = False
            following = order.next_status
            if status == 200 and following is not None:
                order.status, order.version = following, order.version + 1
            elif status != 503:  # a 503 changed nothing
                order.certain = False
            if status < 500 and status != 200:
                self._contradicted(f"order {order.order_id}, which was {order.status}, was not changed but {status}")

    def lost(self, request: Request) -> None:
        """No answer came: nobody knows."""
        if request.kind is Kind.UPDATE:
            request.order.busy, request.order.certain = False, False

    # ------------------------------------------------------------------ requests

    def _create(self) -> Request:
        self._made += 1
        order_id, customer = f"{self._run}-{self._made}", f"CUST-{self._random.randrange(1_000, 10_000)}"
        items = list(self._items())
        total = sum((CENT * price * quantity for _, quantity, price in items), Decimal(0))
        lines = ",".join(
            f'{{"itemId":"{item}","quantity":{quantity},"price":{price // 100}.{price % 100:02}}}'
            for item, quantity, price in items
        )
        body = f'{{"orderId":"{order_id}","customerId":"{customer}","currency":"USD","items":[{lines}]}}'
        order = Written(order_id, customer, total, len(items))
        return Request(Kind.CREATE, _with_body("POST", "/api/create-order", self._cart, body), order)

    def _items(self) -> Iterator[tuple[str, int, int]]:
        """Item, quantity, price in cents."""
        for _ in range(self._random.randrange(1, 4)):
            number = self._random.getrandbits(40)
            yield f"ITEM-{number % 997}", number // 997 % 5 + 1, number // 5_000 % 49_000 + 1_000

    def _update(self, order: Written) -> Request:
        order.busy = True
        body = json.dumps({"orderId": order.order_id, "status": order.next_status})
        return Request(Kind.UPDATE, _with_body("PUT", "/api/update-order", self._cart, body), order)

    def _read(self, order: Written) -> Request:
        return Request(Kind.READ, details_of(order.order_id, self._order, wait=10), order)

    # ------------------------------------------------------------------ orders

    def _known(self, kind: Kind) -> Written | None:
        for _ in range(TRIES if self.written else 0):
            order = self.written[int(self._random.random() * len(self.written))]
            if kind is Kind.READ or (order.certain and not order.busy and order.next_status is not None):
                return order
        return None

    def _contradicted(self, what: str) -> None:
        if len(self.contradictions) < CONTRADICTIONS_KEPT:
            self.contradictions.append(what)

    def _keep(self, order: Written) -> None:
        """An even sample, whatever comes after (reservoir sampling)."""
        self.written_count += 1
        if len(self.written) < KEPT:
            self.written.append(order)
            return
        place = int(self._random.random() * self.written_count)
        if place < KEPT:
            self.written[place] = order


def details_of(order_id: str, authority: str, *, wait: int = 0, min_version: int = 1) -> bytes:
    """The request for an order's details."""
    query = f"orderId={order_id}&minVersion={min_version}&wait={wait}"
    return f"GET /api/order-details?{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def _with_body(method: str, path: str, authority: str, body: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
