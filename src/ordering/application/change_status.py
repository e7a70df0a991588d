"""Use case: change an order's status."""

from typing import Final

import attrs

from ordering.application.commands import Answer, ChangeRecorder, Context, IdempotencyKeys, OrderCodec, same_body
from ordering.application.errors import Contended, OrderNotFound, PreconditionFailed
from ordering.application.group_commit import GroupCommit
from ordering.application.messages import AnswerTaken, Conflict, Write
from ordering.application.outage_gate import OutageGate
from ordering.application.ports import OrderRepository
from ordering.domain.inputs import ChangeStatusInput
from ordering.domain.order import Order

ATTEMPTS: Final = 5
"""How often a command that lost a race is decided again on the new state."""


class ChangeStatus:
    """Load, decide purely, store at the version decided on; a lost race is decided again."""

    def __init__(
        self,
        repository: OrderRepository,
        commit: GroupCommit,
        gate: OutageGate,
        keys: IdempotencyKeys,
        recorder: ChangeRecorder,
        codec: OrderCodec,
    ) -> None:
        self._repository, self._commit, self._gate = repository, commit, gate
        self._keys, self._recorder, self._codec = keys, recorder, codec

    async def __call__(
        self, wanted: ChangeStatusInput, context: Context, *, if_match: frozenset[int] | None = None
    ) -> Answer:
        """The order after the change, or the first answer to the same key.

        ``if_match`` holds the versions the client accepts, None any. Checked in this order: replay of the key, does
        the order exist, ``if_match``, same status (an answer without an event), the life cycle. Raises OrderNotFound,
        PreconditionFailed, IllegalTransition, KeyReused, KeyInFlight, a NotStored error or OutcomeUnknown.
        """
        deadline = self._commit.deadline()
        with self._keys.held(context.once):
            for _ in range(ATTEMPTS):
                found = await self._load(wanted.order_id)
                # Asked for after the state: another instance may store this very request meanwhile, and its
                # change must not be judged as somebody else's.
                replay = await self._keys.replay(context.once)
                if replay is not None:
                    return replay
                if found is None:
                    raise OrderNotFound(wanted.order_id)
                if if_match is not None and found.version not in if_match:
                    raise PreconditionFailed(found.order_id, found.version)
                order, write = self._decide(found, wanted, context)
                if write is None:
                    return order
                outcome = await self._commit.submit(write, deadline)
                if isinstance(outcome, AnswerTaken):
                    return same_body(context.once, outcome.answer)
                if not isinstance(outcome, Conflict):
                    return order
            raise Contended(wanted.order_id)

    async def _load(self, order_id: str) -> Order | None:
        stored = await self._repository.get(order_id)
        if stored is None:
            return None
        order = self._codec.order(stored.encoded)
        return order if order.version == stored.version else attrs.evolve(order, version=stored.version)

    def _decide(self, order: Order, wanted: ChangeStatusInput, context: Context) -> tuple[Order, Write | None]:
        if order.status == wanted.status:
            # Nothing changes, so nothing waits for delivery: past the gate, and stored only for the key's sake.
            once = context.once
            return order, None if once is None else self._recorder.unchanged(order, once)
        changed, event = order.change_status(wanted.status, self._recorder.stamp())
        self._gate.check()
        return changed, self._recorder.write(changed, event, context)
