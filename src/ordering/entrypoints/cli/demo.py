"""``ordering demo``: the README's flow against running services, or against its own in a temporary folder."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from ordering.domain.currencies import CURRENCIES
from ordering.domain.shipping import shipping_cost
from ordering.entrypoints.process import StartupError, url
from ordering.entrypoints.settings import CONFIG, OPTIONS, Settings, load

SECONDS: Final = 60.0
TOTAL: Final = Decimal("1999.98")
"""What the demonstration's cart costs."""


@attrs.frozen
class Services:
    """Where the two services answer."""

    cart: str
    order: str
    settings: Settings
    """What they run with."""

    @property
    def host(self) -> str | None:
        """The Host header they answer to; None: any."""
        return next(iter(self.settings.allowed_hosts), None)


def play() -> int:
    """Create, read, confirm, list; 0 if every answer is as promised."""
    settings = load(os.environ).settings
    with contextlib.ExitStack() as stack:
        return _Flow(_running(settings) or stack.enter_context(_started())).run()


class _Flow:
    """The steps, each printed with its answer."""

    def __init__(self, services: Services) -> None:
        self._services, self._topic = services, services.settings.topic
        self._order_id = f"demo-{time.time_ns() // 1_000_000:x}"
        self._surprises: list[str] = []

    def run(self) -> int:
        order_id, order = self._order_id, self._services.order
        print(f"cart service {self._services.cart}, order service {order}\n")
        items = [{"itemId": "LAPTOP-1", "quantity": 2, "price": 999.99}]
        cart = {"orderId": order_id, "currency": "USD", "items": items}
        placed = self._step("place an order", "POST", f"{self._services.cart}/api/create-order", cart)
        self._expect("totalAmount", placed, float(TOTAL))
        details = f"{order}/api/order-details?orderId={order_id}"
        seen = self._step("read it from the order service", "GET", f"{details}&wait=10")
        shipping = shipping_cost(TOTAL, CURRENCIES["USD"], self._services.settings.shipping_rate)
        self._expect("shippingCost", seen, float(shipping))
        change = {"orderId": order_id, "status": "confirmed"}
        self._expect(
            "status", self._step("confirm it", "PUT", f"{self._services.cart}/api/update-order", change), "confirmed"
        )
        seen = self._step("read version 2", "GET", f"{details}&minVersion=2&wait=10")
        self._expect("status", seen, "confirmed")
        ids = self._step(
            "list the topic's orders", "GET", f"{order}/api/getAllOrderIdsFromTopic?topicName={self._topic}"
        )
        if order_id not in ids.get("orderIds", ()):
            self._surprises.append(f"{order_id} is not among the topic's orders")
        for surprise in self._surprises:
            sys.stderr.write(f"ordering: {surprise}\n")
        return 1 if self._surprises else 0

    def _step(self, title: str, method: str, address: str, body: object = None) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body)
        print(f"# {title}\n{method} {address}" + (f"\n{sent}" if sent else ""))
        status, answer = _call(method, address, sent, host=self._services.host)
        print(f"{status} {_shortened(answer)}\n", flush=True)
        if status >= 300:
            self._surprises.append(f"{method} {address} was answered with {status}")
        return answer

    def _expect(self, field: str, answer: dict[str, Any], value: object) -> None:
        data = answer.get("data")
        found = data.get(field) if isinstance(data, dict) else None
        if found != value:
            self._surprises.append(f"{field} is {found}, not {value}")


def _shortened(answer: dict[str, Any]) -> str:
    ids = answer.get("orderIds")
    if isinstance(ids, list) and len(ids) > 5:
        answer = {**answer, "orderIds": ["...", *ids[-5:]]}
    return json.dumps(answer)


def _call(method: str, address: str, body: str | None = None, *, host: str | None = None) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
        connection.request(method, f"{parts.path}?{parts.query}", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StartupError(f"no answer from {address}: {error}") from None
    finally:
        connection.close()
    return response.status, answer if isinstance(answer, dict) else {}


def _running(settings: Settings) -> Services | None:
    """The configured services, if both answer; one alone is no system to play with."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 -- read, not bound
    services = Services(url(host, settings.cart_port), url(host, settings.order_port), settings)
    answers = [_is_ours(base, services.host) for base in (services.cart, services.order)]
    if all(answers):
        return services
    if any(answers):
        missing = services.order if answers[0] else services.cart
        raise StartupError(f"only one of the services runs: nothing of ours answers at {missing}")
    return None


def _is_ours(base: str, host: str | None) -> bool:
    try:
        status, answer = _call("GET", f"{base}/health/live", host=host)
    except StartupError:
        return False
    return status == 200 and "status" in answer


@contextlib.contextmanager
def _started() -> Iterator[Services]:
    """Both services on free ports in a temporary folder, ended again at the end. They take no setting of the real ones:
    nothing of a demonstration may come into a topic or a database that matters."""
    with tempfile.TemporaryDirectory(prefix="ordering-demo-") as folder:
        print("no services are running: starting them in a temporary folder")
        ours = {"ORDERING_DATA_DIR": folder, "CART_API_PORT": "0", "ORDER_API_PORT": "0", "ORDERING_LOG_LEVEL": "error"}
        named = {CONFIG, *(option.name for option in OPTIONS.values())}
        families = tuple(option.prefix for option in OPTIONS.values() if option.prefix)
        kept = {name: text for name, text in os.environ.items() if name not in named and not name.startswith(families)}
        process = subprocess.Popen(
            [sys.executable, "-m", "ordering", "serve", "all"], env={**kept, **ours}, stdout=subprocess.PIPE, text=True
        )
        try:
            yield _printed_urls(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _printed_urls(process: "subprocess.Popen[str]") -> Services:
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        match = re.match(r"(cart|order) service:\s+(\S+)", line)
        if match:
            found[match[1]] = match[2]
        if len(found) == 2:
            return Services(**found, settings=Settings())
    raise StartupError(f"the services could not be started (exit status {process.wait()})")
