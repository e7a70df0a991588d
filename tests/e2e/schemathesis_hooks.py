"""What Schemathesis cannot learn from an OpenAPI document. Loaded by its command, not by pytest."""

from itertools import count
from typing import Any

import schemathesis

FRESH = count(1)
LONGEST_WAIT = 0.05
"""Seconds. The document allows 30, and thousands of cases ask for orders that never come."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ANN401 -- as Schemathesis has it
    """Orders get ids that nobody used, and nobody waits for long.

    A client chooses its order's id, and no schema can say "a new one": drawn at random, most of them are 0, and nearly
    every create would be the same 409. Only cases that should succeed are changed, and only in the random phases.
    """
    if case.operation.path == "/api/create-order" and _may_succeed(case) and isinstance(case.body, dict):
        order_id = case.body.get("orderId")
        if isinstance(order_id, str):
            case.body["orderId"] = f"{order_id[:50]}-{next(FRESH)}"
    if case.operation.path == "/api/order-details" and case.query is not None:
        wait = case.query.get("wait")
        if isinstance(wait, int | float) and LONGEST_WAIT < wait <= 30:
            case.query["wait"] = LONGEST_WAIT


def _may_succeed(case: Any) -> bool:  # noqa: ANN401
    meta = case.meta
    return meta is not None and meta.phase.name.value in {"fuzzing", "stateful"} and meta.generation.mode.is_positive
