"""The composition root: everything resolves, and each process opens only what is its own."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import apsw
import pytest
import structlog
from dependency_injector import containers

from ordering.adapters.sqlite.log import log_path
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.application.failures import Refused
from ordering.application.messages import Encoded, NewEvent, Write
from ordering.entrypoints.container import Tools, check_schemas, embedded_cart, embedded_order, memory, service
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings


@pytest.fixture
def observer() -> ServiceObserver:
    """An observer whose log lines nobody needs."""
    return ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))


def resolve_all(container: containers.DeclarativeContainer) -> list[str]:
    """Resolve every provider; the names of those that gave nothing."""
    container.check_dependencies()
    return [name for name, provider in container.providers.items() if provider() is None]


def test_every_provider_of_the_memory_containers_resolves(observer: ServiceObserver) -> None:
    """A wrong argument of any provider shows here, and not in production."""
    for part in memory(Settings(), observer):
        assert resolve_all(part) == []


async def test_every_provider_of_the_embedded_containers_resolves(tmp_path: Path, observer: ServiceObserver) -> None:
    """The same for the adapters that use files."""
    settings = Settings(data_dir=tmp_path)
    async with AsyncExitStack() as exits:
        assert resolve_all(embedded_cart(settings, observer, exits)) == []
        assert resolve_all(embedded_order(settings, observer, exits)) == []


def test_providers_are_singletons(observer: ServiceObserver) -> None:
    """Use cases share one store, one gate, one committer."""
    cart, order = memory(Settings(), observer)

    assert cart.store() is cart.store()
    assert order.consumer() is order.consumer()


async def test_queries_ask_about_the_log_through_a_source_of_their_own(
    tmp_path: Path, observer: ServiceObserver
) -> None:
    """The consumer hears of a replaced log however often queries have asked."""
    async with AsyncExitStack() as exits:
        for order in (memory(Settings(), observer)[1], embedded_order(Settings(data_dir=tmp_path), observer, exits)):
            assert order.source() is order.source()
            assert order.log_view() is order.log_view()
            assert order.source() is not order.log_view()


async def test_each_service_opens_only_its_own_files(tmp_path: Path, observer: ServiceObserver) -> None:
    """The cart service writes store and log, the order service the read model."""
    cart = service("cart", Settings(data_dir=tmp_path / "cart"), observer)
    order = service("order", Settings(data_dir=tmp_path / "order"), observer)
    await cart.exits.aclose()
    await order.exits.aclose()

    assert {path.name for path in (tmp_path / "cart").glob("*.db")} == {"cart.db", "log-order-events.db"}
    assert {path.name for path in (tmp_path / "order").glob("*.db")} == {"view.db"}


async def test_a_second_writer_is_refused_in_one_line(tmp_path: Path, observer: ServiceObserver) -> None:
    """Whoever opened the store first keeps it."""
    settings = Settings(data_dir=tmp_path)
    first = service("cart", settings, observer)

    with pytest.raises(Refused, match="in use"):
        service("cart", settings, observer)
    await first.exits.aclose()


async def test_a_log_that_is_gone_is_not_begun_anew(tmp_path: Path, observer: ServiceObserver) -> None:
    """Every order's history would begin in its middle. Before the first event there is no log to lose."""
    settings = Settings(data_dir=tmp_path)
    first = service("cart", settings, observer)
    await first.exits.aclose()
    log_path(tmp_path, settings.topic).unlink()
    second = service("cart", settings, observer)
    await second.exits.aclose()

    store = SqliteOrderStore.open(tmp_path / "cart.db")
    await store.partitions(settings.topic, 3)
    await store.close()
    log_path(tmp_path, settings.topic).unlink()
    with pytest.raises(Refused, match="but there was one"):
        service("cart", settings, observer)
    assert not log_path(tmp_path, settings.topic).exists()


@pytest.mark.parametrize("left", ["nothing", "no -wal"])
async def test_an_empty_log_is_a_lost_one(tmp_path: Path, observer: ServiceObserver, left: str) -> None:
    """Cut off to nothing, or copied without its -wal while it was young: nor is it begun anew then."""
    settings = Settings(data_dir=tmp_path)
    store = SqliteOrderStore.open(tmp_path / "cart.db")
    await store.partitions(settings.topic, 3)
    await store.close()
    path = log_path(tmp_path, settings.topic)
    path.touch()
    if left == "no -wal":
        connection = apsw.Connection(str(path))
        connection.pragma("journal_mode", "wal")
        connection.close()
    before = path.read_bytes()

    with pytest.raises(Refused, match=r"there is nothing in .*, but there was"):
        service("cart", settings, observer)
    assert path.read_bytes() == before


async def test_a_lost_log_is_not_there_before_all_of_it_waits(tmp_path: Path, observer: ServiceObserver) -> None:
    """Breaking off on the way leaves no log, so no service begins one that lacks the rest."""
    settings = Settings(data_dir=tmp_path)
    store = SqliteOrderStore.open(tmp_path / "cart.db")
    await store.partitions(settings.topic, 3)
    event = NewEvent("e", "later", 1, settings.topic, b"later", (), Encoded("of-a-newer-program/1", b""), 1)
    await store.write([Write("later", 0, event)])
    await store.mark_published([("later", 1)])
    await store.trim(answers_before=0, journal_before=2, limit=1)
    await store.close()
    tools = Tools(settings)

    with pytest.raises(Refused, match="order later cannot be published again"):
        await (await tools.republisher()).run()
    await tools.close()
    with pytest.raises(Refused, match="but there was one"):
        service("cart", settings, observer)


async def test_tools_do_not_invent_a_data_folder(tmp_path: Path) -> None:
    """Looking at a folder nobody served is a mistake to tell, not an empty answer."""
    tools = Tools(Settings(data_dir=tmp_path / "nothing"))

    with pytest.raises(Refused, match="the cart service has not run"):
        _ = tools.store
    await tools.close()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["cart.db", "view.db"])
async def test_tools_set_nothing_up(tmp_path: Path, name: str) -> None:
    """A file that no service has set up is refused in one line, and stays as it is."""
    (tmp_path / name).write_bytes(b"")
    tools = Tools(Settings(data_dir=tmp_path))

    with pytest.raises(Refused, match=f"{name} is empty: no service has set it up yet"):
        _ = tools.store if name == "cart.db" else tools.views
    await tools.close()
    assert (tmp_path / name).stat().st_size == 0


async def test_tools_look_while_the_stores_are_being_read_and_written(
    tmp_path: Path, observer: ServiceObserver
) -> None:
    """Services run, a backup reads, somebody else writes: looking needs none of their locks."""
    settings = Settings(data_dir=tmp_path)
    services = [service("cart", settings, observer), service("order", settings, observer)]
    others = [apsw.Connection(str(tmp_path / name)) for name in ("cart.db", "view.db") for _ in range(2)]
    for number, connection in enumerate(others):
        connection.execute("BEGIN IMMEDIATE" if number % 2 else "BEGIN; SELECT * FROM sqlite_schema").fetchall()
    tools = Tools(settings)

    assert await tools.store.waiting(10) == []
    assert await tools.views.letters(10) == []
    await tools.close()
    for connection in others:
        connection.close(True)
    for one in services:
        await one.exits.aclose()


def test_the_released_schemas_pass_their_check() -> None:
    """What `ordering schemas check` prints for this repository."""
    verdict = check_schemas()

    assert verdict.faults == ()
    assert "order-events-value/v1" in verdict.checked
