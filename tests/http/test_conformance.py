"""The conformance table: every rule of the HTTP contract, the same on every system."""

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from ordering.domain.errors import Code
from tests.http.systems import System
from tests.http.table import creates, headers, reads, routes, updates
from tests.http.table.row import ID, Row

ROWS = [*creates.ROWS, *updates.ROWS, *reads.ROWS, *headers.ROWS, *routes.ROWS]
NAMES = [f"{row.method} {row.name}" for row in ROWS]


def test_the_table_has_at_least_150_rows_with_names_of_their_own() -> None:
    """A row that hides another would test nothing."""
    assert len(ROWS) >= 150
    assert sorted(set(NAMES)) == sorted(NAMES)


def test_the_table_mentions_every_code_a_single_request_can_cause() -> None:
    """What needs trouble or two requests is in test_refusals and test_sequences."""
    mentioned = {row.code for row in ROWS} | {code for row in ROWS for _, code in row.faults}
    elsewhere = {
        Code.DUPLICATE_ORDER,
        Code.KEY_IN_FLIGHT,
        Code.KEY_REUSED,
        Code.BROKER_UNAVAILABLE,
        Code.STORE_UNAVAILABLE,
        Code.READ_MODEL_BEHIND,
        Code.CONTENDED,
        Code.OVERLOADED,
        Code.SHUTTING_DOWN,
        Code.OUTCOME_UNKNOWN,
        Code.INTERNAL_ERROR,
        # what no endpoint sees: tests/e2e/test_server_bounds.py
        Code.MALFORMED_REQUEST,
        Code.REQUEST_TIMEOUT,
        Code.HEAD_TOO_LARGE,
    }
    assert {str(code) for code in Code} == {code for code in mentioned if code} | {str(code) for code in elsewhere}


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
async def test_row(system: System, row: Row) -> None:
    """The answer has exactly the status, code, faults, members and headers the row names."""
    order_id = system.new_id()
    if row.given is not None:
        version = await system.given(row.given, order_id)
        if row.visible:
            await system.visible(order_id, version)
    answer = await _send(system, row, order_id)
    assert answer.status_code == row.status, answer.text
    assert answer.headers.get("x-request-id") or row.method == "OPTIONS"
    for name, value in row.replied.items():
        if value is ...:
            assert 0 < len(answer.headers[name]) <= 128
            assert answer.headers[name] not in dict(row.headers).values()
        else:
            assert answer.headers.get(name, "") == value
    if row.method == "HEAD":
        assert answer.content == b""
        assert int(answer.headers["content-length"]) > 0
    elif row.code is not None:
        _check_problem(row, answer)
    elif "json" in answer.headers.get("content-type", ""):
        _check_answer(row, answer, order_id)


async def _send(system: System, row: Row, order_id: str) -> httpx.Response:
    client = system.client(row.service)
    url = httpx.URL(row.path, query=_filled(row.query, order_id).encode()) if row.query else httpx.URL(row.path)
    request_headers = [(name.encode(), _filled(value, order_id).encode("latin-1")) for name, value in row.headers]
    body = row.body.replace(ID.encode(), order_id.encode())
    request = client.build_request(row.method, url, content=body or None, headers=request_headers)
    return await client.send(request)


def _check_problem(row: Row, answer: httpx.Response) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == row.code
    assert problem["status"] == row.status
    assert problem["type"] == f"urn:ordering:problem:{row.code}"
    assert problem["success"] is False
    assert problem["detail"] == problem["message"]
    assert [(fault["field"], fault["code"]) for fault in problem["errors"]] == list(row.faults)
    assert all(fault["message"] for fault in problem["errors"])
    assert "Traceback" not in answer.text
    for path, value in row.answer.items():
        assert _at(problem, path) == value


def _check_answer(row: Row, answer: httpx.Response, order_id: str) -> None:
    document = json.loads(answer.content, parse_float=Decimal)
    for path, value in row.answer.items():
        expected = _filled(value, order_id) if isinstance(value, str) else value
        assert _at(document, path) == expected
    for held in row.holds:
        assert held.replace(ID.encode(), order_id.encode()) in answer.content


def _at(document: Any, path: str) -> object:  # noqa: ANN401 -- any JSON
    """The value at a dotted path; ... where there is none."""
    for name in path.split("."):
        document = document.get(name, ...)
    return document


def _filled(text: str, order_id: str) -> str:
    return text.replace(ID, order_id)
