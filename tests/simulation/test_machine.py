"""The whole API below HTTP against a model of twenty lines: whatever is called in whatever order, they agree."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ordering.application.commands import Answer
from ordering.application.errors import (
    DuplicateOrder,
    KeyReused,
    OrderNotFound,
    PreconditionFailed,
    VersionNotReached,
)
from ordering.application.failures import BrokerUnavailable
from ordering.domain.errors import IllegalTransition
from ordering.domain.order import Order
from ordering.domain.status import TRANSITIONS, OrderStatus
from tests.simulation.places import PLACES
from tests.simulation.system import TOPIC, System, rendered
from tests.unit.application.runtime import outcome_of

T = TypeVar("T")

ORDER_IDS = st.sampled_from(["a", "b", "c", "d"])
KEYS = st.none() | st.sampled_from(["k", "l"])
IF_MATCH = st.none() | st.none() | st.frozensets(st.integers(1, 4))


class Model:
    """What the API promises, without any machinery: orders by id, first answers by key."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.answers: dict[str, tuple[str, bytes]] = {}

    def expected(
        self, method: str, order_id: str, wanted: str, key: str | None, if_match: frozenset[int] | None = None
    ) -> bytes | type[Exception] | None:
        """The bytes of a replay, the error, or None for a success that the system decides the details of."""
        known = self.answers.get(f"{method} {key}") if key else None
        if known is not None:
            return known[1] if known[0] == f"{order_id} {wanted}" else KeyReused
        order = self.orders.get(order_id)
        if method == "POST":
            return DuplicateOrder if order else None
        if order is None:
            return OrderNotFound
        if if_match is not None and order.version not in if_match:
            return PreconditionFailed
        if order.status == wanted or wanted in TRANSITIONS[order.status]:
            return None
        return IllegalTransition

    def record(self, method: str, key: str | None, wanted: str, order: Order) -> None:
        self.orders[order.order_id] = order
        if key is not None:
            self.answers[f"{method} {key}"] = (f"{order.order_id} {wanted}", rendered(order))


class WholeApi(RuleBasedStateMachine):
    """Commands, queries, outages and crashes in any order."""

    kind: ClassVar[str]

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.seed, self.model = seed, Model()
        self.folder = tempfile.TemporaryDirectory()
        self.place = PLACES[self.kind](Path(self.folder.name), TOPIC)
        self.loop = self.place.loop()
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _start(self) -> None:
        self.place.open()
        self.seed += 1
        self.system = System(self.place, self.seed)
        await self.system.ready()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.system.crash())
            self.loop.close()
            self.folder.cleanup()

    # ------------------------------------------------------------------ commands

    @rule(order_id=ORDER_IDS, items=st.integers(1, 2), key=KEYS)
    def place_order(self, order_id: str, items: int, key: str | None) -> None:
        """Create, replay, conflict."""
        expected = self.model.expected("POST", order_id, str(items), key)
        outcome = self.run(outcome_of(self.system.place_order(order_id, items, key)))
        self._compare("POST", key, str(items), expected, outcome, needs_broker=True)
        if expected is None and isinstance(outcome, Order):
            assert (outcome.version, outcome.status, len(outcome.lines)) == (1, OrderStatus.PENDING, items)

    @rule(order_id=ORDER_IDS, status=st.sampled_from(OrderStatus), key=KEYS, if_match=IF_MATCH)
    def change_status(
        self, order_id: str, status: OrderStatus, key: str | None, if_match: frozenset[int] | None
    ) -> None:
        """Step, same status, and every refusal in its order."""
        expected = self.model.expected("PUT", order_id, status, key, if_match)
        before = self.model.orders.get(order_id)
        outcome = self.run(outcome_of(self.system.change_status(order_id, status, key, if_match)))
        needs_broker = before is not None and before.status != status
        self._compare("PUT", key, status, expected, outcome, needs_broker=needs_broker)
        if expected is None and isinstance(outcome, Order) and before is not None:
            assert (outcome.status, outcome.version) == (status, before.version + needs_broker)
            assert (outcome.lines, outcome.total, outcome.customer_id) == (
                before.lines, before.total, before.customer_id,
            )  # fmt: skip

    @rule(order_id=ORDER_IDS, statuses=st.lists(st.sampled_from(OrderStatus), min_size=2, max_size=4))
    def race(self, order_id: str, statuses: list[OrderStatus]) -> None:
        """Many at once: the answers fit one order in which they could have come."""

        async def all_at_once() -> list[Any]:
            work = (outcome_of(self.system.change_status(order_id, status, None, None)) for status in statuses)
            return await asyncio.gather(*work)

        outcomes = self.run(all_at_once())
        changed = {outcome.version: outcome for outcome in outcomes if isinstance(outcome, Order)}
        order = self.model.orders.get(order_id)
        for version in sorted(changed):
            assert order is not None
            if version > order.version:
                assert version == order.version + 1
                assert changed[version].status in TRANSITIONS[order.status]
                self.model.orders[order_id] = order = changed[version]
        for outcome in outcomes:
            assert isinstance(outcome, Order | OrderNotFound | IllegalTransition | BrokerUnavailable)

    def _compare(
        self,
        method: str,
        key: str | None,
        wanted: str,
        expected: object,
        outcome: Answer | Exception,
        *,
        needs_broker: bool,
    ) -> None:
        if expected is None:
            if needs_broker and self.system.publisher.down and isinstance(outcome, BrokerUnavailable):
                return
            assert isinstance(outcome, Order), outcome
            self.model.record(method, key, wanted, outcome)
        elif isinstance(expected, bytes):
            assert not isinstance(outcome, Order | Exception), outcome
            assert outcome.body == expected
        else:
            assert type(outcome) is expected, outcome

    # ------------------------------------------------------------------ queries

    @precondition(lambda self: not self.system.publisher.down)
    @rule(order_id=ORDER_IDS)
    def read(self, order_id: str) -> None:
        """Read your own write: the version of the answer, then exactly that state."""
        order = self.model.orders.get(order_id)
        wanted = order.version if order else 1
        outcome = self.run(outcome_of(self.system.details(order_id, min_version=wanted, wait=10 if order else 0)))
        if order is None:
            assert isinstance(outcome, OrderNotFound)
        else:
            assert outcome.order == order
            too_much = self.run(outcome_of(self.system.details(order_id, min_version=order.version + 1)))
            assert isinstance(too_much, VersionNotReached)

    @precondition(lambda self: not self.system.publisher.down)
    @rule()
    def read_all(self) -> None:
        """Ids are complete, statistics count each order once."""

        async def everything() -> tuple[list[str], Any]:
            for order_id, order in self.model.orders.items():
                await self.system.details(order_id, min_version=order.version, wait=10)
            keys = [key async for page in await self.system.ids(TOPIC) for _, key in page]
            return keys, await self.system.stats(ids=10)

        keys, stats = self.run(everything())
        assert sorted(keys) == sorted(self.model.orders)
        assert stats.total == len(keys)
        assert dict(stats.by_status) == Counter(str(order.status) for order in self.model.orders.values())
        assert (stats.lag_events, stats.gaps, stats.late, stats.parked, stats.dead_letters) == (0, 0, 0, 0, 0)

    # ------------------------------------------------------------------ trouble

    @rule()
    def crash(self) -> None:
        """Everything acknowledged is still there in the next life."""
        self.run(self.system.crash())
        self.run(self._start())

    @precondition(lambda self: not self.system.publisher.down)
    @rule()
    def broker_goes(self) -> None:
        """New changes are refused as soon as the outage is known."""
        self.system.publisher.down = True

    @precondition(lambda self: self.system.publisher.down)
    @rule()
    def broker_comes_back(self) -> None:
        """The gate reopens by itself."""
        self.system.publisher.down = False
        self.run(self.system.ready())

    @invariant()
    def stored_is_what_was_acknowledged(self) -> None:
        """Version by version."""
        if hasattr(self, "model"):
            for order_id, order in self.model.orders.items():
                state = self.run(self.place.store.get(order_id))
                assert state is not None
                assert state.version == order.version


@pytest.mark.parametrize(("kind", "examples", "steps"), [("memory", 60, 30), ("sqlite", 6, 20)])
def test_the_api_agrees_with_its_model(kind: str, examples: int, steps: int) -> None:
    """The same machine on every set of adapters."""
    machine = type(f"WholeApiOn{kind.title()}", (WholeApi,), {"kind": kind})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps))
