"""Problem documents: every error the use cases can raise, and what must never be in an answer."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from ordering.application import errors
from ordering.application.causes import Cause, CauseCode
from ordering.application.errors import (
    BrokerUnavailable,
    Contended,
    Failure,
    KeyInFlight,
    OutcomeUnknown,
    Overloaded,
    ReadModelBehind,
    RegistryUnavailable,
    ShuttingDown,
    StoreUnavailable,
    VersionNotReached,
)
from ordering.domain.errors import Code, OrderingError
from ordering.domain.fields import shown
from ordering.entrypoints.http.problems import STATUS_AND_TITLE
from ordering.entrypoints.http.routing import OrderingApp
from tests.http.stand_ins import StandIns
from tests.http.systems import in_process

CREATE, UPDATE, DETAILS = "/api/create-order", "/api/update-order", "/api/order-details"
GOOD = {"orderId": "x", "numItems": 1}
READS = ["/api/order-details?orderId=x", "/api/getAllOrderIdsFromTopic?topicName=order-events", "/api/stats"]


def test_every_code_has_a_status_and_a_title() -> None:
    """A code without one would be an unexpected 500."""
    assert set(STATUS_AND_TITLE) == set(Code)
    statuses = {status for status, _ in STATUS_AND_TITLE.values()}
    assert statuses == {400, 404, 405, 408, 409, 412, 413, 422, 431, 500, 503}


def test_every_error_of_the_application_has_a_code_of_the_list() -> None:
    """The generic machinery spells its codes as text."""
    found = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OrderingError | Failure)
    ]
    assert len(found) > 10
    assert {Code(kind.code) for kind in found} <= set(Code)


def test_only_what_stored_nothing_is_a_503() -> None:
    """Promise 2: a 503 means this attempt stored nothing."""
    stored_nothing = {Code(kind.code) for kind in _subclasses(errors.NotStored)} | {
        Code(kind.code) for kind in (Contended, ReadModelBehind)
    }
    assert {code for code, (status, _) in STATUS_AND_TITLE.items() if status == 503} == stored_nothing
    assert STATUS_AND_TITLE[Code.OUTCOME_UNKNOWN][0] == 500


def _subclasses(kind: type[Failure]) -> set[type[Failure]]:
    return {found for below in kind.__subclasses__() for found in (below, *_subclasses(below))}


@pytest.mark.parametrize(
    ("trouble", "status", "code", "retry"),
    [
        (BrokerUnavailable("down"), 503, "broker-unavailable", "1"),
        (RegistryUnavailable("down"), 503, "broker-unavailable", "1"),
        (StoreUnavailable("full"), 503, "store-unavailable", "1"),
        (Overloaded("full"), 503, "overloaded", "1"),
        (ShuttingDown(), 503, "shutting-down", "1"),
        (Contended("x"), 503, "contended", "1"),
        (ReadModelBehind("order-events"), 503, "read-model-behind", "1"),
        (KeyInFlight(), 409, "idempotency-key-in-flight", "1"),
        (VersionNotReached("x", 3, 2), 409, "version-not-reached", "1"),
        (OutcomeUnknown(), 500, "outcome-unknown", None),
        (ZeroDivisionError("secret"), 500, "internal-error", None),
        (errors.CommitAmbiguous("secret"), 500, "internal-error", None),
        (TimeoutError("secret"), 500, "internal-error", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_trouble_below_is_a_problem_document(
    trouble: Exception, status: int, code: str, retry: str | None
) -> None:
    """On every route, with Retry-After where repeating helps, and without what only operators may see."""
    stand_ins = StandIns()
    stand_ins.trouble = trouble
    cart_app, order_app = stand_ins.apps()
    async with in_process(cart_app) as cart, in_process(order_app) as order:
        answers = [
            await cart.post(CREATE, json=GOOD),
            await cart.put(UPDATE, json={"orderId": "x", "status": "confirmed"}),
            *[await order.get(path) for path in READS],
        ]
    for answer in answers:
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("retry-after") == retry
        assert problem["errors"] == []
        assert "secret" not in answer.text
        assert "ZeroDivisionError" not in answer.text


async def test_an_unexpected_failure_is_reported_with_the_request_id() -> None:
    """Operators find by the id what the client was not told."""
    stand_ins = StandIns()
    stand_ins.trouble = failure = ZeroDivisionError("secret")
    async with in_process(stand_ins.apps()[0]) as cart:
        answer = await cart.post(CREATE, json=GOOD, headers={"X-Request-Id": "r-1"})
    assert "r-1" in answer.json()["detail"]
    assert stand_ins.errors == [("r-1", failure)]


async def test_a_list_that_breaks_off_is_no_list() -> None:
    """Once the answer has begun, a failure drops the connection and is reported."""
    stand_ins = StandIns()
    stand_ins.breaks_off = True
    cart_app, order_app = stand_ins.apps()
    async with in_process(cart_app) as cart, in_process(order_app) as order:
        await cart.post(CREATE, json=GOOD)
        with pytest.raises(Exception, match="after response started"):
            await order.get(READS[1], headers={"X-Request-Id": "r-2"})
    assert [request_id for request_id, _ in stand_ins.errors] == ["r-2"]


async def test_an_expected_refusal_is_not_reported_as_a_failure() -> None:
    """A 4xx or 503 is an answer, not an error of ours."""
    stand_ins = StandIns()
    async with in_process(stand_ins.apps()[0]) as cart:
        await cart.post(CREATE, json={})
        await cart.get("/nothing")
        stand_ins.trouble = StoreUnavailable("full")
        await cart.post(CREATE, json=GOOD)
    assert stand_ins.errors == []


async def test_a_key_in_flight_is_refused_and_answered_the_same_afterwards() -> None:
    """The second asks while the first is being stored, and again when it is."""
    stand_ins = StandIns()
    stand_ins.held = asyncio.Event()
    headers = {"Idempotency-Key": "k"}
    async with in_process(stand_ins.apps()[0]) as cart:
        first = asyncio.ensure_future(cart.post(CREATE, json=GOOD, headers=headers))
        await stand_ins.entered.wait()
        second = await cart.post(CREATE, json=GOOD, headers=headers)
        stand_ins.held.set()
        answered = await first
        third = await cart.post(CREATE, json=GOOD, headers=headers)
    assert (second.status_code, second.json()["code"]) == (409, "idempotency-key-in-flight")
    assert (third.status_code, third.content) == (201, answered.content)


async def test_what_comes_with_a_request_goes_to_the_use_case() -> None:
    """Request id, trace context if it is valid, and the key under method and path."""
    stand_ins = StandIns()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"X-Request-Id": "r", "traceparent": trace, "tracestate": "a=b", "Idempotency-Key": '"k 1"'}
    async with in_process(stand_ins.apps()[0]) as cart:
        await cart.post(CREATE, json=GOOD, headers=headers)
        await cart.post(CREATE, json={**GOOD, "orderId": "y"}, headers={**headers, "traceparent": "nonsense"})
    first, second = stand_ins.contexts[0], stand_ins.contexts[-1]
    assert (first.request_id, first.traceparent, first.tracestate) == ("r", trace, "a=b")
    assert first.once is not None
    assert first.once.key == "POST /api/create-order k 1"
    assert (second.traceparent, second.tracestate) == (None, None)


async def test_not_ready_names_every_cause() -> None:
    """And /health stays a 200 for people, while / answers whatever is down."""
    stand_ins = StandIns()
    stand_ins.causes = [
        Cause(CauseCode.EVENTS_UNDELIVERABLE, "no broker"),
        Cause(CauseCode.STORE_UNAVAILABLE, "no disk"),
    ]
    stand_ins.trouble = StoreUnavailable("closed")
    async with in_process(stand_ins.apps()[1]) as order:
        ready, health, info = [await order.get(path) for path in ("/health/ready", "/health", "/")]
    named = {"causes": ["no broker", "no disk"], "codes": ["events-undeliverable", "store-unavailable"]}
    assert (ready.status_code, ready.json()) == (503, {"status": "not-ready", **named})
    assert ready.headers["retry-after"] == "1"
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert (info.status_code, info.json()["processed_orders"]) == (200, None)


async def test_answers_are_measured_by_route() -> None:
    """However it is written, it is one route; what is none is handed on as it came: whoever counts bounds it."""
    stand_ins = StandIns()
    async with in_process(stand_ins.apps()[0]) as cart:
        await cart.post(CREATE, json=GOOD)
        await cart.post(f"{CREATE}/", json=GOOD)
        await cart.get("/nothing")
    assert stand_ins.answered == [
        ("POST", CREATE, 201, None),
        ("POST", CREATE, 409, "duplicate-order"),
        ("GET", "/nothing", 404, "route-not-found"),
    ]


@pytest.mark.parametrize("host", ["shop.example", "shop.example:8000", "SHOP.example"])
async def test_a_listed_host_is_served(host: str) -> None:
    """Ports and case do not matter."""
    async with in_process(StandIns().apps(allowed_hosts=("shop.example",))[0]) as cart:
        assert (await cart.get("/health", headers={"Host": host})).status_code == 200
        assert (await cart.post(CREATE, json=GOOD, headers={"Host": host})).status_code == 201


@pytest.mark.parametrize("host", ["evil.example", "shop.example.evil", "shop.example:8000:1", ""])
async def test_another_host_is_refused_where_hosts_are_listed(host: str) -> None:
    """On the ordinary way and on the short one."""
    async with in_process(StandIns().apps(allowed_hosts=("shop.example",))[0]) as cart:
        for answer in (
            await cart.get("/health", headers={"Host": host}),
            await cart.post(CREATE, json=GOOD, headers={"Host": host}),
        ):
            assert answer.status_code == 400
            assert [fault["field"] for fault in answer.json()["errors"]] == ["Host"]


@pytest.mark.parametrize("origins", [(), ("https://shop.example",)])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("DELETE", CREATE), ("OPTIONS", CREATE), ("HEAD", "/health"), ("GET", "//health/")],
)
async def test_another_host_is_refused_whatever_it_asks_for(method: str, path: str, origins: tuple[str, ...]) -> None:
    """Also where no endpoint would answer, and before a browser's question is."""
    headers = {"Host": "evil.example", "Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    async with in_process(StandIns().apps(allowed_hosts=("shop.example",), cors_origins=origins)[0]) as cart:
        answer = await cart.request(method, f"http://127.0.0.1{path}", headers=headers)
        served = await cart.request(method, f"http://127.0.0.1{path}", headers={**headers, "Host": "shop.example"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert method == "HEAD" or [fault["field"] for fault in answer.json()["errors"]] == ["Host"]
    assert served.status_code != 400


@pytest.mark.parametrize("path", ["/health", "/nothing", CREATE])
async def test_a_malformed_host_is_refused_everywhere(path: str) -> None:
    """Also where hosts are not listed, with a document like any other."""
    async with in_process(StandIns().apps()[0]) as cart:
        answer = await cart.request("POST" if path == CREATE else "GET", path, headers={"Host": "a b"}, json=GOOD)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-input")


@pytest.mark.parametrize("path", ["/health", "/nothing", CREATE])
@pytest.mark.parametrize(
    ("version", "allowed", "refused"), [("1.1", (), True), ("1.0", (), False), ("1.0", ("a",), True)]
)
async def test_a_request_without_a_host_is_refused_unless_it_is_older_than_the_header(
    version: str, allowed: tuple[str, ...], refused: bool, path: str
) -> None:
    """RFC 9112, section 3.2; HTTP/1.0 knows no Host, so it is served where no hosts are listed."""
    app = StandIns().apps(allowed_hosts=allowed)[0]
    method, body = ("POST", json.dumps(GOOD).encode()) if path == CREATE else ("GET", b"")
    start, end = await answered(app, method, path, body, http_version=version, headers=[])

    assert (start["status"] == 400) is refused
    if refused:
        assert [fault["field"] for fault in json.loads(end["body"])["errors"]] == ["Host"]


async def test_listed_origins_may_read_answers_and_others_may_not() -> None:
    """CORS is closed unless set, and then open to exactly those origins, without credentials."""
    cart_app, _ = StandIns().apps(cors_origins=("https://shop.example",))
    async with in_process(cart_app) as cart:
        allowed = await cart.post(CREATE, json=GOOD, headers={"Origin": "https://shop.example"})
        refused = await cart.post(CREATE, json=GOOD, headers={"Origin": "https://evil.example"})
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        preflight = await cart.options(CREATE, headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "ETag" in allowed.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-origin" not in refused.headers
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"Origin": "https://evil.example"}, "Origin"),
        ({"Access-Control-Request-Method": "DELETE"}, "Access-Control-Request-Method"),
        ({"Access-Control-Request-Headers": "idempotency-key, x-other"}, "Access-Control-Request-Headers"),
    ],
)
async def test_a_refused_preflight_is_a_problem_document(changes: dict[str, str], field: str) -> None:
    """It names what is not allowed, and allows nothing."""
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "Content-Type, Idempotency-Key"
    async with in_process(StandIns().apps(cors_origins=("https://shop.example",))[0]) as cart:
        allowed = await cart.options(CREATE, headers=asked)
        refused = await cart.options(CREATE, headers={**asked, **changes})
    assert allowed.status_code == 204
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert [(fault["field"], fault["code"]) for fault in refused.json()["errors"]] == [(field, "malformed-header")]
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("path", [f"/{CREATE}", f"{CREATE}/", f"{CREATE}//", "/api//create-order"])
async def test_a_key_belongs_to_the_route_however_its_path_is_written(path: str) -> None:
    """Or a client's retry through another spelling would not be recognized."""
    stand_ins = StandIns()
    headers = {"Idempotency-Key": "k"}
    async with in_process(stand_ins.apps()[0]) as cart:
        first = await cart.post(CREATE, json=GOOD, headers=headers)
        again = await cart.post(f"http://127.0.0.1{path}", json=GOOD, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert len({context.once.key for context in stand_ins.contexts if context.once}) == 1


async def test_the_short_way_and_the_ordinary_way_answer_the_same() -> None:
    """One definition serves both; a slash at the end takes the ordinary one."""
    bodies: list[bytes] = [
        b'{"orderId":"o","numItems":3}',
        b"{",
        b"",
        b"{}",
        b"x" * 300_000,
        b'{"orderId":"o","numItems":0}',
    ]
    headers = {"X-Request-Id": "r", "Idempotency-Key": "k"}
    answers: list[list[tuple[int, bytes, httpx.Headers]]] = []
    for slash in ("", "/"):
        cart_app, order_app = StandIns().apps()
        async with in_process(cart_app) as cart, in_process(order_app) as order:
            taken = [await cart.post(CREATE + slash, content=body, headers=headers) for body in bodies]
            taken += [
                await order.get(DETAILS + slash, params=query, headers=headers) for query in ({}, {"orderId": "o"})
            ]
        answers.append([(answer.status_code, answer.content, answer.headers) for answer in taken])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("path", ["/health", "/api/getAllOrderIdsFromTopic", "/nothing", CREATE])
async def test_an_answer_to_head_has_no_body(path: str) -> None:
    """Success, stream or refusal; asked without a client that would drop the body by itself."""
    sent = await answered(StandIns().apps()[1], "HEAD", path, query_string=b"topicName=order-events")

    assert sent[0]["type"] == "http.response.start"
    assert b"".join(message["body"] for message in sent[1:]) == b""


def test_a_refused_text_is_repeated_only_in_part() -> None:
    """An answer does not grow with what it refuses."""
    assert len(shown("x" * 100_000)) < 100


async def answered(
    app: OrderingApp, method: str, path: str, body: bytes = b"", **others: object
) -> list[dict[str, Any]]:
    """What an application sends when it is asked with nothing between."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode()}
    known = {"query_string": b"", "headers": [(b"host", b"here")], "root_path": ""}
    await app({**scope, **known, **others}, receive, send)
    return sent
