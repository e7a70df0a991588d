"""What the HTTP API promises, as dicts: written from its documentation, without a line of the code under test.

Money is counted in minor units and shown as the digits that must be printed: text for a number with decimals, an
integer for one without, which is what ``parsed`` makes of an answer.
"""

import json
import re
from typing import Any

import attrs

STEPS = {
    "pending": ["confirmed", "cancelled"],
    "confirmed": ["shipped", "cancelled"],
    "shipped": ["delivered"],
    "delivered": [],
    "cancelled": [],
}
DECIMALS = {"USD": 2, "EUR": 2, "GBP": 2, "JPY": 0, "CAD": 2, "AUD": 2, "BHD": 3}
GENERATED_CURRENCIES = set(DECIMALS) - {"BHD"}
BAD_KEY, BAD_MATCH = '""', "1"
RETRIED = {"broker-unavailable", "version-not-reached"}
DOING = {201: "created", 200: "updated"}

Line = tuple[str, int, int]
"""Item, quantity, price in minor units."""


@attrs.frozen
class Write:
    """A create (POST) or an update (PUT) word for word, with what it means and what is wrong with its body."""

    method: str
    body: str
    order_id: str = ""
    content: tuple[Line, ...] | int = ()
    currency: str | None = None
    customer: str | None = None
    status: str = ""
    key: str | None = None
    if_match: str | None = None
    slash: bool = False
    body_faults: tuple[tuple[str, str], ...] = ()

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Every fault, headers first."""
        found = [("Idempotency-Key", "malformed-header")] if self.key == BAD_KEY else []
        if self.method == "PUT" and self.if_match == BAD_MATCH:
            found.append(("If-Match", "malformed-header"))
        return [*found, *self.body_faults]


@attrs.frozen
class Expected:
    """An answer: a success with its order's version, the very bytes of a replay, or a problem and its members."""

    status: int
    version: int | None = None
    code: str | None = None
    faults: tuple[tuple[str, str], ...] = ()
    members: dict[str, object] = attrs.Factory(dict)
    replay: bytes | None = None


@attrs.define
class Placed:
    """An order with its status at every version."""

    order_id: str
    customer: str
    date: str
    lines: tuple[Line, ...]
    currency: str
    history: list[str]

    @property
    def version(self) -> int:
        return len(self.history)

    @property
    def status(self) -> str:
        return self.history[-1]

    def shown(self, version: int) -> dict[str, object]:
        """The order as a write answers it."""
        items = [
            {"itemId": item, "quantity": quantity, "price": money(price, self.currency)}
            for item, quantity, price in self.lines
        ]
        return {
            "orderId": self.order_id,
            "customerId": self.customer,
            "orderDate": self.date,
            "items": items,
            "totalAmount": money(self._total(), self.currency),
            "currency": self.currency,
            "status": self.history[version - 1],
        }

    def detailed(self, version: int) -> dict[str, object]:
        """The order as the read side answers it: 2 % of the total for shipping, rounded down."""
        return {**self.shown(version), "shippingCost": money(self._total() * 2 // 100, self.currency)}

    def _total(self) -> int:
        return sum(quantity * price for _, quantity, price in self.lines)


class Model:
    """One request after the other."""

    def __init__(self) -> None:
        self.orders: dict[str, Placed] = {}
        self.deliverable = True
        self._answers: dict[tuple[str, str], tuple[str, Expected]] = {}

    def expected(self, write: Write) -> Expected:
        """The answer; the checks come in the documented order, and the broker is the last thing to matter."""
        if write.faults:
            return Expected(400, code="invalid-input", faults=tuple(write.faults))
        if write.key is not None and (write.method, write.key) in self._answers:
            body, first = self._answers[write.method, write.key]
            return first if body == write.body else Expected(422, code="idempotency-key-reused")
        order = self.orders.get(write.order_id)
        answer = self._create(order) if write.method == "POST" else self._update(order, write)
        is_new = answer.code is None and answer.version != (order.version if order else 0)
        return answer if self.deliverable or not is_new else Expected(503, code="broker-unavailable")

    def _create(self, order: Placed | None) -> Expected:
        return Expected(201, 1) if order is None else Expected(409, code="duplicate-order")

    def _update(self, order: Placed | None, write: Write) -> Expected:
        if order is None:
            return Expected(404, code="order-not-found")
        tags = [tag.strip() for tag in (write.if_match or "*").split(",")]
        if "*" not in tags and f'"{order.version}"' not in tags:
            members: dict[str, object] = {"currentVersion": order.version}
            return Expected(412, order.version, "precondition-failed", members=members)
        if write.status == order.status:
            return Expected(200, order.version)
        if write.status not in STEPS[order.status]:
            members = {"currentStatus": order.status, "allowed": STEPS[order.status]}
            return Expected(409, code="illegal-transition", members=members)
        return Expected(200, order.version + 1)

    def take(self, write: Write, expected: Expected, answer: bytes) -> None:
        """A success that was no replay: what was generated is learned, everything else has to be as asked."""
        data = parsed(answer)["data"]
        if write.method == "POST":
            self.orders[write.order_id] = _placed(write, data)
        order = self.orders[write.order_id]
        if expected.version == order.version + 1:
            order.history.append(write.status)
        message = f"Order '{write.order_id}' {DOING[expected.status]} successfully"
        assert parsed(answer) == {"success": True, "message": message, "data": order.shown(order.version)}
        if write.key is not None:
            self._answers[write.method, write.key] = (write.body, attrs.evolve(expected, replay=answer))


def _placed(write: Write, data: dict[str, Any]) -> Placed:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", data["orderDate"])
    lines, customer, currency = write.content, write.customer, write.currency or "USD"
    if isinstance(lines, int):
        assert len(data["items"]) == lines
        assert data["currency"] in GENERATED_CURRENCIES
        currency = data["currency"]
        lines = tuple((line["itemId"], line["quantity"], _units(line["price"], currency)) for line in data["items"])
    if customer is None:
        assert re.fullmatch(r"CUST-[1-9]\d{3}", data["customerId"])
        customer = data["customerId"]
    return Placed(write.order_id, customer, data["orderDate"], lines, currency, ["pending"])


def money(units: int, currency: str) -> object:
    """An amount as ``parsed`` shows it when it is printed with exactly the currency's decimals."""
    decimals = DECIMALS[currency]
    return f"{units // 10**decimals}.{units % 10**decimals:0{decimals}d}" if decimals else units


def _units(amount: object, currency: str) -> int:
    units = int(str(amount).replace(".", ""))
    assert amount == money(units, currency)
    return units


def parsed(answer: bytes) -> Any:  # noqa: ANN401 -- any JSON
    """An answer whose numbers with decimals are the text that was printed."""
    return json.loads(answer, parse_float=str)
