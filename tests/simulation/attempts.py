"""What clients did, and what they were told."""

from math import inf

import attrs

from ordering.application.commands import Answer
from ordering.application.queries import Details
from tests.http.api_model import Write
from tests.simulation.nodes import Cart


@attrs.define(eq=False)
class Attempt:
    """One write and what its client was told; None if the line went dead. ``began`` and ``ended`` are moments."""

    request_id: str
    write: Write
    cart: Cart
    began: int
    ended: float = inf
    answer: Answer | Exception | None = None


@attrs.define(eq=False)
class Look:
    """One read, as an attempt. ``seen`` is the highest version that anybody had been shown before it began."""

    order_id: str
    min_version: int
    began: int
    seen: int
    ended: float = inf
    answer: Details | Exception | None = None
