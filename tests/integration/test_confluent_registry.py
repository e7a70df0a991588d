"""A registry over the network that fails in every way: bounded time, a free event loop, nothing wrong kept."""

import asyncio
import logging
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ordering.adapters.avro import confluent
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.confluent import FAILURE_SECONDS, UNKNOWN_SECONDS, ConfluentRegistry
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry_api import RegistryApi
from ordering.application.errors import RegistryUnavailable
from ordering.application.failures import Refused
from ordering.application.messages import DeadReason, DecodedEvent, Undecodable
from tests.services.certificates import Authority
from tests.services.processes import HOST
from tests.services.registry_stub import RegistryStub
from tests.unit.adapters.avro.samples import EVENT, INHERITED, OURS, our_record

TOPIC = "order-events"
SUBJECT = "order-events-value"
NAME = OURS.entry.name
PATIENCE = 60.0
CODEC = OrderCodec()
BODY = CODEC.encode(EVENT).body

pytestmark = pytest.mark.process


class Clock:
    """Time as the client's caches see it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


Connect = Callable[..., ConfluentRegistry]


@pytest.fixture
def stub() -> Iterator[RegistryStub]:
    """A stand-in without any schema."""
    running = RegistryStub(first_id=7)
    try:
        yield running
    finally:
        running.faults.drip = False
        running.down()


@pytest.fixture
def clock() -> Clock:
    """Stands still until a test moves it."""
    return Clock()


@pytest.fixture
async def connect(stub: RegistryStub, clock: Clock) -> AsyncIterator[Connect]:
    """Makes clients of the stand-in; they are closed at the end."""
    async with AsyncExitStack() as exits:

        def connected(
            url: str | None = None,
            *,
            topic: str = TOPIC,
            auto_register: bool = False,
            **access: Any,  # noqa: ANN401
        ) -> ConfluentRegistry:
            api = RegistryApi(url or stub.url, **{"timeout_seconds": PATIENCE, **access})
            made = ConfluentRegistry(api, topic, auto_register=auto_register, monotonic=clock)
            exits.push_async_callback(made.close)
            return made

        yield connected


async def refusal(asked: Awaitable[object]) -> str:
    """The reason of a RegistryUnavailable."""
    with pytest.raises(RegistryUnavailable) as caught:
        await asked
    return caught.value.reason


async def ticks_during(asked: Awaitable[object]) -> int:
    """How often the event loop went round, at most every 10 ms, until this ended."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    turning = asyncio.create_task(turn())
    try:
        await asked
    finally:
        turning.cancel()
    return turns


# ------------------------------------------------------------------------------------------------ ids of our schemas


@pytest.mark.parametrize("topic", ["order-events", "shop.Orders_2"])
async def test_our_schema_stands_under_the_subject_of_the_topic(
    stub: RegistryStub, connect: Connect, topic: str
) -> None:
    """TopicNameStrategy, whatever the topic is called; the inherited record has a subject of its own."""
    ours, inherited = stub.put(f"{topic}-value", OURS.text), stub.put(f"{topic}-inherited-value", INHERITED.text)
    client = connect(topic=topic)
    assert [await client.id_of(NAME), await client.id_of(INHERITED.entry.name)] == [ours, inherited]


async def test_an_id_is_asked_for_once_and_kept_for_ever(stub: RegistryStub, connect: Connect, clock: Clock) -> None:
    """With a known schema nothing needs the registry, so its outage goes unnoticed."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    assert await client.id_of(NAME) == given
    assert await client.schema_of(given) is not None
    asked = len(stub.requests)
    stub.down()
    clock.now += 1e9
    assert await client.id_of(NAME) == given
    assert await client.schema_of(given) is not None
    assert len(stub.requests) == asked


async def test_a_schema_that_is_not_registered_is_told_with_the_remedy(stub: RegistryStub, connect: Connect) -> None:
    """Nothing is registered by the way: what stands in a registry is for people to decide."""
    told = await refusal(connect().id_of(NAME))
    assert told == f"schema {NAME} is not registered under subject {SUBJECT}: run `ordering schemas register`"
    assert stub.count("POST", f"/subjects/{SUBJECT}/versions") == 0


async def test_a_schema_registered_later_is_found_later(stub: RegistryStub, connect: Connect, clock: Clock) -> None:
    """A missing schema is missing for a moment, not for ever."""
    client = connect()
    await refusal(client.id_of(NAME))
    given = stub.put(SUBJECT, OURS.text)
    clock.now += FAILURE_SECONDS
    assert await client.id_of(NAME) == given


async def test_a_demonstration_registers_what_is_missing(stub: RegistryStub, connect: Connect) -> None:
    """Only by the setting; the subject gets its compatibility level too."""
    given = await connect(auto_register=True).id_of(NAME)
    assert len(stub.texts(SUBJECT)) == 1
    assert stub.level(SUBJECT) == "FULL_TRANSITIVE"
    assert await connect().id_of(NAME) == given


async def test_a_demonstration_tells_when_the_registry_refuses(stub: RegistryStub, connect: Connect) -> None:
    """The seed's schema under our subject keeps ours out."""
    stub.put(SUBJECT, INHERITED.text)
    assert "does not take schema" in await refusal(connect(auto_register=True).id_of(NAME))


async def test_an_id_under_which_another_schema_stands_is_never_used(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """A confused registry must not make us publish what nobody can read; once it is healed, nothing wrong stays."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    for wrong in ({"schema": INHERITED.text}, {"schema": OURS.text, "schemaType": "JSON"}, {"schema": "{"}):
        stub.faults.under_id[given] = wrong
        assert "another schema stands under it" in await refusal(client.id_of(NAME))
        clock.now += FAILURE_SECONDS
    stub.faults.under_id.clear()
    assert await client.id_of(NAME) == given


# ------------------------------------------------------------------------------------------------ the registry fails


async def test_a_registry_that_is_down_at_first_is_found_when_it_is_up(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """A cold start in the wrong order heals by itself."""
    given = stub.put(SUBJECT, OURS.text)
    stub.down()
    client = connect()
    assert await refusal(client.id_of(NAME)) == "the schema registry cannot be reached"
    stub.up()
    clock.now += FAILURE_SECONDS
    assert await client.id_of(NAME) == given


async def test_for_a_moment_a_failure_stands_for_the_next_ones(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """During an outage not every caller waits for an answer of its own."""
    client = connect()
    stub.down()
    told = await refusal(client.schema_of(1))
    stub.up()
    assert await refusal(client.schema_of(2)) == told
    assert await refusal(client.id_of(NAME)) == told
    assert stub.requests == []
    clock.now += FAILURE_SECONDS
    assert await client.schema_of(2) is None


async def test_a_bad_answer_to_one_question_does_not_answer_the_others(stub: RegistryStub, connect: Connect) -> None:
    """Only silence says something about the whole registry."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    stub.faults.status = 500
    await refusal(client.schema_of(given + 1))
    stub.faults.status = None
    assert await client.schema_of(given) is not None


@pytest.mark.parametrize("way", ["takes requests and is silent", "sends a byte now and then"])
async def test_a_hanging_registry_ends_the_call_in_bounded_time_and_never_blocks_the_loop(
    stub: RegistryStub, connect: Connect, way: str
) -> None:
    """Whatever it does, the call ends on its own, and the event loop served others all the while."""
    stub.faults.drip = way.startswith("sends")
    client = connect(timeout_seconds=1.0)

    async def asked() -> None:
        assert await refusal(client.schema_of(1)) == "the schema registry does not answer in time"

    with stub.holding() if way.startswith("takes") else nullcontext():
        async with asyncio.timeout(PATIENCE):
            turns = await ticks_during(asked())
    assert turns >= 10  # a blocked loop: 1


async def test_each_request_of_the_administration_is_bounded_too(stub: RegistryStub) -> None:
    """A server that always sends another byte would satisfy a timeout between bytes for ever."""
    stub.faults.drip = True
    api = RegistryApi(stub.url, timeout_seconds=1.0)
    try:
        async with asyncio.timeout(PATIENCE):
            assert await refusal(api.schema(1)) == "the schema registry does not answer in time"
    finally:
        await api.close()


async def test_after_silence_the_next_callers_do_not_wait(stub: RegistryStub, connect: Connect) -> None:
    """One caller waits for a hanging registry; those right behind it hear what it heard."""
    client = connect(timeout_seconds=1.0)
    with stub.holding():
        told = await refusal(client.schema_of(1))
        for number in range(2, 100):
            assert await refusal(client.schema_of(number)) == told
        assert stub.count("GET") == 1


async def test_callers_at_the_same_time_share_one_request(stub: RegistryStub, connect: Connect) -> None:
    """A start under load asks once."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    with stub.holding():
        callers = [asyncio.create_task(client.id_of(NAME)) for _ in range(50)]
        await asyncio.to_thread(stub.wait_for_request)
    assert await asyncio.gather(*callers) == [given] * 50
    assert stub.count("POST") == stub.count("GET") == 1


async def test_a_caller_who_leaves_takes_nothing_from_the_others(stub: RegistryStub, connect: Connect) -> None:
    """The one that began the request may be cancelled; those that wait for it get the answer."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    with stub.holding():
        first, second = asyncio.create_task(client.id_of(NAME)), asyncio.create_task(client.id_of(NAME))
        await asyncio.to_thread(stub.wait_for_request)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert await second == given
    assert stub.count("POST") == 1


async def test_closing_ends_what_is_being_asked(stub: RegistryStub, connect: Connect) -> None:
    """A stop waits for no registry, and whoever waited is told so."""
    client = connect()
    with stub.holding():
        waiting = asyncio.create_task(client.schema_of(1))
        await asyncio.to_thread(stub.wait_for_request)
        await client.close()
        assert "closed" in await refusal(waiting)
        assert "closed" in await refusal(client.schema_of(1))


@pytest.mark.parametrize(
    ("fault", "value", "told"),
    [
        ("status", 500, "answers with status 500"),
        ("status", 502, "answers with status 502"),
        ("status", 301, "answers with status 301"),
        ("status", 401, "does not accept our user or password"),
        ("status", 403, "does not allow this to our user"),
        ("status", 404, "is the path in its address right?"),
        ("page", True, "is not a schema registry"),
        ("noise", True, "does not answer in HTTP"),
    ],
)
async def test_every_other_answer_is_an_outage_with_a_plain_reason(
    stub: RegistryStub, connect: Connect, fault: str, value: object, told: str
) -> None:
    """Never "unknown id": a proxy's error page must not send a whole topic to the dead letters."""
    setattr(stub.faults, fault, value)
    assert told in await refusal(connect().schema_of(1))
    assert told in await refusal(connect().id_of(NAME))


async def test_an_address_without_its_path_is_an_outage_too(stub: RegistryStub, connect: Connect) -> None:
    """The registry's host answers, but not as a registry."""
    assert "is the path in its address right?" in await refusal(connect(stub.url.removesuffix("/v7")).schema_of(1))


async def test_an_endless_answer_is_cut_off(stub: RegistryStub, connect: Connect) -> None:
    """Memory is bounded, whoever answers."""
    stub.faults.under_id[1] = {"schema": "x" * (5 * 1024 * 1024)}
    assert "too long" in await refusal(connect().schema_of(1))


# ------------------------------------------------------------------------------------------------ foreign ids


async def test_an_unknown_id_is_asked_for_again_after_a_moment(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """The record is held; when the registry has caught up, the same record is read. Nothing is unknown for ever."""
    decoder = OrderEventDecoder(connect(), CODEC)
    record = our_record(BODY, schema_id=7)
    for _ in range(20):
        [answer] = await decoder.decode([record])
        assert isinstance(answer, Undecodable)
        assert (answer.reason, answer.key) == (DeadReason.UNKNOWN_SCHEMA, "ORD-1")
    assert stub.count("GET") == 1  # a stream of such records does not hammer the registry
    assert stub.put(SUBJECT, OURS.text) == 7
    clock.now += UNKNOWN_SECONDS
    [answer] = await decoder.decode([record])
    assert isinstance(answer, DecodedEvent)
    assert answer.encoded.body == BODY


async def test_what_is_remembered_of_unknown_ids_is_bounded(
    stub: RegistryStub, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign bytes can name four billion ids; the oldest are forgotten first."""
    monkeypatch.setattr(confluent, "_KEPT_MAX", 3)
    client = connect()
    for schema_id in (1, 2, 3, 4, 4, 2, 1):
        assert await client.schema_of(schema_id) is None
    asked = [path.rpartition("/")[2] for _, path in stub.requests]
    assert asked == ["1", "2", "3", "4", "1"]


async def test_an_id_that_no_registry_gives_is_not_asked_for(stub: RegistryStub, connect: Connect) -> None:
    """Some registries fail when asked for more than 31 bits, and that would look like an outage."""
    assert await connect().schema_of(2**32 - 1) is None
    assert stub.requests == []


@pytest.mark.parametrize(
    "stored",
    [
        {"schema": '{"type": "object"}', "schemaType": "JSON"},
        {"schema": 'syntax = "proto3"; message Order {}', "schemaType": "PROTOBUF"},
        {"schema": OURS.text, "schemaType": "JSON"},
        {"schema": OURS.text, "references": [{"name": "a", "subject": "b", "version": 1}]},
        {"schema": "no schema"},
    ],
)
async def test_a_schema_that_no_event_has_makes_dead_letters(
    stub: RegistryStub, connect: Connect, stored: dict[str, Any]
) -> None:
    """It will never be another one, so it is neither an outage nor unknown, and is asked for once."""
    stub.faults.under_id[9] = stored
    decoder = OrderEventDecoder(connect(), CODEC)
    for _ in range(3):
        [answer] = await decoder.decode([our_record(BODY, schema_id=9)])
        assert isinstance(answer, Undecodable)
        assert answer.reason == DeadReason.UNCONVERTIBLE
    assert len(stub.requests) == 1


async def test_a_registry_out_of_reach_stops_the_decoder_instead_of_judging(
    stub: RegistryStub, connect: Connect
) -> None:
    """An outage is no verdict about records."""
    stub.down()
    with pytest.raises(RegistryUnavailable):
        await OrderEventDecoder(connect(), CODEC).decode([our_record(BODY, schema_id=7)])


# ------------------------------------------------------------------------------------------------ who may ask


USER, PASSWORD = "us er", "p:s/s@w0rd?"


@pytest.fixture
def guarded() -> Iterator[RegistryStub]:
    """A stand-in that wants to know who asks."""
    running = RegistryStub(user=USER, password=PASSWORD)
    try:
        yield running
    finally:
        running.down()


def with_credentials(url: str, user: str, password: str) -> str:
    """An address with user and password in it."""
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@")


@pytest.mark.parametrize("way", ["in the address", "by setting", "by setting, over the address"])
async def test_credentials_reach_the_registry(guarded: RegistryStub, connect: Connect, way: str) -> None:
    """Basic authentication, whatever characters the password has."""
    given = guarded.put(SUBJECT, OURS.text)
    url, options = guarded.url, {"user": USER, "password": PASSWORD}
    if way == "in the address":
        url, options = with_credentials(url, USER, PASSWORD), {}
    elif way != "by setting":
        url = with_credentials(url, "somebody", "else")
    assert await connect(url, **options).id_of(NAME) == given


@pytest.mark.parametrize("state", ["wrong password", "error page", "down", "silent"])
async def test_no_error_tells_a_secret_or_an_address(guarded: RegistryStub, connect: Connect, state: str) -> None:
    """Not in its text and not in what caused it: reasons reach clients, causes reach logs."""
    url = with_credentials(guarded.url, "account-7", "hunter2-secret")
    if state == "down":
        guarded.down()
    guarded.faults.status = 500 if state == "error page" else None
    client = connect(url, timeout_seconds=1.0 if state == "silent" else PATIENCE)
    for ask in (lambda: client.schema_of(1), lambda: client.id_of(NAME)):
        with guarded.holding() if state == "silent" else nullcontext(), pytest.raises(RegistryUnavailable) as caught:
            await ask()
        assert HOST not in caught.value.reason
        told = "".join(traceback.format_exception(caught.value))
        for secret in ("account-7", "hunter2", "aHVudGVyMi"):
            assert secret not in told


async def test_no_log_and_no_advice_shows_credentials(
    guarded: RegistryStub, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The HTTP library logs every address it asks."""
    guarded.put(SUBJECT, OURS.text)
    url = with_credentials(guarded.url, USER, PASSWORD)
    caplog.set_level(logging.DEBUG)
    await connect(url).id_of(NAME)
    assert guarded.url in caplog.text
    for secret in (USER, PASSWORD, quote(USER, safe=""), quote(PASSWORD, safe="")):
        assert secret not in caplog.text
    assert RegistryApi(url).address == guarded.url


@pytest.mark.parametrize(
    "url", ["", "registry:8081", "ftp://registry", "http://", "http://host:port", "http://h/?a=b", "http://h h/"]
)
async def test_an_address_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    """With one line that shows none of it: it may hold a password."""
    with pytest.raises(
        Refused, match=r"^the schema registry's address must be http://host:port/path or https://"
    ) as no:
        RegistryApi(url)
    assert no.value.__cause__ is None


# ------------------------------------------------------------------------------------------------ TLS


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("right", None),
        ("another authority", "shows a certificate that is not trusted"),
        ("no authority given", "shows a certificate that is not trusted"),
        ("another host", "shows a certificate that is not trusted: IP address mismatch"),
        ("no such file", "cannot be asked: the files for TLS"),
        ("plain HTTP", "does not answer in HTTP|broke the connection"),
        ("client certificate", None),
        ("client certificate missing", "cannot be spoken to over TLS|broke the connection"),
    ],
)
async def test_tls(tmp_path: Path, connect: Connect, case: str, told: str | None) -> None:
    """The registry proves who it is, and we do where it asks for that; every refusal is one clear line."""
    authority = Authority(tmp_path)
    clients = case.startswith("client")
    host = "192.0.2.1" if case == "another host" else HOST
    server = RegistryStub(tls=authority.server(host, asks_clients=clients))
    try:
        given = server.put(SUBJECT, OURS.text)
        options: dict[str, Any] = {"ca": str(authority.ca)}
        if case == "another authority":
            options["ca"] = str(Authority(tmp_path, "stranger").ca)
        elif case == "no authority given":
            options["ca"] = None
        elif case == "no such file":
            options["ca"] = str(tmp_path / "missing.pem")
        elif case == "client certificate":
            certificate, key = authority.issue("cart-service")
            options |= {"certificate": str(certificate), "key": str(key)}
        url = server.url.replace("https", "http") if case == "plain HTTP" else server.url
        client = connect(url, **options)
        if told is None:
            assert await client.id_of(NAME) == given
        else:
            assert re.search(told, await refusal(client.id_of(NAME)))
    finally:
        server.down()
