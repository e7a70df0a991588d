"""Rows of the order service: details, ids of a topic, statistics."""

from base64 import urlsafe_b64encode

from tests.http.table.row import ID, Row, read

DETAILS, IDS, STATS = "/api/order-details", "/api/getAllOrderIdsFromTopic", "/api/stats"
TOPIC = "topicName=order-events"
KNOWN = f"orderId={ID}&wait=30"


def details(name: str, query: str, status: int, code: str | None = None, **rest: object) -> Row:
    return read(f"details: {name}", DETAILS, query, status, code, **rest)


def ids(name: str, query: str, status: int, code: str | None = None, **rest: object) -> Row:
    return read(f"ids: {name}", IDS, query, status, code, visible="given" in rest, **rest)


def bad_details(name: str, query: str, *faults: tuple[str, str]) -> Row:
    return details(name, query, 400, "invalid-input", faults=faults)


def bad_ids(name: str, query: str, *faults: tuple[str, str]) -> Row:
    return ids(name, query, 400, "invalid-input", faults=faults)


def cursor(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


DETAILS_ROWS: list[Row] = [
    details(
        "known",
        KNOWN,
        200,
        given="pending",
        answer={"success": True, "data.orderId": ID, "message": f"Order '{ID}' retrieved successfully"},
        holds=(b'"totalAmount":1999.98', b'"shippingCost":39.99'),
        replied={"etag": '"1"'},
    ),
    details("known at a version", f"{KNOWN}&minVersion=2", 200, given="confirmed", replied={"etag": '"2"'}),
    details("every status", f"{KNOWN}&minVersion=4", 200, given="delivered", answer={"data.status": "delivered"}),
    details("id trimmed", f"orderId=%20+{ID}%09&wait=30", 200, given="pending"),
    details("id escaped", f"order%49d={ID}&wait=30", 200, given="pending"),
    details("unknown parameters ignored", f"{KNOWN}&foo=1&bar", 200, given="pending"),
    details("empty pieces ignored", f"&&{KNOWN}&", 200, given="pending"),
    details("unknown", f"orderId={ID}", 404, "order-not-found"),
    details("unknown after waiting", f"orderId={ID}&wait=0.05", 404, "order-not-found"),
    details("unknown at a version", f"orderId={ID}&minVersion=3", 404, "order-not-found"),
    details(
        "version in the future",
        f"orderId={ID}&minVersion=9&wait=0.05",
        409,
        "version-not-reached",
        given="pending",
        visible=True,  # before it is asked for: within so little time a slow machine would not know the order at all
        answer={"currentVersion": 1},
        replied={"retry-after": "1"},
    ),
    bad_details("no id", "", ("orderId", "required")),
    bad_details("wrong name", "orderid=x", ("orderId", "required")),
    bad_details("id empty", "orderId=", ("orderId", "blank")),
    bad_details("id without a value", "orderId", ("orderId", "blank")),
    bad_details("id blank", "orderId=%20%20", ("orderId", "blank")),
    bad_details("id of 65 characters", "orderId=" + "x" * 65, ("orderId", "too-long")),
    bad_details("id with a slash", "orderId=a%2Fb", ("orderId", "invalid-characters")),
    bad_details("id with NUL", "orderId=a%00b", ("orderId", "invalid-characters")),
    bad_details("id not UTF-8", "orderId=%ff", ("orderId", "invalid-utf8")),
    bad_details("id twice", "orderId=x&orderId=x", ("orderId", "repeated-parameter")),
    bad_details("unknown parameter twice", "orderId=x&a=1&a=2", ("a", "repeated-parameter")),
    bad_details("version 0", "orderId=x&minVersion=0", ("minVersion", "out-of-range")),
    bad_details("version -1", "orderId=x&minVersion=-1", ("minVersion", "out-of-range")),
    bad_details("version 2^31", "orderId=x&minVersion=2147483648", ("minVersion", "out-of-range")),
    details("version 2^31-1", f"orderId={ID}&minVersion=2147483647", 404, "order-not-found"),
    bad_details("version of 5,000 digits", "orderId=x&minVersion=" + "9" * 5_000, ("minVersion", "out-of-range")),
    bad_details("version 1.0", "orderId=x&minVersion=1.0", ("minVersion", "invalid-type")),
    bad_details("version in words", "orderId=x&minVersion=one", ("minVersion", "invalid-type")),
    bad_details("version empty", "orderId=x&minVersion=", ("minVersion", "blank")),
    bad_details("version in other digits", "orderId=x&minVersion=%D9%A3", ("minVersion", "invalid-type")),
    bad_details("wait 31", "orderId=x&wait=31", ("wait", "out-of-range")),
    bad_details("wait -1", "orderId=x&wait=-1", ("wait", "out-of-range")),
    bad_details("wait nan", "orderId=x&wait=nan", ("wait", "invalid-type")),
    bad_details("wait inf", "orderId=x&wait=inf", ("wait", "invalid-type")),
    bad_details("wait 1e3", "orderId=x&wait=1e3", ("wait", "invalid-type")),
    bad_details(
        "every fault",
        "minVersion=0&wait=31&orderId=",
        ("orderId", "blank"),
        ("minVersion", "out-of-range"),
        ("wait", "out-of-range"),
    ),
]

IDS_ROWS: list[Row] = [
    ids(
        "all",
        TOPIC,
        200,
        given="pending",
        answer={
            "success": True,
            "topicName": "order-events",
            "message": "Successfully retrieved order IDs from topic 'order-events'",
        },
        holds=(ID.encode(),),
    ),
    ids("a page", f"{TOPIC}&limit=1", 200, given="pending", answer={"count": 1}, holds=(b'"nextCursor":',)),
    ids("other topic", "topicName=payments", 404, "topic-not-found"),
    ids("topic in capitals", "topicName=Order-Events", 404, "topic-not-found"),
    bad_ids("no name", "", ("topicName", "required")),
    bad_ids("name empty", "topicName=", ("topicName", "blank")),
    bad_ids("name blank", "topicName=%20", ("topicName", "blank")),
    bad_ids("name with a slash", "topicName=a/b", ("topicName", "invalid-characters")),
    bad_ids("name of dots", "topicName=..", ("topicName", "invalid-characters")),
    bad_ids("name of 250 characters", "topicName=" + "t" * 250, ("topicName", "too-long")),
    bad_ids("name twice", f"{TOPIC}&{TOPIC}", ("topicName", "repeated-parameter")),
    bad_ids("limit 0", f"{TOPIC}&limit=0", ("limit", "out-of-range")),
    bad_ids("limit 10,001", f"{TOPIC}&limit=10001", ("limit", "out-of-range")),
    bad_ids("limit in words", f"{TOPIC}&limit=all", ("limit", "invalid-type")),
    bad_ids("cursor empty", f"{TOPIC}&cursor=", ("cursor", "invalid-cursor")),
    *(
        bad_ids(f"cursor of {text}", f"{TOPIC}&cursor={cursor(text)}", ("cursor", "invalid-cursor"))
        for text in (
            "1.-1.0.0",
            "1.0.-1.0",
            "1.0.0.-1",
            "1.-5.-3.0",
            "1.-100000000000000000000000000.0.0",
            f"1.{2**63}.0.0",
            f"1.0.0.{2**63}",
            "1.0.0",
            "2.0.0.0",
        )
    ),
    ids("a cursor beyond everything", f"{TOPIC}&limit=1&cursor={cursor(f'1.{2**63 - 1}.0.0')}", 200, given="pending"),
    bad_ids("cursor made up", f"{TOPIC}&cursor=abc", ("cursor", "invalid-cursor")),
    bad_ids("cursor not ASCII", f"{TOPIC}&cursor=%C3%A4", ("cursor", "invalid-cursor")),
    bad_ids("cursor of 5,000 characters", f"{TOPIC}&cursor=" + "MS4w" * 1_250, ("cursor", "invalid-cursor")),
    bad_ids(
        "all wrong",
        "limit=x&cursor=y",
        ("topicName", "required"),
        ("limit", "invalid-type"),
        ("cursor", "invalid-cursor"),
    ),
]

STATS_ROWS: list[Row] = [
    read(
        "stats",
        STATS,
        "",
        200,
        answer={"success": True, "truncated": False, "gaps": 0, "late": 0, "parked": 0, "deadLetters": 0},
        holds=(b'"orderIds":[', b'"byStatus":{'),
    ),
    read("stats with ids", STATS, "ids=true", 200, holds=(b'"orderIds":[',)),
    read("stats without ids", STATS, "ids=false", 200, answer={"orderIds": ..., "truncated": False}),
    read("stats: ids in capitals", STATS, "ids=False", 400, "invalid-input", faults=[("ids", "invalid-type")]),
    read("stats: ids 0", STATS, "ids=0", 400, "invalid-input", faults=[("ids", "invalid-type")]),
    read("stats: ids empty", STATS, "ids=", 400, "invalid-input", faults=[("ids", "blank")]),
    read("stats: ids twice", STATS, "ids=true&ids=false", 400, "invalid-input", faults=[("ids", "repeated-parameter")]),
]

ROWS: list[Row] = [*DETAILS_ROWS, *IDS_ROWS, *STATS_ROWS]
