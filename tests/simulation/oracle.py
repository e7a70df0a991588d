"""The API as one request after the other: what must be answered, and whether answers given side by side fit that.

The promises themselves are ``tests/http/api_model.py``, written from the documentation without a line of the product.
Here they meet the layer below HTTP: the same model judges the simulation's worlds and drives Hypothesis' machine.
"""

import json
from collections.abc import Iterable, Sequence

import attrs

from ordering.application.commands import Answer
from ordering.application.errors import PreconditionFailed
from ordering.application.failures import Failure
from ordering.application.messages import RecordedAnswer
from ordering.domain.errors import IllegalTransition, OrderingError
from ordering.domain.order import Order
from ordering.entrypoints.http.problems import STATUS_AND_TITLE
from ordering.entrypoints.http.schemas import created, updated
from tests.http.api_model import Expected, Model, Placed, Write

Outcome = Answer | Exception
RENDER = {"POST": created, "PUT": updated}
SUCCESS = {"POST": 201, "PUT": 200}


@attrs.frozen
class Told:
    """An outcome as a client hears it."""

    status: int
    code: str | None
    version: int | None = None
    body: bytes = b""
    members: tuple[tuple[str, object], ...] = ()

    def fits(self, expected: Expected) -> bool:
        """Whether that is what had to be answered."""
        if expected.replay is not None:
            return self.body == expected.replay
        if expected.code is not None:
            return self.code == expected.code and dict(self.members).items() >= expected.members.items()
        return self.code is None and (self.status, self.version) == (expected.status, expected.version)


def told(method: str, outcome: Outcome) -> Told:
    """Status, code and body; a fault of our own (any other exception) is raised."""
    match outcome:
        case Order():
            return Told(SUCCESS[method], None, outcome.version, RENDER[method](outcome))
        case RecordedAnswer():
            return Told(outcome.status, None, outcome.etag, outcome.body)
        case PreconditionFailed():
            members: tuple[tuple[str, object], ...] = (("currentVersion", outcome.version),)
        case IllegalTransition():
            allowed = [str(status) for status in outcome.allowed]
            members = (("currentStatus", str(outcome.current)), ("allowed", allowed))
        case OrderingError() | Failure():
            members = ()
        case _:
            raise outcome
    return Told(STATUS_AND_TITLE[outcome.code][0], str(outcome.code), members=members)  # type: ignore[index]


def create(order_id: str, items: int, key: str | None = None) -> Write:
    """A create-order with generated items."""
    return Write("POST", json.dumps({"orderId": order_id, "numItems": items}), order_id, items, key=key)


def change(order_id: str, status: str, key: str | None = None, if_match: Iterable[int] | None = None) -> Write:
    """An update-order."""
    tags = None if if_match is None else ", ".join(f'"{version}"' for version in sorted(if_match)) or '"0"'
    body = json.dumps({"orderId": order_id, "status": status})
    return Write("PUT", body, order_id, status=status, key=key, if_match=tags)


class OneOrder:
    """All states one order ever had, from the writes that were stored; ``fits`` looks a state up that explains an
    answer."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self._model = Model()

    @property
    def version(self) -> int:
        """How many writes were stored."""
        order = self._model.orders.get(self.order_id)
        return order.version if order else 0

    def store(self, write: Write, after: Order) -> None:
        """The next version: the model must allow this write now, and the product must have stored what was asked."""
        unkeyed = attrs.evolve(write, key=None)
        expected = self._model.expected(unkeyed)
        version = self.version + 1
        assert (expected.code, expected.version) == (None, version), f"{write} was stored: {expected}"
        self._model.take(unkeyed, expected, RENDER[write.method](after))

    def fits(self, write: Write, answer: Told, version: int) -> bool:
        """Whether this is the answer to a write that changes nothing and finds the order at ``version``."""
        moment, order = Model(), self._model.orders.get(self.order_id)
        if order is not None and version:
            moment.orders[self.order_id] = attrs.evolve(order, history=order.history[:version])
        expected = moment.expected(attrs.evolve(write, key=None))
        if not answer.fits(expected) or (expected.code is None and expected.version != version):
            return False
        return expected.code is not None or self.shows(answer, version)

    def shows(self, answer: Told, version: int) -> bool:
        """Whether this success tells of the order as it was at ``version``."""
        data = json.loads(answer.body, parse_float=str)["data"]
        return 1 <= version <= self.version and bool(data == self._placed.shown(version))

    @property
    def _placed(self) -> Placed:
        return self._model.orders[self.order_id]


@attrs.frozen
class Call:
    """A write that was stored, answered, or both. ``began`` and ``ended`` are moments of one common count.

    ``version`` is the one it stored, or that its replayed answer shows; None if it changed nothing. ``answer`` is None
    if nobody heard it: then it may have been stored at any time after it began.
    """

    write: Write
    answer: Told | None
    began: int
    ended: float
    version: int | None
    replayed: bool = False


def require_serial(order: OneOrder, calls: Sequence[Call]) -> None:
    """Raise AssertionError unless these calls could have happened one after the other, each between its beginning and
    its end, with just these answers (linearizability).

    Stored writes stand at their version. Every other call gets the earliest state that explains its answer and is not
    older than what anybody had seen before it began; calls that can be explained at all can be explained so.
    """
    began = {call.version: call.began for call in calls if call.version is not None and not call.replayed}
    placed: list[tuple[float, int]] = []
    for call in sorted(calls, key=lambda one: one.began):
        seen = max((version for ended, version in placed if ended < call.began), default=0)
        if call.version is not None:
            assert call.answer is None or order.shows(call.answer, call.version), f"{call} is told of another state"
            assert call.replayed or seen < call.version, f"{call}: version {seen} had been seen before it began"
            at = call.version
        else:
            assert call.answer is not None
            fitting = (
                version
                for version in range(seen, order.version + 1)
                if began.get(version, -1) < call.ended and order.fits(call.write, call.answer, version)
            )
            found = next(fitting, None)
            assert found is not None, f"{call}: no state from version {seen} on explains this answer"
            at = found
        placed.append((call.ended, at))
