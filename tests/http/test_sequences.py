"""What one request cannot show: keys, restarts, waits, pages. The same on every system."""

import asyncio
import json

import httpx
import pytest

from tests.http.systems import System

CREATE, UPDATE, DETAILS = "/api/create-order", "/api/update-order", "/api/order-details"
KINDS = {"LAPTOP", "PHONE", "TABLET", "MONITOR", "KEYBOARD", "MOUSE", "HEADSET", "CAMERA", "SPEAKER", "WATCH"}
IDS, STATS = "/api/getAllOrderIdsFromTopic", "/api/stats"


def code_of(answer: httpx.Response) -> str:
    """The problem's code."""
    return str(answer.json()["code"])


async def create(system: System, order_id: str, key: str | None = None, num_items: int = 1) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await system.cart.post(CREATE, json={"orderId": order_id, "numItems": num_items}, headers=headers)


async def change(system: System, order_id: str, status: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await system.cart.put(UPDATE, json={"orderId": order_id, "status": status}, headers=named)


async def details(system: System, order_id: str, **query: object) -> httpx.Response:
    return await system.order.get(DETAILS, params={"orderId": order_id, **query})  # type: ignore[dict-item]


async def test_an_id_is_taken_for_ever(system: System) -> None:
    """A second create is a 409, whatever it holds and however the id is written; the order stays as it was."""
    order_id = system.new_id()
    first = await create(system, order_id)
    for body in ({"orderId": order_id, "numItems": 5}, {"orderId": f" {order_id} ", "numItems": 1}):
        again = await system.cart.post(CREATE, json=body)
        assert (again.status_code, code_of(again)) == (409, "duplicate-order")
    shown = await details(system, order_id, wait=30)
    assert shown.json()["data"]["items"] == first.json()["data"]["items"]


async def test_ids_differ_by_case(system: System) -> None:
    """x and X are two orders."""
    order_id = system.new_id()
    assert (await create(system, order_id)).status_code == 201
    assert (await create(system, order_id.lower())).status_code == 201


async def test_what_was_answered_is_what_is_read(system: System) -> None:
    """Create, update and details show the same order, digit by digit."""
    order_id = system.new_id()
    items = [{"itemId": "A", "quantity": 3, "price": 0.1}]
    created = await system.cart.post(CREATE, json={"orderId": order_id, "currency": "BHD", "items": items})
    confirmed = await change(system, order_id, "confirmed")
    shown = await details(system, order_id, minVersion=2, wait=30)
    for answer in (created, confirmed, shown):
        assert b'"items":[{"itemId":"A","quantity":3,"price":0.100}],"totalAmount":0.300,' in answer.content
    assert created.json()["data"] == {**confirmed.json()["data"], "status": "pending"}
    assert shown.json()["data"] == {**confirmed.json()["data"], "shippingCost": 0.006}
    assert created.json()["data"]["orderDate"].endswith("Z")


@pytest.mark.parametrize(
    ("price", "currency", "cost"),
    [("1999.98", "USD", b"39.99"), ("24.75", "USD", b"0.49"), ("0.49", "USD", b"0.00"), ("1999", "JPY", b"39")],
)
async def test_shipping_costs_two_per_cent_rounded_down(system: System, price: str, currency: str, cost: bytes) -> None:
    """The documented examples, as they are printed."""
    order_id = system.new_id()
    cart = '{"orderId":"%s","currency":"%s","items":[{"itemId":"A","quantity":1,"price":%s}]}'
    await system.cart.post(CREATE, content=cart % (order_id, currency, price))
    shown = await details(system, order_id, wait=30)
    assert b'"shippingCost":' + cost + b"}" in shown.content


# ---------------------------------------------------------------------------------------------- idempotency keys


async def test_the_same_key_and_body_give_the_first_answer_again(system: System) -> None:
    """Byte by byte, with its status and version, also after the order moved on."""
    order_id = system.new_id()
    first = await create(system, order_id, f"k-{order_id}", 7)
    await change(system, order_id, "confirmed")
    again = await create(system, order_id, f"k-{order_id}", 7)
    assert (again.status_code, again.content, again.headers["etag"]) == (201, first.content, '"1"')


async def test_a_quoted_key_is_the_same_key(system: System) -> None:
    """Bare or as an RFC 8941 string."""
    order_id = system.new_id()
    first = await create(system, order_id, f"k-{order_id}")
    again = await create(system, order_id, f'"k-{order_id}"')
    assert (again.status_code, again.content) == (201, first.content)


async def test_the_same_key_with_another_body_is_refused(system: System) -> None:
    """Also if only white space differs: the raw body counts."""
    order_id = system.new_id()
    headers = {"Idempotency-Key": f"k-{order_id}"}
    body = json.dumps({"orderId": order_id, "numItems": 1})
    assert (await system.cart.post(CREATE, content=body, headers=headers)).status_code == 201
    for other in (body + " ", body.replace("1}", "2}")):
        again = await system.cart.post(CREATE, content=other, headers=headers)
        assert (again.status_code, code_of(again)) == (422, "idempotency-key-reused")


async def test_the_same_key_on_the_other_write_is_another_key(system: System) -> None:
    """A key's scope is method and path."""
    order_id = system.new_id()
    assert (await create(system, order_id, f"k-{order_id}")).status_code == 201
    answer = await change(system, order_id, "confirmed", Idempotency_Key=f"k-{order_id}")
    assert answer.json()["data"]["status"] == "confirmed"


async def test_a_refusal_is_not_kept(system: System) -> None:
    """Only successes are: after a 409 and a 404 the same key and body are decided anew."""
    order_id = system.new_id()
    key = f"k-{order_id}"
    assert (await change(system, order_id, "shipped", Idempotency_Key=key)).status_code == 404
    await create(system, order_id)
    assert (await change(system, order_id, "shipped", Idempotency_Key=key)).status_code == 409
    await change(system, order_id, "confirmed")
    assert (await change(system, order_id, "shipped", Idempotency_Key=key)).status_code == 200


async def test_a_key_on_an_update_that_changes_nothing_is_kept(system: System) -> None:
    """The no-op's answer comes again even when the order has moved on."""
    order_id = system.new_id()
    await create(system, order_id)
    first = await change(system, order_id, "pending", Idempotency_Key=f"k-{order_id}")
    await change(system, order_id, "confirmed")
    again = await change(system, order_id, "pending", Idempotency_Key=f"k-{order_id}")
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.content, again.headers["etag"]) == (first.content, '"1"')


async def test_a_replay_comes_before_if_match(system: System) -> None:
    """The client repeats its request as it was; the version it named is history by then."""
    order_id = system.new_id()
    await create(system, order_id)
    headers = {"Idempotency_Key": f"k-{order_id}", "If_Match": '"1"'}
    first = await change(system, order_id, "confirmed", **headers)
    again = await change(system, order_id, "confirmed", **headers)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


async def test_of_many_equal_requests_one_is_done(system: System) -> None:
    """Twenty at once with one key: one order; each is told the same answer or that the first is in flight."""
    order_id = system.new_id()
    answers = await asyncio.gather(*(create(system, order_id, f"k-{order_id}", 3) for _ in range(20)))
    created = {answer.content for answer in answers if answer.status_code == 201}
    refused = {code_of(answer) for answer in answers if answer.status_code == 409}
    assert len(created) == 1
    assert refused <= {"idempotency-key-in-flight"}
    assert {answer.status_code for answer in answers} <= {201, 409}


async def test_of_many_creates_of_one_id_one_is_done(system: System) -> None:
    """Without keys: one 201, the others 409."""
    order_id = system.new_id()
    answers = await asyncio.gather(*(create(system, order_id) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19


async def test_a_key_outlives_a_restart(system: System) -> None:
    """The answer was stored in the order's own transaction."""
    if not system.body.keeps:
        return  # memory outlives nothing
    order_id = system.new_id()
    first = await create(system, order_id, f"k-{order_id}", 9)
    await system.restart()
    again = await create(system, order_id, f"k-{order_id}", 9)
    assert (again.status_code, again.content) == (201, first.content)
    assert (await change(system, order_id, "confirmed")).status_code == 200


# ---------------------------------------------------------------------------------------------- reading one's writes


async def test_a_version_can_be_waited_for(system: System) -> None:
    """Ask first, write then: the answer has the version that was asked for."""
    order_id = system.new_id()
    await create(system, order_id)
    waiting = asyncio.ensure_future(details(system, order_id, minVersion=2, wait=30))
    while not await _is_pending(system, order_id):
        pass
    await change(system, order_id, "confirmed")
    shown = await waiting
    if shown.status_code == 409:  # the stand-ins do not wait
        shown = await details(system, order_id, minVersion=2, wait=30)
    assert (shown.status_code, shown.headers["etag"]) == (200, '"2"')
    assert shown.json()["data"]["status"] == "confirmed"


async def _is_pending(system: System, order_id: str) -> bool:
    return bool((await details(system, order_id, wait=30)).json()["data"]["status"] == "pending")


async def test_pages_hold_every_id_once_in_order_of_appearance(system: System) -> None:
    """The pages together are the list without pages, and the last one has no cursor."""
    for order_id in [system.new_id() for _ in range(7)]:
        await create(system, order_id)
        await system.visible(order_id)
    whole = (await system.order.get(IDS, params={"topicName": "order-events"})).json()
    assert whole["count"] == len(whole["orderIds"]) == len(set(whole["orderIds"]))
    assert "nextCursor" not in whole
    short = await system.order.get(IDS, params={"topicName": "order-events", "limit": 10_000})
    assert "nextCursor" not in short.json()
    paged: list[str] = []
    query: dict[str, str] = {"topicName": "order-events", "limit": str(max(3, whole["count"] // 4))}
    while True:
        page = (await system.order.get(IDS, params=query)).json()
        assert page["count"] == len(page["orderIds"])
        paged += page["orderIds"]
        if "nextCursor" not in page:
            break
        query["cursor"] = page["nextCursor"]
    assert paged == whole["orderIds"]


async def test_an_order_with_many_events_is_listed_once_where_it_first_appeared(system: System) -> None:
    """Not once per event, and not where its last event is."""
    first, second = system.new_id(), system.new_id()
    for order_id in (first, second):
        await create(system, order_id)
        await system.visible(order_id)
    before = (await system.order.get(IDS, params={"topicName": "order-events"})).json()["orderIds"]
    await change(system, first, "confirmed")
    await system.visible(first, 2)
    after = (await system.order.get(IDS, params={"topicName": "order-events"})).json()["orderIds"]
    assert (before, before.count(first), before.count(second)) == (after, 1, 1)


async def test_statistics_count_orders_not_events(system: System) -> None:
    """An order with two changes counts once."""
    before = (await system.order.get(STATS, params={"ids": "false"})).json()["totalOrders"]
    order_id = system.new_id()
    await create(system, order_id)
    await change(system, order_id, "confirmed")
    await details(system, order_id, minVersion=2, wait=30)
    after = (await system.order.get(STATS)).json()
    assert after["totalOrders"] == before + 1
    assert order_id in after["orderIds"] or after["truncated"]


# ---------------------------------------------------------------------------------------------- bodies in pieces


async def test_a_body_in_pieces_is_one_body(system: System) -> None:
    """Without Content-Length, byte by byte."""
    order_id = system.new_id()
    body = json.dumps({"orderId": order_id, "numItems": 1}).encode()

    async def pieces() -> "object":
        for byte in body:
            yield bytes([byte])

    answer = await system.cart.post(CREATE, content=pieces())  # type: ignore[arg-type]
    assert answer.status_code == 201


async def test_a_body_in_pieces_may_not_be_larger_either(system: System) -> None:
    """The limit is on what arrives, not on what is announced."""

    async def pieces() -> "object":
        for _ in range(9):
            yield b" " * 32_768

    answer = await system.cart.post(CREATE, content=pieces())  # type: ignore[arg-type]
    assert (answer.status_code, code_of(answer)) == (413, "payload-too-large")


async def test_generated_orders_look_like_the_documented_ones(system: System) -> None:
    """Customer, items, quantities, prices, currency."""
    answer = await create(system, system.new_id(), num_items=100)
    data = answer.json()["data"]
    assert data["customerId"].startswith("CUST-")
    assert 1000 <= int(data["customerId"].removeprefix("CUST-")) <= 9999
    assert data["currency"] in {"USD", "EUR", "GBP", "JPY", "CAD", "AUD"}
    assert len(data["items"]) == 100
    for item in data["items"]:
        kind, number = item["itemId"].removeprefix("ITEM-").rsplit("-", 1)
        assert kind in KINDS
        assert 100 <= int(number) <= 999
        assert 1 <= item["quantity"] <= 5
        assert 10 <= item["price"] <= 500
