"""Rows of everything else: service pages, other methods, unknown paths."""

from tests.http.table.row import Row


def get(service: str, path: str, status: int = 200, **rest: object) -> Row:
    return Row(f"{service} GET {path}", service, "GET", path, status, **rest)  # type: ignore[arg-type]


def unknown(service: str, method: str, path: str) -> Row:
    return Row(f"{service} {method} {path} is unknown", service, method, path, 404, code="route-not-found")


def not_allowed(service: str, method: str, path: str, allow: str) -> Row:
    replied = {"allow": allow}
    code = "method-not-allowed" if method != "HEAD" else None
    return Row(f"{service} {method} {path} is not allowed", service, method, path, 405, code=code, replied=replied)


def head(service: str, path: str) -> Row:
    return Row(f"{service} HEAD {path}", service, "HEAD", path, 200)


CREATE, UPDATE, DETAILS = "/api/create-order", "/api/update-order", "/api/order-details"
READ = "GET, HEAD, OPTIONS"

PAGES: list[Row] = [
    get(
        "cart",
        "/",
        answer={"service": "CartService", "status": "running"},
        holds=(b'"kafka_broker":', b'"schema_registry":'),
    ),
    get(
        "order",
        "/",
        answer={"service": "OrderService", "status": "running", "role": "Consumer", "consuming_topic": "order-events"},
        holds=(b'"consumer_group":', b'"processed_orders":'),
    ),
    get("cart", "/health", answer={"status": "healthy", "causes": [], "codes": []}),
    get("order", "/health", answer={"status": "healthy", "consumer_running": True}),
    *(get(service, "/health/live", answer={"status": "alive"}) for service in ("cart", "order")),
    *(
        get(service, "/health/ready", answer={"status": "ready", "causes": [], "codes": []})
        for service in ("cart", "order")
    ),
    *(
        get(service, "/metrics", replied={"content-type": "text/plain; version=0.0.4; charset=utf-8"})
        for service in ("cart", "order")
    ),
    *(get(service, "/docs", replied={"content-type": "text/html; charset=utf-8"}) for service in ("cart", "order")),
    *(get(service, "/redoc", replied={"content-type": "text/html; charset=utf-8"}) for service in ("cart", "order")),
    *(get(service, "/openapi.json", answer={"openapi": "3.1.0"}) for service in ("cart", "order")),
    get("cart", "/health/", answer={"status": "healthy"}),
    head("cart", "/"),
    head("cart", "/health"),
    head("order", "/health/live"),
    head("order", "/api/stats"),
    Row("OPTIONS names the methods", "cart", "OPTIONS", CREATE, 204, replied={"allow": "OPTIONS, POST"}),
]

REFUSED: list[Row] = [
    unknown("cart", "GET", "/nothing"),
    unknown("cart", "GET", "/api"),
    unknown("cart", "POST", "/api/create-order/x"),
    unknown("cart", "GET", DETAILS),
    unknown("cart", "GET", "/API/create-order"),
    unknown("cart", "GET", "/docs/assets/../../etc/passwd"),
    unknown("cart", "GET", "/docs/assets/%2e%2e%2f__init__.py"),
    unknown("order", "POST", CREATE),
    unknown("order", "DELETE", "/api/nothing"),
    unknown("order", "GET", "/schema"),
    not_allowed("cart", "GET", CREATE, "OPTIONS, POST"),
    not_allowed("cart", "PUT", CREATE, "OPTIONS, POST"),
    not_allowed("cart", "HEAD", CREATE, "OPTIONS, POST"),
    not_allowed("cart", "DELETE", UPDATE, "OPTIONS, PUT"),
    not_allowed("cart", "POST", UPDATE, "OPTIONS, PUT"),
    not_allowed("cart", "PATCH", UPDATE, "OPTIONS, PUT"),
    not_allowed("cart", "POST", "/health", READ),
    not_allowed("order", "POST", DETAILS, READ),
    not_allowed("order", "DELETE", "/api/stats", READ),
    not_allowed("order", "PUT", "/", READ),
]

ROWS: list[Row] = [*PAGES, *REFUSED]
