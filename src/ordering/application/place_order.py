"""Use case: place an order."""

from ordering.application.commands import Answer, ChangeRecorder, Context, IdempotencyKeys, same_body
from ordering.application.errors import DuplicateOrder
from ordering.application.group_commit import GroupCommit
from ordering.application.messages import AnswerTaken, Conflict
from ordering.application.outage_gate import OutageGate
from ordering.application.ports import OrderRepository
from ordering.domain.generation import Randomness, draft_of
from ordering.domain.inputs import PlaceOrderInput
from ordering.domain.order import Order


class PlaceOrder:
    """Decide purely, pass the gate, make order, event and answer durable in one transaction."""

    def __init__(
        self,
        repository: OrderRepository,
        commit: GroupCommit,
        gate: OutageGate,
        keys: IdempotencyKeys,
        recorder: ChangeRecorder,
        random: Randomness,
    ) -> None:
        self._repository, self._commit, self._gate = repository, commit, gate
        self._keys, self._recorder, self._random = keys, recorder, random

    async def __call__(self, wanted: PlaceOrderInput, context: Context) -> Answer:
        """The placed order, or the first answer to the same key.

        Raises DuplicateOrder, KeyReused, KeyInFlight, a NotStored error or OutcomeUnknown.
        """
        deadline = self._commit.deadline()
        with self._keys.held(context.once):
            replay = await self._keys.replay(context.once)
            if replay is not None:
                return replay
            order, event = Order.place(draft_of(wanted, self._random), self._recorder.stamp())
            if self._gate.closed is not None:
                # A closed gate refuses new changes only: an id that is taken is answered as always.
                if await self._repository.get(order.order_id) is not None:
                    # Taken by this very request, perhaps: another instance stored it since the key was looked up.
                    replay = await self._keys.replay(context.once)
                    if replay is not None:
                        return replay
                    raise DuplicateOrder(order.order_id)
                self._gate.check()
            outcome = await self._commit.submit(self._recorder.write(order, event, context), deadline)
            if isinstance(outcome, Conflict):
                raise DuplicateOrder(order.order_id)
            if isinstance(outcome, AnswerTaken):
                return same_body(context.once, outcome.answer)
            return order
