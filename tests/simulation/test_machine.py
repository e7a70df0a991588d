"""The whole API below HTTP against the oracle: whatever is called in whatever order, they agree."""

import asyncio
import json
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
from ordering.application.errors import OrderNotFound, VersionNotReached
from ordering.application.failures import BrokerUnavailable
from ordering.domain.errors import IllegalTransition
from ordering.domain.order import Order
from ordering.domain.status import OrderStatus
from ordering.entrypoints.http.schemas import details
from tests.http.api_model import Model, Write
from tests.simulation.oracle import change, create, told
from tests.simulation.places import PLACES
from tests.simulation.system import TOPIC, System
from tests.unit.application.runtime import outcome_of

T = TypeVar("T")

ORDER_IDS = st.sampled_from(["a", "b", "c", "d"])
KEYS = st.none() | st.sampled_from(["k", "l"])
IF_MATCH = st.none() | st.none() | st.frozensets(st.integers(1, 4))


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
        outcome = self.run(outcome_of(self.system.place_order(order_id, items, key)))
        self._compare(create(order_id, items, key), outcome)

    @rule(order_id=ORDER_IDS, status=st.sampled_from(OrderStatus), key=KEYS, if_match=IF_MATCH)
    def change_status(
        self, order_id: str, status: OrderStatus, key: str | None, if_match: frozenset[int] | None
    ) -> None:
        """Step, same status, and every refusal in its order."""
        outcome = self.run(outcome_of(self.system.change_status(order_id, status, key, if_match)))
        self._compare(change(order_id, status, key, if_match), outcome)

    @rule(order_id=ORDER_IDS, statuses=st.lists(st.sampled_from(OrderStatus), min_size=2, max_size=4))
    def race(self, order_id: str, statuses: list[OrderStatus]) -> None:
        """Many at once: the answers fit one order in which they could have come."""

        async def all_at_once() -> list[Any]:
            work = (outcome_of(self.system.change_status(order_id, status, None, None)) for status in statuses)
            return await asyncio.gather(*work)

        outcomes = self.run(all_at_once())
        before = self.model.orders[order_id].version if order_id in self.model.orders else 0
        changed = {outcome.version: outcome for outcome in outcomes if isinstance(outcome, Order)}
        for version in sorted(changed):
            if version > before:
                self._compare(change(order_id, changed[version].status), changed[version])
        for outcome in outcomes:
            assert isinstance(outcome, Order | OrderNotFound | IllegalTransition | BrokerUnavailable)

    def _compare(self, write: Write, outcome: Answer | Exception) -> None:
        expected = self.model.expected(write)
        if self.system.publisher.down and isinstance(outcome, BrokerUnavailable):
            order = self.model.orders.get(write.order_id)
            assert expected.code is None, outcome
            assert expected.version == (order.version if order else 0) + 1, "only new changes wait for the broker"
            return
        answer = told(write.method, outcome)
        assert answer.fits(expected), f"{write} was answered {answer}, not {expected}"
        if expected.code is None and expected.replay is None:
            self.model.take(write, expected, answer.body)

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
            data = json.loads(details(outcome.order, outcome.shipping_cost), parse_float=str)["data"]
            assert data == order.detailed(order.version)
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
        assert dict(stats.by_status) == Counter(order.status for order in self.model.orders.values())
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
