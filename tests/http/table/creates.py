"""Rows of POST /api/create-order: every rule for its body."""

from tests.http.table.row import ID, Row, accepts, cart, line, refuses

B = "body"
LONG = "9" * 5_000
SURROGATE = "\\ud800"


def raw(price: str = "10", quantity: str = "1", extra: str = "") -> str:
    """A cart written by hand, for numbers json.dumps would not write."""
    return f'{{"orderId":"{ID}","items":[{{"itemId":"I-1","quantity":{quantity},"price":{price}}}]{extra}}}'


def nested(depth: int) -> str:
    """A cart with an unknown field that makes the whole body ``depth`` deep."""
    return raw(extra=f',"more":{"[" * (depth - 1)}{"]" * (depth - 1)}')


def padded(size: int) -> str:
    """A valid body of exactly ``size`` bytes."""
    start = f'{{"orderId":"PADDED-{size}","numItems":1,"pad":"'
    return start + "x" * (size - len(start) - 2) + '"}'


def numbered(value: str) -> str:
    """The numItems form with a number written by hand."""
    return f'{{"orderId":"{ID}","numItems":{value}}}'


FORMS: list[Row] = [
    accepts("numItems 1", {"orderId": ID, "numItems": 1}, status="pending", orderId=ID),
    accepts("numItems 100", {"orderId": ID, "numItems": 100}),
    accepts(
        "numItems ignores customer and currency", {"orderId": ID, "numItems": 1, "customerId": 5, "currency": "no"}
    ),
    accepts("a cart", cart(), b'"totalAmount":1999.98', orderId=ID, status="pending", currency="USD"),
    accepts("a cart with everything", cart(customerId="CUST-7", currency="EUR"), customerId="CUST-7", currency="EUR"),
    accepts("nulls count as absent", cart(customerId=None, currency=None, numItems=None), currency="USD"),
    accepts("numItems with null items", {"orderId": ID, "numItems": 1, "items": None}),
    accepts("unknown fields are ignored", cart(status="shipped", foo=[1, {"a": None}], version=9), status="pending"),
    accepts("unknown fields of items are ignored", cart(items=[line(colour="red")])),
    accepts("white space around the document", f' \t\r\n{{"orderId":"{ID}","numItems":1}}\n '),
    accepts("the same item twice", cart(items=[line(), line()]), b'"totalAmount":3999.96'),
    refuses("neither form", {"orderId": ID}, (B, "items-or-num-items")),
    refuses("both forms", cart(numItems=1), (B, "items-or-num-items")),
    refuses("both forms null", {"orderId": ID, "items": None, "numItems": None}, (B, "items-or-num-items")),
    refuses("neither form, blank id", {"orderId": " "}, ("orderId", "blank"), (B, "items-or-num-items")),
    refuses("empty object", {}, ("orderId", "required"), (B, "items-or-num-items")),
]

IDS: list[Row] = [
    accepts("id trimmed", {"orderId": f"  {ID}\t\n", "numItems": 1}, orderId=ID),
    accepts("customer trimmed", cart(customerId=" C-1 "), customerId="C-1"),
    refuses("id missing", {"numItems": 1}, ("orderId", "required")),
    refuses("id null", {"orderId": None, "numItems": 1}, ("orderId", "required")),
    refuses("id empty", {"orderId": "", "numItems": 1}, ("orderId", "blank")),
    refuses("id blank", {"orderId": " \t\n ", "numItems": 1}, ("orderId", "blank")),
    refuses("id a number", {"orderId": 5, "numItems": 1}, ("orderId", "invalid-type")),
    refuses("id a boolean", {"orderId": True, "numItems": 1}, ("orderId", "invalid-type")),
    refuses("id an object", {"orderId": {}, "numItems": 1}, ("orderId", "invalid-type")),
    refuses("id an array", {"orderId": ["a"], "numItems": 1}, ("orderId", "invalid-type")),
    refuses("id of 65 characters", {"orderId": "x" * 65, "numItems": 1}, ("orderId", "too-long")),
    refuses("id of 10,000 characters", {"orderId": "x" * 10_000, "numItems": 1}, ("orderId", "too-long")),
    refuses("id with a slash", {"orderId": "a/b", "numItems": 1}, ("orderId", "invalid-characters")),
    refuses("id with a space inside", {"orderId": "a b", "numItems": 1}, ("orderId", "invalid-characters")),
    refuses("id with a line break inside", {"orderId": "a\nb", "numItems": 1}, ("orderId", "invalid-characters")),
    refuses(
        "id with a letter beyond ASCII", {"orderId": "Bestellung-ä", "numItems": 1}, ("orderId", "invalid-characters")
    ),
    refuses("id with an emoji", {"orderId": "a\U0001f600", "numItems": 1}, ("orderId", "invalid-characters")),
    refuses("id with NUL", {"orderId": "a\x00b", "numItems": 1}, ("orderId", "invalid-characters")),
    refuses("id with a full-width digit", {"orderId": "\uff11", "numItems": 1}, ("orderId", "invalid-characters")),
    refuses("id with a lone surrogate", f'{{"orderId":"{SURROGATE}","numItems":1}}', ("orderId", "invalid-characters")),
    refuses("customer blank", cart(customerId=""), ("customerId", "blank")),
    refuses("customer a number", cart(customerId=7), ("customerId", "invalid-type")),
    refuses("customer of 65 characters", cart(customerId="c" * 65), ("customerId", "too-long")),
    refuses("item id missing", cart(items=[line(itemId=...)]), ("items[0].itemId", "required")),
    refuses("item id blank", cart(items=[line(), line(itemId=" ")]), ("items[1].itemId", "blank")),
    refuses("item id with a quote", cart(items=[line(itemId='a"')]), ("items[0].itemId", "invalid-characters")),
    refuses("item id of 65 characters", cart(items=[line(itemId="i" * 65)]), ("items[0].itemId", "too-long")),
]

COUNTS: list[Row] = [
    refuses("numItems 0", numbered("0"), ("numItems", "out-of-range")),
    refuses("numItems -1", numbered("-1"), ("numItems", "out-of-range")),
    refuses("numItems 101", numbered("101"), ("numItems", "out-of-range")),
    refuses("numItems as text", numbered('"3"'), ("numItems", "invalid-type")),
    refuses("numItems 2.0", numbered("2.0"), ("numItems", "invalid-type")),
    refuses("numItems 3.5", numbered("3.5"), ("numItems", "invalid-type")),
    refuses("numItems 1e1", numbered("1e1"), ("numItems", "invalid-type")),
    refuses("numItems true", numbered("true"), ("numItems", "invalid-type")),
    refuses("numItems an array", numbered("[1]"), ("numItems", "invalid-type")),
    refuses("numItems NaN", numbered("NaN"), ("numItems", "not-finite")),
    refuses("numItems -Infinity", numbered("-Infinity"), ("numItems", "not-finite")),
    refuses("numItems of 5,000 digits", numbered(LONG), ("numItems", "out-of-range")),
    refuses("numItems of 2^63", numbered(str(2**63)), ("numItems", "out-of-range")),
    accepts("quantity 1,000,000", raw("1", "1000000"), b'"totalAmount":1000000.00'),
    refuses("quantity 0", raw(quantity="0"), ("items[0].quantity", "out-of-range")),
    refuses("quantity -2", raw(quantity="-2"), ("items[0].quantity", "out-of-range")),
    refuses("quantity 1,000,001", raw(quantity="1000001"), ("items[0].quantity", "out-of-range")),
    refuses("quantity 2.0", raw(quantity="2.0"), ("items[0].quantity", "invalid-type")),
    refuses("quantity as text", raw(quantity='"2"'), ("items[0].quantity", "invalid-type")),
    refuses("quantity true", raw(quantity="true"), ("items[0].quantity", "invalid-type")),
    refuses("quantity null", raw(quantity="null"), ("items[0].quantity", "required")),
    refuses("quantity missing", cart(items=[line(quantity=...)]), ("items[0].quantity", "required")),
    refuses("quantity of 5,000 digits", raw(quantity=LONG), ("items[0].quantity", "out-of-range")),
    refuses("quantity NaN", raw(quantity="NaN"), ("items[0].quantity", "not-finite")),
    refuses("items empty", cart(items=[]), ("items", "too-few-items")),
    accepts("items 1,000", cart(items=[line(price=1)] * 1_000), b'"totalAmount":2000.00'),
    refuses("items 1,001", cart(items=[line()] * 1_001), ("items", "too-many-items")),
    refuses("items an object", cart(items={"0": line()}), ("items", "invalid-type")),
    refuses("items a text", cart(items="ITEM"), ("items", "invalid-type")),
    refuses("items a number", cart(items=5), ("items", "invalid-type")),
    refuses("an item a text", cart(items=[line(), "x"]), ("items[1]", "invalid-type")),
    refuses("an item null", cart(items=[None]), ("items[0]", "invalid-type")),
]

MONEY: list[Row] = [
    accepts("price 0.01", raw("0.01"), b'"price":0.01', b'"totalAmount":0.01'),
    accepts("price 39.9 prints 39.90", raw("39.9"), b'"price":39.90', b'"totalAmount":39.90'),
    accepts("price 10 prints 10.00", raw("10"), b'"price":10.00'),
    accepts("price 1e2", raw("1e2"), b'"price":100.00'),
    accepts("price 10.000000 by value", raw("10.000000"), b'"price":10.00'),
    accepts("price of twelve digits", raw("999999999999.99"), b'"totalAmount":999999999999.99'),
    accepts("yen", raw("1999", extra=',"currency":"JPY"'), b'"price":1999}', b'"totalAmount":1999,', currency="JPY"),
    accepts("yen 10.00 by value", raw("10.00", extra=',"currency":"JPY"'), b'"totalAmount":10,'),
    accepts("dinar of three decimals", raw("1.234", extra=',"currency":"BHD"'), b'"totalAmount":1.234,'),
    accepts("unit of four decimals", raw("1.2345", extra=',"currency":"CLF"'), b'"totalAmount":1.2345,'),
    accepts("total is exact, 0.1 x 3", raw("0.1", "3"), b'"totalAmount":0.30'),
    refuses("price 0", raw("0"), ("items[0].price", "out-of-range")),
    refuses("price -0.0", raw("-0.0"), ("items[0].price", "out-of-range")),
    refuses("price -1", raw("-1"), ("items[0].price", "out-of-range")),
    refuses("price 10.005", raw("10.005"), ("items[0].price", "too-many-decimals")),
    refuses("yen 10.5", raw("10.5", extra=',"currency":"JPY"'), ("items[0].price", "too-many-decimals")),
    refuses("price of 5,000 decimals", raw(f"0.{LONG}"), ("items[0].price", "too-many-decimals")),
    refuses("price 1e-999999", raw("1e-999999"), ("items[0].price", "too-many-decimals")),
    refuses("price as text", raw('"10.00"'), ("items[0].price", "invalid-type")),
    refuses("price true", raw("true"), ("items[0].price", "invalid-type")),
    refuses("price an object", raw("{}"), ("items[0].price", "invalid-type")),
    refuses("price null", raw("null"), ("items[0].price", "required")),
    refuses("price missing", cart(items=[line(price=...)]), ("items[0].price", "required")),
    refuses("price NaN", raw("NaN"), ("items[0].price", "not-finite")),
    refuses("price Infinity", raw("Infinity"), ("items[0].price", "not-finite")),
    refuses("price -Infinity", raw("-Infinity"), ("items[0].price", "not-finite")),
    refuses("price 1e999999", raw("1e999999"), ("items", "total-too-large")),
    refuses("price 1e99999999999999999999", raw("1e99999999999999999999"), ("items[0].price", "not-finite")),
    refuses("price of 5,000 digits", raw(LONG), ("items", "total-too-large")),
    refuses("price of -5,000 digits", raw(f"-{LONG}"), ("items[0].price", "out-of-range")),
    refuses("total 10^12", raw("1000000", "1000000"), ("items", "total-too-large")),
    refuses("currency unknown", cart(currency="XYZ"), ("currency", "unknown-currency")),
    refuses("currency in small letters", cart(currency="usd"), ("currency", "unknown-currency")),
    refuses("currency with spaces", cart(currency=" USD "), ("currency", "unknown-currency")),
    refuses("currency without minor units", cart(currency="XAU"), ("currency", "unknown-currency")),
    refuses("currency of the past", cart(currency="DEM"), ("currency", "unknown-currency")),
    refuses("currency empty", cart(currency=""), ("currency", "unknown-currency")),
    refuses("currency a number", cart(currency=840), ("currency", "invalid-type")),
]

SYNTAX: list[Row] = [
    refuses("empty body", b"", (B, "invalid-json")),
    refuses("white space only", b" \n ", (B, "invalid-json")),
    refuses("not JSON", b"orderId=1", (B, "invalid-json")),
    refuses("cut off", b'{"orderId":"x"', (B, "invalid-json")),
    refuses("trailing comma", b'{"orderId":"x","numItems":1,}', (B, "invalid-json")),
    refuses("single quotes", b"{'orderId':'x','numItems':1}", (B, "invalid-json")),
    refuses("comment", b'{"orderId":"x","numItems":1} // x', (B, "invalid-json")),
    refuses("trailing text", b'{"orderId":"x","numItems":1}x', (B, "invalid-json")),
    refuses("two documents", b'{"orderId":"x","numItems":1}{}', (B, "invalid-json")),
    refuses("byte order mark", b'\xef\xbb\xbf{"orderId":"x","numItems":1}', (B, "invalid-json")),
    refuses("raw control character in a text", b'{"orderId":"a\nb","numItems":1}', (B, "invalid-json")),
    refuses("raw NUL after the document", b'{"orderId":"x","numItems":1}\x00', (B, "invalid-json")),
    refuses("leading zero", b'{"orderId":"x","numItems":01}', (B, "invalid-json")),
    refuses("plus sign", b'{"orderId":"x","numItems":+1}', (B, "invalid-json")),
    refuses("bad escape", b'{"orderId":"\\x41","numItems":1}', (B, "invalid-json")),
    refuses("Latin-1", '{"orderId":"ä","numItems":1}'.encode("latin-1"), (B, "invalid-utf8")),
    refuses("UTF-16", '{"orderId":"x","numItems":1}'.encode("utf-16"), (B, "invalid-utf8")),
    refuses("overlong UTF-8", b'{"orderId":"\xc0\xaf","numItems":1}', (B, "invalid-utf8")),
    refuses("surrogate as UTF-8", b'{"orderId":"\xed\xa0\x80","numItems":1}', (B, "invalid-utf8")),
    refuses("key twice", b'{"orderId":"x","orderId":"y","numItems":1}', (B, "duplicate-key")),
    refuses("key twice, escaped once", b'{"orderId":"x","\\u006frderId":"y","numItems":1}', (B, "duplicate-key")),
    refuses("unknown key twice", b'{"orderId":"x","numItems":1,"a":1,"a":1}', (B, "duplicate-key")),
    refuses("key twice in an item", raw('1,"price":1'), (B, "duplicate-key")),
    refuses("an array", b"[]", (B, "invalid-type")),
    refuses("a text", b'"x"', (B, "invalid-type")),
    refuses("a number", b"5", (B, "invalid-type")),
    refuses("null", b"null", (B, "invalid-type")),
    refuses("NaN alone", b"NaN", (B, "invalid-type")),
    refuses("NaN in an unknown field", raw(extra=',"more":[1,NaN]'), ("more[1]", "not-finite")),
    refuses("lone surrogate in an unknown field", raw(extra=f',"more":"{SURROGATE}"'), ("more", "invalid-characters")),
    accepts("surrogate pair in an unknown field", raw(extra=',"more":"\\ud83d\\ude00"')),
    accepts("5,000 digits in an unknown field", raw(extra=f',"more":{LONG}')),
    accepts("1e999999 in an unknown field", raw(extra=',"more":1e999999')),
    accepts("nesting of 32", nested(32)),
    refuses("nesting of 33", nested(33), (B, "too-deep")),
    refuses("nesting of 100,000", b"[" * 100_000, (B, "too-deep")),
    refuses("nesting of objects", b'{"a":' * 40 + b"1" + b"}" * 40, (B, "too-deep")),
    accepts("brackets in a text are no nesting", raw(extra=f',"more":"{"[{" * 40}"')),
    accepts("a body of 256 KiB", padded(256 * 1024)),
    Row(
        "a body over 256 KiB",
        "cart",
        "POST",
        "/api/create-order",
        413,
        padded(256 * 1024 + 1).encode(),
        code="payload-too-large",
    ),
    Row("rubbish over 256 KiB", "cart", "POST", "/api/create-order", 413, b"\xff" * 300_000, code="payload-too-large"),
]

TOGETHER: list[Row] = [
    refuses(
        "every fault at once",
        {"orderId": "", "customerId": 5, "currency": "x", "items": [line(quantity=0, price=-1), line(itemId=None)]},
        ("orderId", "blank"),
        ("customerId", "invalid-type"),
        ("currency", "unknown-currency"),
        ("items[0].quantity", "out-of-range"),
        ("items[0].price", "out-of-range"),
        ("items[1].itemId", "required"),
    ),
    refuses(
        "every fault of the short form",
        {"orderId": "a b", "numItems": 0},
        ("orderId", "invalid-characters"),
        ("numItems", "out-of-range"),
    ),
]

ROWS: list[Row] = [*FORMS, *IDS, *COUNTS, *MONEY, *SYNTAX, *TOGETHER]
