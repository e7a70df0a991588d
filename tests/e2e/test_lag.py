"""The cart service's page tells how late the read model is, while nobody fills it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running import PATIENCE, environment, until
from tests.faults.cluster import Cluster, Instance, running

pytestmark = [pytest.mark.process, pytest.mark.slow]

WATCHED_SECONDS = 5.0
SAMPLE_SECONDS = 1.5
"""A sample is taken every second."""
CLOCKS = 0.1
"""A record's time is in whole milliseconds, and by another clock."""
Services = tuple[Instance, Instance]


@pytest.fixture(params=["embedded", "cluster"])
def services(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Services]:
    """Both services, each a process of its own."""
    with ExitStack() as ending:
        if request.param == "embedded":
            env = environment(tmp_path / "data", ORDERING_MODE="embedded")
            for name in ("CART_API_PORT", "ORDER_API_PORT"):
                del env[name]
            cart, order = (Instance(part, part, env, tmp_path, None) for part in ("cart", "order"))
            for instance in (cart, order):
                ending.callback(lambda instance=instance: instance.process and instance.kill())
                instance.start()
            yield cart, order
            return
        kafka, registry, postgres = (request.getfixturevalue(name) for name in ("kafka", "registry", "postgres"))
        name = f"lag-{uuid4().hex[:8]}"
        database = postgres.create_database(name)
        ending.callback(postgres.drop_database, name)
        parts = {"bootstrap": kafka.bootstrap, "registry": registry.url, "database": database}
        cluster = ending.enter_context(running(Cluster(tmp_path, topic=name, **parts)))
        cluster.prepare()
        yield cluster.cart(), cluster.order()


def place(cart: Instance, order_id: str) -> None:
    """Create an order."""
    body = json.dumps({"orderId": order_id, "numItems": 1}).encode()
    with urllib.request.urlopen(f"{cart.url}/api/create-order", body, timeout=PATIENCE) as answer:  # noqa: S310 -- loopback
        assert answer.status == 201


def lag(instance: Instance) -> tuple[float, float]:
    """Events and seconds, of the only group there is, as the page has them."""
    with urllib.request.urlopen(f"{instance.url}/metrics", timeout=PATIENCE) as answer:  # noqa: S310 -- loopback
        page = answer.read().decode()
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if "group" in sample.labels
    }
    return found["ordering_consumer_lag_events"], found["ordering_consumer_lag_seconds"]


def test_the_lag_grows_by_a_second_a_second_while_the_order_service_is_stopped(services: Services) -> None:
    """From the first event that waits, not before: a read model that has everything is not late, however long ago
    that was. And it is 0 again when the service has caught up."""
    cart, order = services
    place(cart, "seen")
    until(lambda: lag(order) == (0, 0) == lag(cart), "everything is applied, and both pages say so")

    order.stop()
    stopped = time.monotonic()
    until(lambda: time.monotonic() - stopped > 2, "a while")  # longer than a sample is shown
    assert lag(cart) == (0, 0)

    before = time.monotonic()
    place(cart, "waits")
    placed, readings = time.monotonic(), [0.0]

    def is_as_late_as_the_clock_says() -> bool:
        """Of a page whose sample is fresh, which on a busy machine is not every one."""
        asked = time.monotonic()
        events, seconds = lag(cart)
        readings.append(seconds)
        assert events in (0, 1)
        assert seconds <= time.monotonic() - before + CLOCKS
        return asked - placed >= WATCHED_SECONDS and seconds >= asked - placed - SAMPLE_SECONDS

    until(is_as_late_as_the_clock_says, "it has waited for some seconds, and the page says so")
    assert readings == sorted(readings)
    order.start()
    until(lambda: lag(cart) == (0, 0) == lag(order), "it has caught up")
