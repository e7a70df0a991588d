"""The promises as clients see them: each answer when it is given, and all answers together at rest."""

from collections.abc import Collection, Iterable, Sequence
from math import inf

from ordering.application.commands import Answer
from ordering.application.errors import KeyInFlight, KeyReused, OrderNotFound, VersionNotReached
from ordering.application.failures import NotStored, OutcomeUnknown, StoreUnavailable
from ordering.application.messages import NewEvent, RecordedAnswer
from ordering.application.queries import Details
from ordering.domain.order import Order
from tests.simulation.attempts import Attempt, Look
from tests.simulation.invariants import Watch
from tests.simulation.nodes import CODEC
from tests.simulation.oracle import Call, OneOrder, require_serial, told
from tests.simulation.sim_store import REFUSED

# ---------------------------------------------------------------------------------------------- what clients hear


def check_answer(attempt: Attempt, answer: Answer | Exception, watch: Watch) -> None:
    """When it is given: an order is acknowledged only if it is stored."""
    if isinstance(answer, StoreUnavailable) and "refused" in answer.reason:
        assert attempt.write.order_id.startswith(REFUSED), f"I2: {attempt} is told of somebody else's fault"
    if isinstance(answer, Order):
        events = watch.events.get(answer.order_id, [])
        assert answer.version <= len(events), f"I1: {attempt} is acknowledged, and not stored"


def check_look(look: Look, watch: Watch) -> None:
    """When it is given: at least what was asked for, stored, and never less than anybody had been shown."""
    answer, events = look.answer, watch.events.get(look.order_id, [])
    seen = 0 if watch.is_partial else look.seen
    match answer:
        case Details():
            version = answer.order.version
            assert version >= look.min_version, f"{look} shows less than was asked for"
            assert version <= len(events), f"{look} shows what is not stored"
            assert answer.order == CODEC.decode(events[version - 1].encoded).order, f"{look} was never stored so"
            assert version >= seen, f"{look} goes back behind version {seen}"
        case VersionNotReached():
            assert seen <= answer.current < look.min_version, f"{look} had been shown {seen}"
        case OrderNotFound():
            assert seen == 0, f"{look} had been shown {seen}"


def check_list(keys: Sequence[str], known: Collection[str]) -> None:
    """When it is given: complete up to the end of the log when it was asked for, and each order once."""
    assert len(set(keys)) == len(keys), f"I6: a list names an order twice: {keys}"
    assert set(known) <= set(keys), f"I6: a list lacks {set(known) - set(keys)}"


# ---------------------------------------------------------------------------------------------- at rest


def check_answers(attempts: Iterable[Attempt], watch: Watch) -> None:
    """I1, I2, I11 and I13, for all orders and all keys."""
    stored_as = {
        dict(event.headers)["x-request-id"].decode(): event for events in watch.events.values() for event in events
    }
    attempts = list(attempts)
    for attempt in attempts:
        event = stored_as.get(attempt.request_id)
        answer = attempt.answer
        if isinstance(answer, Exception) and not isinstance(answer, OutcomeUnknown):
            assert event is None, f"I2: {attempt} was refused, and stored as version {event.version}"
        elif isinstance(answer, Order) and event is not None:
            assert answer.version == event.version, f"I1: {attempt} is version {event.version}"
    by_order: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_order.setdefault(attempt.write.order_id, []).append(attempt)
    for order_id, of_order in by_order.items():
        if order_id:
            _check_order(order_id, of_order, stored_as, watch)
    _check_keys(attempts)


def _check_order(order_id: str, attempts: list[Attempt], stored_as: dict[str, NewEvent], watch: Watch) -> None:
    order = OneOrder(order_id)
    by_version = {e.version: a for a in attempts if (e := stored_as.get(a.request_id)) is not None}
    events = watch.events.get(order_id, [])
    assert sorted(by_version) == list(range(1, len(events) + 1)), f"I3: {order_id} has {sorted(by_version)}"
    for event in events:
        order.store(by_version[event.version].write, CODEC.decode(event.encoded).order)
    calls = [call for a in attempts if (call := _call(a, stored_as.get(a.request_id))) is not None]
    require_serial(order, calls)


def _call(attempt: Attempt, event: NewEvent | None) -> Call | None:
    """None: it says nothing about the order's state."""
    write, began, ended, answer = attempt.write, attempt.began, attempt.ended, attempt.answer
    if isinstance(answer, RecordedAnswer):
        return Call(write, told(write.method, answer), began, ended, answer.etag, replayed=True)
    if event is not None:
        is_heard = isinstance(answer, Order)
        heard = told(write.method, answer) if is_heard else None  # type: ignore[arg-type]
        return Call(write, heard, began, ended if is_heard else inf, event.version)
    silent = answer is None or isinstance(answer, NotStored | OutcomeUnknown | KeyReused | KeyInFlight)
    return None if silent else Call(write, told(write.method, answer), began, ended, None)  # type: ignore[arg-type]


def _check_keys(attempts: list[Attempt]) -> None:
    """One first answer per key, the same bytes ever after, to the same body; and no other answer once it was heard."""
    by_key: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in attempts:
        if attempt.write.key is not None:
            by_key.setdefault((attempt.write.method, attempt.write.key), []).append(attempt)
    for key, of_key in by_key.items():
        firsts = [a for a in of_key if isinstance(a.answer, Order)]
        heard = {(told(a.write.method, a.answer).body, a.write.body) for a in of_key if _is_success(a)}  # type: ignore[arg-type]
        assert len(firsts) <= 1, f"I11: {key} was answered for the first time {len(firsts)} times"
        assert len(heard) <= 1, f"I11: {key} has several answers: {heard}"
        since = min((a.ended for a in of_key if _is_success(a)), default=inf)
        for attempt in of_key:
            if attempt.began > since and not _is_success(attempt):
                fine = attempt.answer is None or isinstance(attempt.answer, NotStored | KeyInFlight | OutcomeUnknown)
                same = attempt.write.body == next(iter(heard))[1]
                assert fine or (isinstance(attempt.answer, KeyReused) and not same), f"I11: {attempt}: {key} was known"


def _is_success(attempt: Attempt) -> bool:
    return isinstance(attempt.answer, Order | RecordedAnswer)
