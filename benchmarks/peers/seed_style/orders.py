"""What the service accepts, and the order it makes of that."""

import random
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field, field_validator

PRODUCTS = ("LAPTOP", "PHONE", "TABLET", "MONITOR", "KEYBOARD", "MOUSE", "HEADSET", "CAMERA", "SPEAKER", "WATCH")
CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CAD", "AUD")


class CreateOrder(BaseModel):
    """The body of ``POST /api/create-order``."""

    orderId: str = Field(min_length=1)  # noqa: N815 -- the wire's name
    numItems: int = Field(ge=1)  # noqa: N815 -- the wire's name

    @field_validator("orderId")
    @classmethod
    def trimmed(cls, value: str) -> str:
        """Without surrounding spaces; what is empty then is refused."""
        value = value.strip()
        if not value:
            raise ValueError("orderId cannot be empty or whitespace")
        return value


class Item(BaseModel):
    """One line of an order."""

    itemId: str  # noqa: N815 -- the wire's name
    quantity: int
    price: float


class Order(BaseModel):
    """The whole order: what is stored, published and answered."""

    orderId: str  # noqa: N815 -- the wire's name
    customerId: str  # noqa: N815 -- the wire's name
    orderDate: str  # noqa: N815 -- the wire's name
    items: list[Item]
    totalAmount: float  # noqa: N815 -- the wire's name
    currency: str
    status: str


def make(wanted: CreateOrder) -> Order:
    """An order of ``numItems`` invented items."""
    items = [
        Item(
            itemId=f"ITEM-{random.choice(PRODUCTS)}-{random.randint(100, 999)}",
            quantity=random.randint(1, 5),
            price=round(random.uniform(10.0, 500.0), 2),
        )
        for _ in range(wanted.numItems)
    ]
    return Order(
        orderId=wanted.orderId,
        customerId=f"CUST-{random.randint(1000, 9999)}",
        orderDate=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        items=items,
        totalAmount=round(sum(item.price * item.quantity for item in items), 2),
        currency=random.choice(CURRENCIES),
        status="pending",
    )


def as_record(order: Order, _context: Any) -> dict[str, Any]:  # noqa: ANN401 -- the serializer's context, not used
    """The order as the Avro schema has it."""
    return order.model_dump()
