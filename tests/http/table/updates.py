"""Rows of PUT /api/update-order: its body, and all 25 pairs of the life cycle."""

from tests.http.table.row import ID, Row, refuses, update

ALLOWED = {
    "pending": ["confirmed", "cancelled"],
    "confirmed": ["shipped", "cancelled"],
    "shipped": ["delivered"],
    "delivered": [],
    "cancelled": [],
}
"""The life cycle once more, written from the documentation and not from the code."""

VERSIONS = {"pending": 1, "confirmed": 2, "cancelled": 2, "shipped": 3, "delivered": 4}
"""The version of an order that took the shortest way to a status."""


def _pair(current: str, target: str) -> Row:
    name, body = f"{current} to {target}", {"orderId": ID, "status": target}
    version = VERSIONS[current]
    if current == target:
        return update(name, body, 200, given=current, answer={"data.status": target}, replied={"etag": f'"{version}"'})
    if target in ALLOWED[current]:
        answer = {"data.status": target, "data.orderId": ID, "message": f"Order '{ID}' updated successfully"}
        return update(name, body, 200, given=current, answer=answer, replied={"etag": f'"{version + 1}"'})
    answer = {"allowed": ALLOWED[current], "currentStatus": current}
    return update(name, body, 409, "illegal-transition", given=current, answer=answer)


def _refused(name: str, document: object, *faults: tuple[str, str]) -> Row:
    row = refuses(name, document, *faults)
    return update(row.name, row.body, 400, "invalid-input", faults=faults)


LIFE_CYCLE: list[Row] = [_pair(current, target) for current in ALLOWED for target in ALLOWED]

BODIES: list[Row] = [
    update("unknown order", {"orderId": ID, "status": "confirmed"}, 404, "order-not-found"),
    update("unknown order to its first status", {"orderId": ID, "status": "pending"}, 404, "order-not-found"),
    update("id and status trimmed", {"orderId": f" {ID} ", "status": "\tconfirmed\n"}, 200, given="pending"),
    update("unknown fields ignored", {"orderId": ID, "status": "confirmed", "version": "x"}, 200, given="pending"),
    _refused("nothing", {}, ("orderId", "required"), ("status", "required")),
    _refused("both null", {"orderId": None, "status": None}, ("orderId", "required"), ("status", "required")),
    _refused("both wrong", {"orderId": "", "status": "lost"}, ("orderId", "blank"), ("status", "unknown-status")),
    _refused("status missing", {"orderId": "x"}, ("status", "required")),
    _refused("status in capitals", {"orderId": "x", "status": "CONFIRMED"}, ("status", "unknown-status")),
    _refused("status capitalised", {"orderId": "x", "status": "Confirmed"}, ("status", "unknown-status")),
    _refused("status empty", {"orderId": "x", "status": ""}, ("status", "unknown-status")),
    _refused("status blank", {"orderId": "x", "status": "  "}, ("status", "unknown-status")),
    _refused("status 'not found'", {"orderId": "x", "status": "not found"}, ("status", "unknown-status")),
    _refused("status a number", {"orderId": "x", "status": 1}, ("status", "invalid-type")),
    _refused("status an array", {"orderId": "x", "status": ["shipped"]}, ("status", "invalid-type")),
    _refused("status NaN", '{"orderId":"x","status":NaN}', ("status", "invalid-type")),
    _refused("id a number", {"orderId": 5, "status": "shipped"}, ("orderId", "invalid-type")),
    _refused("id of 65 characters", {"orderId": "x" * 65, "status": "shipped"}, ("orderId", "too-long")),
    _refused("id with NUL", {"orderId": "a\x00", "status": "shipped"}, ("orderId", "invalid-characters")),
    _refused("an array", [], ("body", "invalid-type")),
    _refused("empty body", b"", ("body", "invalid-json")),
    _refused("bad UTF-8", b'{"orderId":"\xff"}', ("body", "invalid-utf8")),
    _refused("key twice", b'{"status":"shipped","status":"shipped"}', ("body", "duplicate-key")),
    update("a body over 256 KiB", b"{" + b" " * 262_144, 413, "payload-too-large"),
]

ROWS: list[Row] = [*LIFE_CYCLE, *BODIES]
