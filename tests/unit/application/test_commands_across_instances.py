"""One request that two instances have at the same moment: whatever the second one reads when, both answer the same."""

from collections.abc import Awaitable, Callable

import pytest

from ordering.adapters.memory.store import MemoryOrderStore
from ordering.application.commands import Answer
from ordering.application.errors import DuplicateOrder
from ordering.application.messages import RecordedAnswer, StoredState
from tests.unit.application.command_bench import Instance, rendered
from tests.unit.application.runtime import VirtualRuntime, outcome_of


class InterruptedStore(MemoryOrderStore):
    """The memory store; something else happens right after the first call of one of the reads."""

    def __init__(self) -> None:
        super().__init__()
        self.after = ""
        self.happens: Callable[[], Awaitable[object]] | None = None

    async def get(self, aggregate_id: str) -> StoredState | None:
        found = await super().get(aggregate_id)
        await self._interrupt("get")
        return found

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        found = await super().answer_to(key)
        await self._interrupt("answer_to")
        return found

    async def _interrupt(self, call: str) -> None:
        happens = self.happens
        if happens is not None and call == self.after:
            self.happens = None
            await happens()


@pytest.fixture
def store() -> InterruptedStore:
    """An empty order store."""
    return InterruptedStore()


@pytest.fixture
async def pair(store: InterruptedStore, runtime: VirtualRuntime) -> tuple[Instance, Instance]:
    """Two instances on it."""
    return Instance(store, runtime, seed=1), Instance(store, runtime, seed=2)


def body_of(answer: Answer | BaseException) -> bytes:
    """What the client gets."""
    assert not isinstance(answer, BaseException), answer
    return answer.body if isinstance(answer, RecordedAnswer) else rendered(answer)


@pytest.mark.parametrize("after", ["get", "answer_to"])
@pytest.mark.parametrize("how", ["by If-Match", "by the life cycle"])
async def test_a_change_that_another_instance_has_just_made_is_not_refused(
    pair: tuple[Instance, Instance], store: InterruptedStore, after: str, how: str
) -> None:
    """The other instance stores the same request, and by the life cycle's case a further step as well, between two
    reads of this one: the state forbids the change by then, and the key's answer says that it was made."""
    one, other = pair
    await one.place("o")
    if_match = frozenset({1}) if how == "by If-Match" else None
    first: list[Answer] = []

    async def meanwhile() -> None:
        first.append(await other.change("o", "confirmed", key="k", if_match=if_match))
        if how == "by the life cycle":
            await other.change("o", "shipped")

    store.after, store.happens = after, meanwhile
    second = await outcome_of(one.change("o", "confirmed", key="k", if_match=if_match))

    assert body_of(second) == body_of(first[0])


async def test_behind_a_closed_gate_an_order_that_another_instance_has_just_placed_is_answered(
    pair: tuple[Instance, Instance], store: InterruptedStore
) -> None:
    """The same request again is its first answer; only another request for this id is a conflict."""
    one, other = pair
    first: list[Answer] = []

    async def meanwhile() -> None:
        first.append(await other.place("o", key="k"))

    one.gate.outage("no broker")
    store.after, store.happens = "answer_to", meanwhile
    second = await outcome_of(one.place("o", key="k"))

    assert body_of(second) == body_of(first[0])
    assert isinstance(await outcome_of(one.place("o", key="another")), DuplicateOrder)
