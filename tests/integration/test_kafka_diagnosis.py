"""What people are told about a broker that cannot be reached, from what librdkafka says about it."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.diagnosis import Diagnosis, certificate_verdict
from tests.services.certificates import Authority
from tests.services.processes import HOST
from tests.services.unhurried import give_brokers_time

pytestmark = pytest.mark.process

CREDENTIALS = "the broker does not accept our user or password"
REFUSED = KafkaError(
    KafkaError._AUTHENTICATION,
    "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid "
    "credentials with SASL mechanism SCRAM-SHA-256 (after 12ms in state AUTH_REQ)",
)
GONE = KafkaError(
    KafkaError._TRANSPORT,
    "ssl://h:1/bootstrap: Connect to ipv4#h:1 failed: Connection refused (after 0ms in state CONNECT)",
)
UNREACHED = KafkaException(KafkaError(KafkaError._TRANSPORT, "Failed to get metadata"))
CLOSED = (
    "127.0.0.1:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 1ms in state %s)"
)


def test_the_reason_explains_that_no_broker_is_reached_and_nothing_else() -> None:
    """An answer of a broker speaks for itself."""
    diagnosis = Diagnosis({})
    assert diagnosis.explain(UNREACHED).reason == "no broker can be reached"
    diagnosis.heard(REFUSED)
    for failure in (UNREACHED, TimeoutError()):
        assert diagnosis.explain(failure).reason == CREDENTIALS
    absent = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    assert diagnosis.explain(absent).reason == "the topic does not exist"


def test_a_reason_ends_with_an_answer_and_with_other_news() -> None:
    """A broker that has gone since is no longer one that refuses us."""
    diagnosis = Diagnosis({})
    diagnosis.heard(REFUSED)
    diagnosis.heard(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert diagnosis.reason == CREDENTIALS
    diagnosis.heard(GONE)
    assert diagnosis.reason is None
    diagnosis.heard(REFUSED)
    diagnosis.clear()
    assert diagnosis.reason is None


def test_a_hang_up_tells_something_only_before_the_first_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Brokers close idle connections, too: that is no reason, and no line of the log."""
    caplog.set_level(logging.DEBUG, "ordering.kafka")
    diagnosis = Diagnosis({})
    diagnosis.log(logging.INFO, "FAIL [%s] %s", "c", CLOSED % "UP")
    assert diagnosis.reason is None
    diagnosis.log(logging.INFO, "FAIL [%s] %s", "c", CLOSED % "APIVERSION_QUERY")
    assert diagnosis.reason is not None
    assert "it may want TLS" in diagnosis.reason
    assert not caplog.records
    diagnosis.log(logging.ERROR, "ODD [%s] %s", "c", "something else")
    assert [record.getMessage() for record in caplog.records] == ["ODD [c] something else"]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake takes as long as this machine needs for it."""
    give_brokers_time(monkeypatch)


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port at which a TLS handshake is answered, and nothing more."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, HOST, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("right", None),
        ("CA", "the broker's certificate is not signed by an authority that we trust"),
        ("no CA", "the broker's certificate is not signed by an authority that we trust"),
        ("host", "the broker's certificate is made out to another host name than the one we connect to"),
        ("host that does not matter", None),
        ("no such file", None),
    ],
)
async def test_the_certificate_is_looked_at(tmp_path: Path, case: str, told: str | None) -> None:
    """By a handshake of our own that checks what librdkafka checks."""
    authority = Authority(tmp_path)
    ca: Path | None = authority.ca
    match case:
        case "CA":
            ca = Authority(tmp_path, "stranger").ca
        case "no CA":
            ca = None
        case "no such file":
            ca = tmp_path / "missing"
    context = authority.server("broker.example" if case.startswith("host") else HOST)
    async with listening(context) as port:
        verdict = await asyncio.to_thread(
            certificate_verdict,
            HOST,
            port,
            ca=None if ca is None else str(ca),
            ca_pem=None,
            names_matter=case != "host that does not matter",
        )
    assert verdict == told


async def test_the_verdict_takes_the_place_of_the_guess_until_something_else_is_heard(tmp_path: Path) -> None:
    """librdkafka has one text for all that can be wrong with a certificate."""
    authority = Authority(tmp_path)
    connection = KafkaConnection("h:1", {"security.protocol": "SSL", "ssl.ca.location": str(authority.ca)})
    async with listening(authority.server("broker.example")) as port:
        failure = (
            f"ssl://{HOST}:{port}/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: x"
        )
        diagnosis = connection.diagnosis()
        diagnosis.heard(KafkaError(KafkaError._SSL, failure))
        await asyncio.to_thread(diagnosis.wait)
        for _ in range(2):
            assert diagnosis.reason is not None
            assert diagnosis.reason.startswith("the broker's certificate is made out to another host name")
            diagnosis.heard(KafkaError(KafkaError._SSL, failure))
    diagnosis.heard(GONE)
    assert diagnosis.reason is None
