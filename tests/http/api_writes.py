"""Write requests drawn at random, from few ids, keys and statuses, so that they meet each other."""

import json

import attrs
from hypothesis import strategies as st

from tests.http.api_model import BAD_KEY, BAD_MATCH, DECIMALS, STEPS, Line, Write, money

ORDER_IDS = st.sampled_from(["a", "b", "A"])
FRESH = "fresh"
"""Stands for a key that nobody used before."""
KEYS = st.sampled_from([FRESH, None, "k", None, "l", "m"])
IF_MATCH = st.sampled_from([None, "*", '"1"', 'W/"1"', None, '"2"', 'W/"2"', '"7", "3"', '"01"'])
LINES = st.tuples(
    st.sampled_from(["ITEM-1", "ITEM-2"]),
    st.sampled_from([1, 3, 1_000_000]),
    st.sampled_from([1, 49, 75, 2475, 99_999]) | st.integers(1, 99_999),
)
BAD_CREATES = [
    ('{"orderId":" ","numItems":"3"}', [("orderId", "blank"), ("numItems", "invalid-type")]),
    ('{"orderId":"a","numItems":0}', [("numItems", "out-of-range")]),
    ('{"orderId":"b"}', [("body", "items-or-num-items")]),
    ('{"orderId":"a","numItems":1,"orderId":"b"}', [("body", "duplicate-key")]),
    (
        '{"orderId":"b","currency":"JPY","items":[{"itemId":"I","quantity":1,"price":10.5}]}',
        [("items[0].price", "too-many-decimals")],
    ),
    (
        '{"orderId":"b","items":[{"itemId":"I","quantity":2.0,"price":0}]}',
        [("items[0].quantity", "invalid-type"), ("items[0].price", "out-of-range")],
    ),
]
BAD_UPDATES = [
    ('{"orderId":"a","status":"Confirmed"}', [("status", "unknown-status")]),
    ("{}", [("orderId", "required"), ("status", "required")]),
    ('{"orderId":"a","status":"shipped"}}', [("body", "invalid-json")]),
]


@st.composite
def carts(draw: st.DrawFn, order_ids: st.SearchStrategy[str] = ORDER_IDS) -> Write:
    """Real items, with prices written with all their decimals or without closing zeros."""
    order_id, lines = draw(order_ids), draw(st.lists(LINES, min_size=1, max_size=3))
    currency = draw(st.sampled_from([None, "USD", "JPY", "BHD"]))
    customer = draw(st.sampled_from([None, "C-1"]))
    members = {"orderId": order_id, "currency": currency, "customerId": customer}
    items = ",".join(_item(line, currency or "USD", short=draw(st.booleans())) for line in lines)
    body = json.dumps({name: value for name, value in members.items() if value is not None})[:-1]
    return Write("POST", f'{body},"items":[{items}]}}', order_id, tuple(lines), currency, customer)


def _item(line: Line, currency: str, *, short: bool) -> str:
    item, quantity, price = line
    text = str(money(price, currency))
    if short and DECIMALS[currency]:
        text = text.rstrip("0").rstrip(".")
    return f'{{"itemId":"{item}","quantity":{quantity},"price":{text}}}'


@st.composite
def generated(draw: st.DrawFn, order_ids: st.SearchStrategy[str] = ORDER_IDS) -> Write:
    """A number of items."""
    order_id, count = draw(order_ids), draw(st.integers(1, 3))
    return Write("POST", json.dumps({"orderId": order_id, "numItems": count}), order_id, count)


def change(order_id: str, status: str) -> Write:
    """An update."""
    return Write("PUT", json.dumps({"orderId": order_id, "status": status}), order_id, status=status)


@st.composite
def _with_headers(
    draw: st.DrawFn,
    writes: st.SearchStrategy[Write],
    keys: st.SearchStrategy[str | None] = KEYS,
    matches: st.SearchStrategy[str | None] = IF_MATCH,
) -> Write:
    """Headers, and sometimes the path with a slash at its end, which takes the framework's ordinary way."""
    return attrs.evolve(draw(writes), key=draw(keys), if_match=draw(matches), slash=draw(st.booleans()))


PLAIN_CREATES = carts() | generated()
CREATES = _with_headers(PLAIN_CREATES)
_CHANGES = st.builds(change, ORDER_IDS, st.sampled_from(list(STEPS)))
CHANGES = _with_headers(_CHANGES)
_BAD_BODIES = st.sampled_from(
    [Write("POST", body, body_faults=tuple(faults)) for body, faults in BAD_CREATES]
    + [Write("PUT", body, body_faults=tuple(faults)) for body, faults in BAD_UPDATES]
)
INVALID = (
    _with_headers(_BAD_BODIES, KEYS | st.just(BAD_KEY), IF_MATCH | st.just(BAD_MATCH))
    | _with_headers(PLAIN_CREATES, keys=st.just(BAD_KEY))
    | _with_headers(_CHANGES, matches=st.just(BAD_MATCH))
)
"""Something is wrong with the body, a header, or both."""
