"""The metrics page: complete from the start, readable by Prometheus, bounded whatever clients send, never late."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from math import isnan
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ordering.application.failures import StoreUnavailable
from ordering.application.messages import DeadReason
from ordering.domain.errors import Code
from ordering.entrypoints import container
from ordering.entrypoints.http.routing import OrderingApp
from ordering.entrypoints.metrics import Figures, Page, Part, Readings, samples, table
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Silent:
    """A log that nobody reads."""

    def info(self, _what: str, **_facts: object) -> None: ...

    def warning(self, _what: str, **_facts: object) -> None: ...

    def debug(self, _what: str, **_facts: object) -> None: ...

    def error(self, what: str, **facts: object) -> None:
        raise AssertionError(f"{what}: {facts}")


def series(text: bytes) -> Series:
    """Every sample of a page, as Prometheus reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def ask(
    app: OrderingApp, method: str, path: str, *headers: tuple[str, str], query: str = "", body: bytes = b""
) -> int:
    """One request, straight into the application; the status."""
    sent: list[Any] = []

    async def receive() -> object:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"here"), *((name.encode(), value.encode()) for name, value in headers)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.fixture
def services() -> tuple[container.Cart, container.Order]:
    """Both services in memory, not running, with a page for both."""
    return container.memory(Settings(), ServiceObserver(Silent()))


async def test_the_page_is_bounded_whatever_clients_send(services: tuple[container.Cart, container.Order]) -> None:
    """10,000 different ids, paths, methods and headers add no series to what a few of each made."""
    cart, order = services
    container.cart_service(cart, AsyncExitStack())
    page = cart.observer().page

    async def all_kinds(number: int) -> None:
        own = (f"x-{number}", f"{number}"), ("x-request-id", f"r-{number}"), ("idempotency-key", f"k-{number}")
        status = await ask(order.app(), "GET", "/api/order-details", *own, query=f"orderId=o-{number}&p{number}=1")
        assert status == 404
        body = b'{"orderId": "o-%d", "status": "%d"}' % (number, number)
        assert await ask(cart.app(), "PUT", "/api/update-order", *own, body=body) == 400
        assert await ask(cart.app(), "GET", f"/api/{number}", *own) == 404
        assert await ask(cart.app(), f"M{number}", "/api/create-order", *own) in (404, 405)

    for number in range(3):
        await all_kinds(number)
    before = series(await page.text())
    for number in range(3, 2_503):
        await all_kinds(number)
    after = series(await page.text())

    assert after.keys() == before.keys()
    refused = ("ordering_http_requests_total", (("method", "other"), ("route", "other"), ("status", "404")))
    by_odd_methods = [
        value for (name, labels), value in after.items() if name == refused[0] and ("method", "other") in labels
    ]
    assert sum(by_odd_methods) == 2_503
    unknown = (("method", "GET"), ("route", "other"), ("status", "404"))
    assert after["ordering_http_requests_total", unknown] == 2_503


async def test_requests_are_counted_by_route_and_status_and_refusals_by_code(
    services: tuple[container.Cart, container.Order],
) -> None:
    """The gate is closed because no relay runs: a refused create, a bad one, and a method that is not taken there."""
    cart, _ = services
    good = b'{"orderId": "a", "numItems": 1}'

    assert await ask(cart.app(), "POST", "/api/create-order", body=good) == 503
    assert await ask(cart.app(), "POST", "/api/create-order", body=b"{}") == 400
    assert await ask(cart.app(), "PATCH", "/api/create-order") == 405
    found = series(await cart.observer().page.text())

    def requests(method: str, status: str) -> float:
        labels = (("method", method), ("route", "/api/create-order"), ("status", status))
        return found["ordering_http_requests_total", labels]

    assert (requests("POST", "503"), requests("POST", "400"), requests("PATCH", "405")) == (1, 1, 1)
    assert requests("POST", "201") == 0
    assert found["ordering_refusals_total", (("code", "broker-unavailable"),)] == 1
    assert found["ordering_refusals_total", (("code", "invalid-input"),)] == 1
    assert found["ordering_refusals_total", (("code", "method-not-allowed"),)] == 1
    took = (("method", "POST"), ("route", "/api/create-order"))
    assert found["ordering_http_request_duration_seconds_count", took] == 2


async def test_everything_that_can_be_counted_is_there_before_it_happens() -> None:
    """A counter that appears with its first event shows no increase to Prometheus."""
    found = series(await Page(Figures(frozenset(Part))).text())

    for code in Code:
        assert found["ordering_refusals_total", (("code", code),)] == 0
    for reason in DeadReason:
        assert found["ordering_consumer_held_total", (("reason", reason),)] == 0
    for event in table.ALARMS:
        assert found["ordering_alarms_total", (("event", event),)] == 0
    for counter in table.COUNTERS:
        assert counter.label is not None or found[f"{counter.name}_total", ()] == 0
    for histogram in table.HISTOGRAMS:
        assert found[f"{histogram.name}_count", ()] == 0


@pytest.mark.parametrize("part", Part)
async def test_a_service_shows_its_own_metrics_and_no_others(part: Part) -> None:
    """And all of them: every metric that the table gives it, none that it gives the other one alone."""
    settings = Settings()
    cart, order = container.memory(settings, ServiceObserver(Silent(), part))
    if part is Part.CART:
        container.cart_service(cart, AsyncExitStack())
    else:
        container.order_service(order, AsyncExitStack())
    page = cart.observer().page
    names = {name for name, _ in series(await page.text()) if name.startswith("ordering_")}
    await page.close()
    declared = {
        *(f"{counter.name}_total" for counter in table.COUNTERS if part in counter.parts),
        *(f"{histogram.name}_count" for histogram in table.HISTOGRAMS if part in histogram.parts),
        *(gauge.name for gauge in table.GAUGES if part in gauge.parts),
        *(f"{name}_total" for name, _ in (table.REQUESTS, table.REFUSALS, table.ALARMS_TOTAL)),
        f"{table.REQUEST_SECONDS[0]}_count",
    }

    assert {name for name in names if not name.endswith(("_bucket", "_sum"))} == declared


async def test_a_histogram_counts_each_value_in_every_range_it_is_in() -> None:
    """Cumulative, a bound included, the rest in +Inf."""
    figures = Figures(frozenset(Part))
    for value in (1.0, 1.5, 2.0, 5_000.0):
        figures.measured("commit_batch", value)
    found = series(await Page(figures).text())

    def upto(bound: str) -> float:
        return found["ordering_commit_batch_size_bucket", (("le", bound),)]

    assert [upto(bound) for bound in ("1.0", "2.0", "4.0", "1024.0", "+Inf")] == [1, 3, 3, 3, 4]
    assert found["ordering_commit_batch_size_sum", ()] == 5_004.5


# ---------------------------------------------------------------------------------------------- samples

OWN: Mapping[table.Gauge, tuple[tuple[str, ...], ...]] = {table.OUTBOX_EVENTS: ((),)}


class Source:
    """Somebody to ask, who can be slow or in trouble."""

    def __init__(self) -> None:
        self.asked = 0
        self.trouble: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self) -> Readings:
        self.asked += 1
        await self.answers.wait()
        if self.trouble is not None:
            raise self.trouble
        return {table.OUTBOX_EVENTS: {(): float(self.asked)}}


async def shown(page: Page) -> tuple[float, float]:
    """The gauge, and whether its sample is up."""
    found = series(await page.text())
    return found["ordering_outbox_unpublished_events", ()], found["ordering_sample_up", (("source", "outbox"),)]


async def test_pages_asked_for_at_once_share_one_question() -> None:
    """Scraping from more places costs the database nothing."""
    page, source = Page(Figures(frozenset(Part))), Source()
    page.sample("outbox", source, OWN, fresh_seconds=60.0)

    assert await asyncio.gather(*(shown(page) for _ in range(20))) == [(1.0, 1.0)] * 20
    assert await shown(page) == (1.0, 1.0)
    assert source.asked == 1
    await page.close()


async def test_a_failed_question_shows_nan_and_that_it_failed() -> None:
    """No old number that looks like a new one; the next answer heals it."""
    page, source = Page(Figures(frozenset(Part))), Source()
    page.sample("outbox", source, OWN, fresh_seconds=0.0)
    assert await shown(page) == (1.0, 1.0)
    source.trouble = StoreUnavailable("gone")
    value, up = await shown(page)

    assert isnan(value)
    assert up == 0
    source.trouble = None
    assert await shown(page) == (3.0, 1.0)
    await page.close()


async def test_a_page_never_hangs_with_whom_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the answer is on its way the last one is shown, and nobody asks a second time; too old a one is not."""
    monkeypatch.setattr(samples, "PATIENCE_SECONDS", 600.0)
    monkeypatch.setattr(samples, "STALE_SECONDS", 600.0)
    page, source = Page(Figures(frozenset(Part))), Source()
    page.sample("outbox", source, OWN, fresh_seconds=0.0)
    assert await shown(page) == (1.0, 1.0)
    source.answers.clear()
    monkeypatch.setattr(samples, "PATIENCE_SECONDS", 0.01)

    for _ in range(3):
        assert await shown(page) == (1.0, 1.0)
    assert source.asked == 2
    monkeypatch.setattr(samples, "STALE_SECONDS", -1.0)
    value, up = await shown(page)
    assert isnan(value)
    assert up == 0
    await page.close()


async def test_a_question_that_is_never_answered_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it can be asked again."""
    monkeypatch.setattr(samples, "GIVE_UP_SECONDS", 0.01)
    monkeypatch.setattr(samples, "PATIENCE_SECONDS", 600.0)
    page, source = Page(Figures(frozenset(Part))), Source()
    page.sample("outbox", source, OWN, fresh_seconds=0.0)
    source.answers.clear()
    value, up = await shown(page)

    assert isnan(value)
    assert up == 0
    source.answers.set()
    monkeypatch.setattr(samples, "GIVE_UP_SECONDS", 600.0)
    assert await shown(page) == (2.0, 1.0)
    await page.close()


async def test_not_ready_shows_the_cause(services: tuple[container.Cart, container.Order]) -> None:
    """Without a relay the gate has never opened."""
    cart, _ = services
    service = container.cart_service(cart, AsyncExitStack())
    found = series(await cart.observer().page.text())

    assert found["ordering_ready", ()] == 0
    assert found["ordering_not_ready", (("code", "starting"),)] == 1
    assert found["ordering_not_ready", (("code", "store-unavailable"),)] == 0
    assert found["ordering_gate_open", ()] == 0
    service.stop()
    assert [cause.code for cause in await cart.causes()()] == ["shutting-down", "starting"]
    await cart.observer().page.close()
