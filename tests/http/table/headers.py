"""Rows of the request headers: keys, entity tags, request ids, hosts; and their faults beside those of the body."""

from tests.http.table.row import ID, Row, body_of

GOOD = {"orderId": ID, "numItems": 1}
KEY, MATCH = "Idempotency-Key", "If-Match"
MALFORMED = "malformed-header"


def create(name: str, status: int, *headers: tuple[str, str], body: object = None, **rest: object) -> Row:
    """A create-order with headers."""
    document = body_of(GOOD if body is None else body)
    return Row(f"headers: {name}", "cart", "POST", "/api/create-order", status, document, headers=headers, **rest)  # type: ignore[arg-type]


def bad_create(
    name: str, *headers: tuple[str, str], faults: tuple[tuple[str, str], ...] = ((KEY, MALFORMED),), body: object = None
) -> Row:
    return create(name, 400, *headers, body=body, faults=faults, code="invalid-input")


def confirm(name: str, status: int, *matches: str, given: str = "pending", **rest: object) -> Row:
    """An update to confirmed with If-Match lines."""
    document = body_of({"orderId": ID, "status": "confirmed"})
    headers = tuple((MATCH, match) for match in matches)
    return Row(
        f"If-Match: {name}", "cart", "PUT", "/api/update-order", status, document, headers=headers, given=given, **rest
    )  # type: ignore[arg-type]


def bad_match(name: str, *matches: str) -> Row:
    return confirm(name, 400, *matches, code="invalid-input", faults=((MATCH, MALFORMED),))


def failed_match(name: str, *matches: str) -> Row:
    return confirm(
        name, 412, *matches, code="precondition-failed", answer={"currentVersion": 1}, replied={"etag": '"1"'}
    )


KEYS: list[Row] = [
    create("key", 201, (KEY, f"key-{ID}"), replied={"etag": '"1"'}),
    create("quoted key", 201, (KEY, f'"quoted {ID}"')),
    create("quoted key with escapes", 201, (KEY, f'"a \\"b\\" \\\\ {ID}"')),
    create("key of punctuation", 201, (KEY, f"!#$%&'()*+,-./:;<=>?@[]^_`{{|}}~{ID}")),
    create("key of 200 characters", 201, (KEY, f"{ID}{'k' * 150}")),
    bad_create("empty key", (KEY, "")),
    bad_create("quoted empty key", (KEY, '""')),
    bad_create("key of 256 characters", (KEY, "k" * 256)),
    bad_create("quoted key of 256 characters", (KEY, f'"{"k" * 256}"')),
    bad_create("key beyond ASCII", (KEY, "schl\u00fcssel")),
    bad_create("key with a tab", (KEY, "a\tb")),
    bad_create("unclosed quote", (KEY, '"abc')),
    bad_create("text after the quote", (KEY, '"abc"d')),
    bad_create("bad escape in quotes", (KEY, '"a\\b"')),
    bad_create("two keys", (KEY, "a"), (KEY, "b")),
    bad_create("the same key twice", (KEY, "a"), (KEY, "a")),
    bad_create(
        "bad key and bad body",
        (KEY, ""),
        body={"orderId": "", "numItems": 0},
        faults=((KEY, MALFORMED), ("orderId", "blank"), ("numItems", "out-of-range")),
    ),
    bad_create("bad key and no JSON", (KEY, ""), body=b"{", faults=((KEY, MALFORMED), ("body", "invalid-json"))),
]

MATCHES: list[Row] = [
    confirm("the version", 200, '"1"', replied={"etag": '"2"'}),
    confirm("any", 200, "*"),
    confirm("a list", 200, '"7", "1"'),
    confirm("a list without spaces", 200, '"7","1","9"'),
    confirm("a list with empty elements", 200, ', ,"1",'),
    confirm("two lines", 200, '"7"', '"1"'),
    confirm("weak beside strong", 200, 'W/"1", "1"'),
    failed_match("another version", '"2"'),
    failed_match("weak", 'W/"1"'),
    failed_match("a foreign tag", '"abc"'),
    failed_match("an empty tag", '""'),
    failed_match("a leading zero", '"01"'),
    failed_match("a huge version", f'"{"9" * 400}"'),
    confirm(
        "another version of an unchanged order",
        412,
        '"1"',
        given="confirmed",
        code="precondition-failed",
        answer={"currentVersion": 2},
    ),
    confirm("the version of an unchanged order", 200, '"2"', given="confirmed", replied={"etag": '"2"'}),
    confirm("before the life cycle", 412, '"1"', given="delivered", code="precondition-failed"),
    Row(
        "If-Match: unknown order",
        "cart",
        "PUT",
        "/api/update-order",
        404,
        body_of({"orderId": ID, "status": "confirmed"}),
        headers=((MATCH, '"1"'),),
        code="order-not-found",
    ),
    bad_match("empty", ""),
    bad_match("commas only", ", ,"),
    bad_match("no quotes", "1"),
    bad_match("unclosed", '"1'),
    bad_match("small w", 'w/"1"'),
    bad_match("no comma", '"1" "2"'),
    bad_match("glued", '"1""2"'),
    bad_match("any beside a tag", '*, "1"'),
    bad_match("semicolon", '"1";"2"'),
    Row(
        "If-Match: bad beside a bad key and body",
        "cart",
        "PUT",
        "/api/update-order",
        400,
        b"{}",
        headers=((MATCH, "1"), (KEY, "")),
        code="invalid-input",
        faults=((KEY, MALFORMED), (MATCH, MALFORMED), ("orderId", "required"), ("status", "required")),
    ),
]

OTHERS: list[Row] = [
    create("request id comes back", 201, ("X-Request-Id", "my-request 1"), replied={"x-request-id": "my-request 1"}),
    create(
        "request id comes back with a refusal",
        400,
        ("X-Request-Id", "r-2"),
        body=b"",
        code="invalid-input",
        faults=(("body", "invalid-json"),),
        replied={"x-request-id": "r-2"},
    ),
    create("request id of 128 characters", 201, ("X-Request-Id", "r" * 128), replied={"x-request-id": "r" * 128}),
    create("request id of 129 characters is replaced", 201, ("X-Request-Id", "r" * 129), replied={"x-request-id": ...}),
    create("request id beyond ASCII is replaced", 201, ("X-Request-Id", "\u00e4"), replied={"x-request-id": ...}),
    create(
        "two request ids are replaced", 201, ("X-Request-Id", "a"), ("X-Request-Id", "b"), replied={"x-request-id": ...}
    ),
    create("traceparent", 201, ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
    create("bad traceparent is dropped", 201, ("traceparent", "00-0-0-0"), ("tracestate", "a=b")),
    create("no content type", 201),
    create("content type text", 201, ("Content-Type", "text/plain")),
    create("content type of a form", 201, ("Content-Type", "application/x-www-form-urlencoded")),
    create("content type nonsense", 201, ("Content-Type", "multipart/form-data; boundary=")),
    create("Accept nothing we have", 201, ("Accept", "text/html"), replied={"content-type": "application/json"}),
    create("forwarded headers are not trusted", 201, ("X-Forwarded-Host", "evil"), ("X-Forwarded-Proto", "https")),
    create("success is not cached", 201, replied={"cache-control": "no-store", "x-content-type-options": "nosniff"}),
    create(
        "a refusal is not cached",
        400,
        body=b"",
        code="invalid-input",
        faults=(("body", "invalid-json"),),
        replied={"cache-control": "no-store", "x-content-type-options": "nosniff"},
    ),
    create(
        "no cross-origin page may read",
        201,
        ("Origin", "https://evil.example"),
        replied={"access-control-allow-origin": ""},
    ),
]

ROWS: list[Row] = [*KEYS, *MATCHES, *OTHERS]
