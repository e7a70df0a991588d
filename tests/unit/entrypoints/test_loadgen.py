"""The parts of `ordering loadgen` that need no network: its figures, its traffic, its refusals."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.generation import draft_of
from ordering.domain.inputs import read_change_status, read_place_order
from ordering.domain.status import OrderStatus
from ordering.entrypoints.cli import loadgen as command
from ordering.entrypoints.cli import main
from ordering.entrypoints.http.strict_json import decode
from ordering.entrypoints.loadgen import traffic as made
from ordering.entrypoints.loadgen.driver import Plan
from ordering.entrypoints.loadgen.histogram import Histogram
from ordering.entrypoints.loadgen.steps import generator_limits, split
from ordering.entrypoints.loadgen.traffic import Address, Kind, Request, Traffic
from ordering.entrypoints.loadgen.work import Job, Report

HERE = Address("127.0.0.1", 8000)
SHARES = [0.5, 0.9, 0.99, 0.999, 1.0]
latencies = st.lists(st.integers(0, 10**8) | st.integers(0, 300), min_size=1, max_size=300)


def histogram(values: list[int]) -> Histogram:
    counted = Histogram()
    for value in values:
        counted.record(value)
    return counted


# ---------------------------------------------------------------------------------------------- figures


@given(latencies)
def test_percentiles_are_those_of_the_sorted_list_to_one_percent(values: list[int]) -> None:
    """Never too small, at most 1/128 too large, and the largest is exact."""
    exact = [sorted(values)[-(-len(values) * round(share * 1000) // 1000) - 1] for share in SHARES]
    found = histogram(values).percentiles(SHARES)
    for told, true in zip(found, exact, strict=True):
        assert true <= told <= true * (1 + 1 / 128)
    assert found[-1] == max(values)


@given(latencies, latencies)
def test_two_histograms_add_up_to_that_of_all(first: list[int], second: list[int]) -> None:
    """As those of several processes do."""
    together = histogram(first)
    together.add(histogram(second))
    assert together.percentiles(SHARES) == histogram(first + second).percentiles(SHARES)
    assert together.count == len(first) + len(second)


@given(latencies, st.integers(0, 10**8))
def test_what_is_counted_as_above_a_limit_is_above_it(values: list[int], limit: int) -> None:
    """At most those within a bucket of it are missed."""
    above = histogram(values).above(limit)
    assert sum(value > limit * (1 + 1 / 64) + 1 for value in values) <= above <= sum(value > limit for value in values)


def test_nothing_has_no_latency() -> None:
    """And a clock that went back counts as none."""
    assert Histogram().percentiles(SHARES) == [0] * len(SHARES)
    assert histogram([-5]).percentiles([1.0]) == [0]


def report(cpu_share: float = 0.5, late: int = 0, sent: int = 1_000) -> Report:
    lateness = histogram([10_000] * late + [10] * (sent - late))
    return Report(
        sent, 1.0, cpu_share, {kind: Histogram() for kind in Kind}, Histogram(), Counter(), lateness, 0, 0, 0, []
    )


@pytest.mark.parametrize(
    ("given_report", "limit"),
    [
        (report(), ""),
        (report(cpu_share=0.95), "CPU 95%"),
        (report(late=10), ""),
        (report(late=11), "1.1% sent over 5 ms late"),
        (report(sent=0), ""),
    ],
)
def test_the_generator_says_when_it_was_the_limit(given_report: Report, limit: str) -> None:
    """By its own CPU, or because it could not send in time."""
    assert generator_limits(given_report) == limit


def test_a_step_is_split_into_parts_that_add_up_to_it() -> None:
    """With ids and randomness of their own."""
    job = Job(Plan(10, 5.0, count=101, rate=150.0), {Kind.CREATE: 1}, "run", 7, HERE, HERE, 200)
    parts = split(job, 3)
    assert sum(part.plan.connections for part in parts) == 10
    assert sum(part.plan.count or 0 for part in parts) == 101
    assert sum(part.plan.rate or 0 for part in parts) == pytest.approx(150)
    assert sum(part.verified for part in parts) == 200
    assert len({part.run for part in parts}) == len({part.seed for part in parts}) == 3


# ---------------------------------------------------------------------------------------------- traffic


def body_of(request: Request) -> bytes:
    head, _, body = request.data.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    return body


def traffic(**mix: int) -> Traffic:
    return Traffic("T", 5, {Kind(name): weight for name, weight in mix.items()}, HERE, HERE)


def test_orders_are_valid_and_their_totals_exact() -> None:
    """By the domain's own rules: what is compared with the details later."""
    source = traffic(create=1)
    seen = set()
    for _ in range(300):
        request = source.next()
        wanted = read_place_order(decode(body_of(request)), default_currency="EUR")
        draft = draft_of(wanted, Random(1))
        assert (draft.order_id, draft.customer_id) == (request.order.order_id, request.order.customer_id)
        assert sum((line.price * line.quantity for line in draft.lines), Decimal(0)) == request.order.total
        assert len(draft.lines) == request.order.lines
        seen.add(draft.order_id)
    assert len(seen) == 300


def test_changes_are_allowed_steps_one_at_a_time() -> None:
    """Of orders that were acknowledged; an order whose change was not answered is left alone."""
    source = traffic(create=1, update=6)
    under_way: list[Request] = []
    dice = Random(3)
    reached: Counter[str] = Counter()
    for _ in range(3_000):
        request = source.next()
        if request.kind is Kind.UPDATE:
            change = read_change_status(decode(body_of(request)))
            assert change.status is request.order.next_status
            assert all(other.order is not request.order for other in under_way)
            reached[change.status] += 1
        under_way.append(request)
        if len(under_way) > 8:
            answered = under_way.pop(dice.randrange(8))
            if dice.random() < 0.02:
                source.lost(answered)
            else:
                source.answered(answered, 201 if answered.kind is Kind.CREATE else 200)
    assert set(reached) == {"confirmed", "shipped", "delivered"}
    assert not source.contradictions


def test_answers_that_cannot_be_right_are_kept() -> None:
    """A new order that exists already, a change of a known one that is refused."""
    source = traffic(create=1, update=1)
    first = source.next()
    source.answered(first, 409)
    assert source.contradictions == [f"a new order {first.order.order_id} was answered 409"]
    source.answered(source.next(), 201)
    while (change := source.next()).kind is not Kind.UPDATE:
        pass
    source.answered(change, 404)
    assert len(source.contradictions) == 2
    assert not change.order.certain


def test_a_refusal_changes_nothing_and_is_remembered() -> None:
    """Its id is asked for afterwards, and must not be there."""
    source = traffic(create=1)
    refused = source.next()
    source.answered(refused, 503)
    assert source.refused == [refused.order.order_id]
    assert not source.written
    assert not source.contradictions


def test_a_long_run_remembers_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bounded memory, early orders as likely as late ones."""
    monkeypatch.setattr(made, "KEPT", 100)
    source = traffic(create=1)
    for _ in range(5_000):
        source.answered(source.next(), 201)
    kept = sorted(int(order.order_id.partition("-")[2]) for order in source.written)
    assert len(kept) == 100
    assert source.written_count == 5_000
    assert 1_500 < sum(kept) / 100 < 3_500


def test_an_order_moves_through_its_life() -> None:
    """Up to its end."""
    order = made.Written("A", "C", Decimal(1), 1)
    steps = []
    while (following := order.next_status) is not None:
        steps.append(following)
        order.status = following
    assert steps == [OrderStatus.CONFIRMED, OrderStatus.SHIPPED, OrderStatus.DELIVERED]


# ---------------------------------------------------------------------------------------------- refusals


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORDERING_CONFIG", "API_HOST", "API_PORT", "CART_API_PORT", "ORDER_API_PORT", "ORDERING_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cart", "http://10.0.0.1:8000"], "10.0.0.1 is another machine"),
        (["--order", "http://example.org"], "example.org is another machine"),
        (["--cart", "http://127.0.0.1.example.org:8000"], "another machine"),
        (["--cart", "https://127.0.0.1:8000"], "--cart takes http://host:port"),
        (["--cart", "http://127.0.0.1:8000/path"], "--cart takes http://host:port"),
        (["--cart", "http://127.0.0.1:99999"], "--cart takes http://host:port"),
        (["--cart", "127.0.0.1:8000"], "--cart takes http://host:port"),
        (["--connections", "1,x"], "--connections takes numbers"),
        (["--connections", "0"], "--connections takes numbers"),
        (["--connections", "20000"], "up to 10,000"),
        (["--rate", "-1"], "--rate takes numbers"),
        (["--rate", "nan"], "--rate takes numbers"),
        (["--rate", "5", "--connections", "1,2"], "one number of connections"),
        (["--mix", "create"], "--mix takes"),
        (["--mix", "create=1,create=2"], "--mix takes"),
        (["--mix", "delete=1"], "--mix takes"),
        (["--mix", "create=0"], "weight over 0"),
        (["--duration", "0"], "duration"),
        (["--processes", "0"], "processes"),
        (["--count", "0"], "count"),
    ],
)
def test_a_wrong_call_sends_nothing_and_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A test without the `process` mark may not connect anywhere, so nothing was sent."""
    assert main(["loadgen", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_host_of_the_settings_on_another_machine_is_refused_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And 0.0.0.0, which services bind to, means this one."""
    monkeypatch.setenv("API_HOST", "192.0.2.1")
    assert main(["loadgen"]) == 2
    assert "192.0.2.1 is another machine" in capsys.readouterr().err
    assert command._is_here("::1")
    assert command._is_here("127.8.8.8")
    assert command._is_here("localhost")
    assert not command._is_here("localhost.example.org")


def test_a_row_tells_everything_a_program_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, with exact numbers."""
    row = command._exact(Plan(4, 1.0), report(cpu_share=0.25))
    again = json.loads(json.dumps(row))
    assert again["connections"] == 4
    assert again["generator CPU"] == 0.25
    assert again["problems"] == []
