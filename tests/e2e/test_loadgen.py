"""`ordering loadgen` against the real services, and against ones that lose, lie, stall and hang."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ordering.entrypoints.cli import main
from tests.e2e.loadgen_server import Order, StandIn, serving
from tests.e2e.running import PATIENCE, System, command, environment, running

pytestmark = pytest.mark.process

HISTOGRAM = 1.01
"""Latencies are told up to so much too long, never too short."""


def loadgen(capsys: pytest.CaptureFixture[str], url: str, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the only step's row, and what went to stderr. Without a duration it is the count that ends it."""
    endless = [] if "--duration" in options else ["--duration", "600", "--timeout", "60"]
    status = main(["loadgen", "--cart", url, "--order", url, "--output", "json", *endless, *options])
    printed = capsys.readouterr()
    (row,) = [json.loads(line) for line in printed.out.splitlines()]
    return status, row, printed.err


# ---------------------------------------------------------------------------------------------- the real services


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Both services."""
    with running(tmp_path_factory.mktemp("loadgen") / "data", ORDERING_MODE="embedded") as system:
        yield system


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--connections", "4"],
        ["--connections", "8", "--mix", "create=40,update=40,read=20"],
        ["--connections", "4", "--processes", "2"],
        ["--rate", "200", "--mix", "create=50,update=30,read=20"],
    ],
    ids=["closed", "mixed", "processes", "open"],
)
def test_what_the_services_acknowledge_is_sent_counted_and_found(options: list[str], system: System) -> None:
    """Every request answered as it should be, and every order of the sample verified."""
    urls = ["--cart", system.cart, "--order", system.order, "--output", "json"]
    env = environment(system.data, **system.settings)
    ended = command("loadgen", *urls, "--count", "120", "--duration", "60", "--timeout", "60", *options, env=env)
    assert ended.returncode == 0, ended.stderr
    row = json.loads(ended.stdout)
    assert set(row["answers"]) <= {"create 201", "update 200", "read 200"}
    assert sum(row["answers"].values()) == row["sent"] == 120
    assert row["verified"] == row["written"] == row["answers"]["create 201"] > 0
    assert row["problems"] == []
    assert 0 < row["p50 ms"] <= row["p90 ms"] <= row["p99 ms"] <= row["p99.9 ms"] <= row["max ms"]


@pytest.mark.slow
def test_a_table_has_a_line_for_each_step(system: System) -> None:
    """And one for the verification."""
    urls = ["--cart", system.cart, "--order", system.order]
    env = environment(system.data, **system.settings)
    ended = command("loadgen", *urls, "--count", "30", "--duration", "60", "--connections", "1,2,4", env=env)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["1 connections", "2 connections", "4 connections"]
    assert lines[4] == "verified 90 of 90 orders: all as told"


# ---------------------------------------------------------------------------------------------- wrong services


def changed(**fields: object) -> StandIn:
    return StandIn(spoil=lambda order: {**order, **fields})


def other_total(order: Order) -> Order:
    return {**order, "totalAmount": round(order["totalAmount"] + 0.01, 2)}


@pytest.mark.parametrize(
    ("stand_in", "problem"),
    [
        (StandIn(spoil=lambda _: None), "acknowledged at version 1, and its details are a 404"),
        (StandIn(spoil=other_total), "totalAmount is"),
        (changed(status="shipped"), "status is shipped, written was pending"),
        (changed(version=2), "version is"),
        (changed(customerId="CUST-1"), "customerId is CUST-1"),
        (changed(items=[]), "items is 0"),
        (changed(currency="EUR"), "currency is EUR"),
        (changed(items=7), "its details are not understood"),
        (StandIn(refuse=lambda number: number % 3 == 0, stored=True), "refused with a 503, and its details are a 200"),
    ],
    ids=["lost", "total", "status", "version", "customer", "items", "currency", "nonsense", "stored refusals"],
)
def test_an_order_that_is_not_as_it_was_acknowledged_ends_with_1(
    stand_in: StandIn, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each problem is a line with the order's id."""
    with serving(stand_in):
        status, row, errors = loadgen(capsys, stand_in.url, "--connections", "2", "--count", "12")
    assert status == 1
    assert problem in row["problems"][0]
    assert row["problems"][0] in errors


def test_honest_refusals_are_verified_and_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """Every refused order is asked for, after those that were written."""
    stand_in = StandIn(refuse=lambda number: number % 3 == 0)
    with serving(stand_in):
        status, row, _ = loadgen(capsys, stand_in.url, "--connections", "2", "--count", "12")
    assert status == 0
    assert row["answers"] == {"create 201": 8, "create 503": 4}
    assert (row["verified"], row["refused verified"]) == (8, 4)
    assert set(stand_in.asked[:8]) == set(stand_in.orders)


def test_fast_refusals_do_not_make_the_rest_look_fast(capsys: pytest.CaptureFixture[str]) -> None:
    """Latencies and the rate are those of what succeeded; refusals have their own."""
    stand_in = StandIn(refuse=lambda number: number % 2 == 0, delay=lambda number: 0.2 * (number % 2))
    with serving(stand_in):
        _, row, _ = loadgen(capsys, stand_in.url, "--connections", "1", "--count", "20")
    assert row["by kind"]["create"]["answers"] == row["refusals"]["answers"] == 10
    assert row["p50 ms"] >= 200
    # One after the other: ten that succeeded took 200 ms each at least, so this is what is left for the refusals.
    left = row["seconds"] * 1_000 - 10 * 200
    assert 0 < 5 * row["refusals"]["p50 ms"] <= left * HISTOGRAM
    assert row["per second"] == pytest.approx(10 / row["seconds"])


def test_verification_is_left_out_only_when_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """And then it is said."""
    with serving(StandIn(spoil=lambda _: None)) as stand_in:
        assert main(["loadgen", "--cart", stand_in.url, "--order", stand_in.url, "--count", "5", "--verify", "0"]) == 0
    assert "not verified: 20 orders" in capsys.readouterr().out
    assert not stand_in.asked


def test_a_stall_is_told_by_every_request_it_held_up(capsys: pytest.CaptureFixture[str]) -> None:
    """One answer takes half a second while 100 requests a second are meant to be sent over one connection: half of
    the first hundred are late. Counted from when they were really sent, only one would be."""
    with serving(StandIn(delay=lambda number: 0.5 if number == 10 else 0.0)) as stand_in:
        options = ["--rate", "100", "--connections", "1", "--count", "100", "--verify", "0"]
        status, row, _ = loadgen(capsys, stand_in.url, *options)
    assert status == 0
    assert row["answers"] == {"create 201": 100}
    assert row["max ms"] >= 500
    assert row["p90 ms"] >= 300


def test_a_closed_loop_counts_each_answer_from_its_own_request(capsys: pytest.CaptureFixture[str]) -> None:
    """The same stall is one slow answer there."""
    with serving(StandIn(delay=lambda number: 0.5 if number == 10 else 0.0)) as stand_in:
        _, row, _ = loadgen(capsys, stand_in.url, "--connections", "1", "--count", "300", "--verify", "0")
    assert row["max ms"] >= 500
    # One after the other: a tenth of them, 30, took as long at least as this, and all of them no longer than the run.
    assert 30 * row["p90 ms"] <= row["seconds"] * 1_000 * HISTOGRAM


@pytest.mark.parametrize("options", [["--connections", "3"], ["--rate", "20", "--connections", "2"]])
def test_it_ends_by_itself_when_nobody_answers(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One time-out after the duration at the latest, with exit status 1, and says what happened."""
    with serving(StandIn(delay=lambda _: 3_600.0)) as stand_in:
        began = time.monotonic()
        status, row, errors = loadgen(capsys, stand_in.url, "--duration", "1.5", "--timeout", "0.5", *options)
        took = time.monotonic() - began
    assert status == 1
    assert "nothing was answered" in errors
    assert row["answers"]["create no answer in time"] >= 2
    assert took < PATIENCE


def test_a_connection_that_is_hung_up_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    """What was under way is lost and counted; the rest goes on."""
    with serving(StandIn(hangs_up=lambda number: number % 10 == 0)) as stand_in:
        status, row, _ = loadgen(capsys, stand_in.url, "--connections", "2", "--count", "60")
    assert status == 0
    assert row["answers"] == {"create 201": 54, "create connection closed": 6}


def test_a_service_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """In one process and in several."""
    for processes in ("1", "2"):
        arguments = ["--cart", "http://127.0.0.1:1", "--connections", "2", "--processes", processes]
        assert main(["loadgen", *arguments]) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("ordering: ")
        assert "cannot be connected to" in printed.err or "could not begin" in printed.err
        assert printed.err.count("\n") == 1


@pytest.mark.parametrize("options", [["--verify", "5"], ["--verify", "0", "--mix", "create=1,read=1"]])
def test_an_order_service_that_is_not_there_is_named_before_anything_is_sent(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it is to be loaded, or only to be asked for what was kept."""
    with socket.create_server(("127.0.0.1", 0)) as cart:
        url = f"http://127.0.0.1:{cart.getsockname()[1]}"
        arguments = ["--cart", url, "--order", "http://127.0.0.1:1", "--count", "5", *options]
        assert main(["loadgen", "--connections", "1", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.err == "ordering: http://127.0.0.1:1 cannot be connected to: connection refused\n"
    assert printed.out == ""


def test_calibration_measures_this_program_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Against a server of its own that it ends again."""
    options = ["--connections", "4", "--count", "200", "--duration", "600", "--output", "json"]
    assert main(["loadgen", "--calibrate", *options]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["answers"] == {"create 201": 200}
    assert row["per second"]
