"""TLS and accounts, set as people set them: on a real broker, a real PostgreSQL and a registry behind HTTPS.

Whoever is right gets in, and nothing of what an order says passes in clear. Whoever is wrong is told why in one line,
by the command and by the readiness of the services, and no line shows a secret.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import attrs
import pytest

from tests.e2e.running import until
from tests.faults.cluster import PATIENCE, Cluster, running
from tests.integration.security.secured import (
    PASSWORD,
    WRONG,
    Recorder,
    World,
    causes,
    no_secret_and_no_trace,
    placed,
    refused,
    scram,
    shown,
    tls,
    with_registry,
)
from tests.services.postgres import Postgres
from tests.services.processes import HOST
from tests.services.proxy import Proxy
from tests.services.registry_stub import RegistryStub

pytestmark = [pytest.mark.process, pytest.mark.slow]


# ------------------------------------------------------------------------------------------------ who is right


def test_with_everything_secured_an_order_is_visible_and_nothing_of_it_passes_in_clear(
    world: World, server: Postgres, registry: RegistryStub, tmp_path: Path
) -> None:
    """Broker with TLS and SCRAM, database with verify-full, registry with HTTPS and an account; every byte between the
    services and broker or database is looked at."""
    with ExitStack() as stack:
        to_kafka = stack.enter_context(Proxy(world.kafka.proxied, port=world.kafka.proxy_port))
        to_database = stack.enter_context(Proxy(f"{HOST}:{server.port}"))
        to_kafka.watch, to_database.watch = kafka_bytes, database_bytes = Recorder(), Recorder()
        url = server.create_database("all-secured").replace(f":{server.port}/", f":{to_database.port}/")
        cluster = stack.enter_context(
            running(
                Cluster(
                    tmp_path,
                    bootstrap=world.kafka.behind_proxy,
                    registry=registry.url,
                    database=f"{url}?sslmode=verify-full&sslrootcert={world.authority.ca}",
                    topic="all-secured",
                    **scram(world.authority),
                    **with_registry(world),
                )
            )
        ).prepare()
        cart, order = cluster.cart(), cluster.order()
        assert placed(cart, order, "ORD-CANARY-77") == "ORD-CANARY-77"
        for recorder in (kafka_bytes, database_bytes):
            assert recorder.count > 10_000
            assert not recorder.saw("ORD-CANARY-77")
            assert not recorder.saw(PASSWORD)
            assert not recorder.saw(server.password)
        no_secret_and_no_trace(cluster)
        assert not cart.said(server.password)
        assert {cart.stop(), order.stop()} == {0}


def test_the_recorder_sees_what_passes_in_clear() -> None:
    """Else the test above would show nothing: here the same canary passes without TLS."""
    recorder, stub = Recorder(), RegistryStub()
    try:
        with Proxy(f"{HOST}:{stub.port}") as proxy:
            proxy.watch = recorder
            with urlopen(f"http://{proxy.address}/apis/ccompat/v7/subjects?of=ORD-CANARY-77") as answer:
                assert answer.status == 200
    finally:
        stub.down()
    assert recorder.saw("ORD-CANARY-77")
    assert not recorder.saw("ORD-CANARY-78")


def test_a_client_certificate_opens_the_door(world: World, registry: RegistryStub, tmp_path: Path) -> None:
    """Where the broker asks for one; stores in files this time."""
    settings = {**tls(world.authority), **shown(world.authority.issue("cart-service")), **with_registry(world)}
    address = world.kafka.addresses["MUTUAL"]
    made = Cluster(tmp_path, bootstrap=address, registry=registry.url, database=None, topic="mutual", **settings)
    with running(made) as cluster:
        cluster.prepare()
        cart, order = cluster.cart(), cluster.order()
        assert placed(cart, order, "ORD-1") == "ORD-1"


# ------------------------------------------------------------------------------------------------ who is wrong


@attrs.frozen
class Wrong:
    """A way of being wrong: which listener, with which settings, and the line that people see."""

    listener: str
    settings: Callable[[World], Mapping[str, str]]
    line: str


_CLIENT = (
    "the broker does not accept our client certificate: it is out of date, or signed by an authority that the broker "
    "does not trust"
)
_ACCOUNT = "the broker does not accept our user or password"
WRONGS = {
    "CA": Wrong(
        "TLS", lambda w: tls(w.stranger), "the broker's certificate is not signed by an authority that we trust"
    ),
    "host name": Wrong(
        "OTHERHOST",
        lambda w: tls(w.authority),
        "the broker's certificate is made out to another host name than the one we connect to",
    ),
    "expired": Wrong("EXPIRED", lambda w: tls(w.authority), "the broker's certificate has expired"),
    "password": Wrong("SCRAM", lambda w: scram(w.authority, password=WRONG), _ACCOUNT),
    "user": Wrong("SCRAM", lambda w: scram(w.authority, user="nobody"), _ACCOUNT),
    "mechanism": Wrong(
        "SCRAM",
        lambda w: {**scram(w.authority), "KAFKA_SASL_MECHANISM": "PLAIN"},
        "the broker does not know our SASL mechanism",
    ),
    "plaintext": Wrong(
        "TLS",
        lambda _: {},
        "the broker closes each connection before it says a word: it may want TLS (another security protocol)",
    ),
    "TLS to plaintext": Wrong(
        "PLAINTEXT",
        lambda w: tls(w.authority),
        "the broker does not speak TLS at this address: another security protocol is needed",
    ),
    "account not asked for": Wrong(
        "TLS",
        lambda w: scram(w.authority),
        "the broker does not ask for a user at this address: another security protocol is needed",
    ),
    "no client certificate": Wrong(
        "MUTUAL", lambda w: tls(w.authority), "the broker asks for a client certificate, and we have none"
    ),
    "expired client certificate": Wrong(
        "MUTUAL", lambda w: {**tls(w.authority), **shown(w.authority.issue("late", expired=True))}, _CLIENT
    ),
    "foreign client certificate": Wrong(
        "MUTUAL", lambda w: {**tls(w.authority), **shown(w.stranger.issue("nobody"))}, _CLIENT
    ),
}


@pytest.mark.parametrize("wrong", WRONGS.values(), ids=WRONGS.keys())
def test_who_is_wrong_is_told_why_in_one_line(world: World, wrong: Wrong, tmp_path: Path) -> None:
    """The command ends with it; both services stay up, are not ready, and say it as their cause."""
    made = Cluster(
        tmp_path,
        bootstrap=world.kafka.addresses[wrong.listener],
        registry="http://127.0.0.1:9",
        database=None,
        topic="refused",
        **wrong.settings(world),
    )
    with running(made) as cluster:
        services = [cluster.cart(start=False).start(wait=False), cluster.order(start=False).start(wait=False)]
        assert refused("topics", "ensure", env=cluster.env) == wrong.line
        for service in services:
            until(
                lambda service=service: causes(service) == [wrong.line],  # type: ignore[misc]
                f"{service.name} is not ready: {wrong.line}",
                PATIENCE,
            )
        assert [service.stop() for service in services] == [0, 0]
        no_secret_and_no_trace(cluster)


def test_the_right_setting_at_a_restart_is_all_it_takes(world: World, registry: RegistryStub, tmp_path: Path) -> None:
    """Nothing of the time with the wrong one remains."""
    right = {**scram(world.authority), **with_registry(world)}
    address = world.kafka.addresses["SCRAM"]
    made = Cluster(tmp_path, bootstrap=address, registry=registry.url, database=None, topic="restarted", **right)
    with running(made) as cluster:
        cluster.prepare()
        wrong = {"KAFKA_SASL_PASSWORD": WRONG}
        for service in (cluster.cart(start=False, **wrong), cluster.order(start=False, **wrong)):
            service.start(wait=False)
            until(lambda service=service: causes(service) == [_ACCOUNT], service.name, PATIENCE)  # type: ignore[misc]
            assert service.stop() == 0
        assert placed(cluster.cart(), cluster.order(), "ORD-2") == "ORD-2"
        no_secret_and_no_trace(cluster)
