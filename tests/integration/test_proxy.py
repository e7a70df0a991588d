"""The TCP proxy that fault tests stand on does exactly what it says."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.running import until
from tests.services.processes import HOST, free_ports, listening
from tests.services.proxy import Direction, Passing, Proxy, after, when

PATIENCE = 120.0
pytestmark = pytest.mark.process


class Echo:
    """Answers every byte with the same byte; keeps what it was sent."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.resets = 0
        self.changed = threading.Condition()
        self._server = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._answer, args=[connection]))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    with self.changed:
                        self.heard += data
                        self.changed.notify_all()
                    connection.sendall(data)
            except ConnectionError:
                with self.changed:
                    self.resets += 1
                    self.changed.notify_all()

    def close(self) -> None:
        """Stop listening; the proxy has ended the connections."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A server behind the proxy."""
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    """The proxy in front of it."""
    with Proxy(echo.address) as started:
        yield started


def client(proxy: Proxy) -> socket.socket:
    """Connect through the proxy."""
    return socket.create_connection((HOST, proxy.port), timeout=PATIENCE)


def ask(connection: socket.socket, question: bytes) -> bytes:
    """Send bytes and read as many."""
    connection.sendall(question)
    return connection.makefile("rb").read(len(question))


def assert_reset(connection: socket.socket) -> None:
    """The other side answered with RST, not with an orderly end."""
    with pytest.raises(ConnectionResetError):
        connection.makefile("rb").read()


def test_it_forwards_both_ways(proxy: Proxy) -> None:
    """A megabyte comes back as it went."""
    data = bytes(range(256)) * 4096
    with client(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=[data])
        sender.start()
        assert connection.makefile("rb").read(len(data)) == data
        sender.join(PATIENCE)


def test_an_orderly_end_is_forwarded_with_every_byte_before_it(proxy: Proxy) -> None:
    """Half-closing one side still lets the answer through."""
    with client(proxy) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read() == b"last words"


def test_cut_resets_both_sides_and_new_connections_work(proxy: Proxy, echo: Echo) -> None:
    """RST, not FIN: a client must not take it for an orderly end."""
    with client(proxy) as connection:
        assert ask(connection, b"hello") == b"hello"
        proxy.cut()
        assert_reset(connection)
    with echo.changed:
        assert echo.changed.wait_for(lambda: echo.resets == 1, PATIENCE)
    with client(proxy) as another:
        assert ask(another, b"again") == b"again"


@pytest.mark.parametrize("count", [0, 1, 7, 10])
def test_a_link_is_cut_after_exactly_so_many_bytes_to_the_target(count: int, proxy: Proxy, echo: Echo) -> None:
    """Not one byte more arrives, however they are sent."""
    proxy.watch = after(count, Direction.TO_TARGET)
    with client(proxy) as connection:
        connection.sendall(b"0123")
        with contextlib.suppress(ConnectionError):
            while True:
                connection.recv(100)
                connection.sendall(b"456789abcdef")

    assert proxy.was_cut.wait(PATIENCE)
    with echo.changed:
        assert echo.changed.wait_for(lambda: echo.resets == 1, PATIENCE)
        assert len(echo.heard) == count


def test_a_link_is_cut_with_the_last_byte_not_with_the_one_after(proxy: Proxy) -> None:
    """A client that sends no more is cut off, too."""
    proxy.watch = after(4, Direction.TO_TARGET)
    with client(proxy) as connection:
        connection.sendall(b"0123")
        assert_reset(connection)


@pytest.mark.parametrize("deliver", [False, True])
def test_a_link_is_cut_at_the_bytes_that_a_predicate_knows(deliver: bool, proxy: Proxy, echo: Echo) -> None:
    """Before they arrive, or when they have arrived."""
    proxy.watch = when(lambda data: b"COMMIT" in data, Direction.TO_TARGET, deliver=deliver)
    with client(proxy) as connection:
        assert ask(connection, b"INSERT") == b"INSERT"
        assert not proxy.was_cut.is_set()
        connection.sendall(b"COMMIT")
        assert_reset(connection)

    with echo.changed:
        assert echo.changed.wait_for(lambda: echo.resets == 1, PATIENCE)
        assert bytes(echo.heard) == (b"INSERTCOMMIT" if deliver else b"INSERT")


def test_a_watch_can_lose_the_answer_only(proxy: Proxy, echo: Echo) -> None:
    """The request is done, the client never hears of it."""
    proxy.watch = when(lambda data: True, Direction.TO_CLIENT)
    with client(proxy) as connection:
        connection.sendall(b"done")
        assert_reset(connection)

    assert bytes(echo.heard) == b"done"


def test_a_watch_sees_every_byte_of_every_connection(proxy: Proxy) -> None:
    """Numbered from 1, both ways, with what went before."""
    seen: list[Passing] = []
    proxy.watch = seen.append
    for question in (b"one", b"two"):
        with client(proxy) as connection:
            ask(connection, question)

    assert [(it.link, it.direction, it.before, it.data) for it in seen] == [
        (1, Direction.TO_TARGET, 0, b"one"),
        (1, Direction.TO_CLIENT, 0, b"one"),
        (2, Direction.TO_TARGET, 0, b"two"),
        (2, Direction.TO_CLIENT, 0, b"two"),
    ]
    assert proxy.connections == 2


def test_a_black_hole_accepts_swallows_and_never_answers(proxy: Proxy, echo: Echo) -> None:
    """Old connections and new ones; restoring cuts those that lost bytes."""
    with client(proxy) as old:
        assert ask(old, b"before") == b"before"
        proxy.black_hole()
        with client(proxy) as new:
            until(lambda: proxy.connections == 2, "it has accepted the new one")
            for connection in (old, new):
                connection.sendall(b"lost")
                connection.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(PATIENCE)
            proxy.restore()
            assert_reset(old)
            assert_reset(new)
    with client(proxy) as later:
        assert ask(later, b"after") == b"after"

    assert bytes(echo.heard) == b"beforeafter"


def test_what_is_held_arrives_later_even_from_a_sender_that_is_gone(proxy: Proxy, echo: Echo) -> None:
    """A request that timed out may still be done."""
    with client(proxy) as old:
        assert ask(old, b"1") == b"1"
        proxy.hold()
        old.sendall(b"2")
        old.settimeout(0.2)
        with pytest.raises(TimeoutError):
            old.recv(1)
    assert bytes(echo.heard) == b"1"

    proxy.restore()

    with echo.changed:
        assert echo.changed.wait_for(lambda: bytes(echo.heard) == b"12", PATIENCE)


def test_refused_is_refused_and_restore_listens_on_the_same_port(proxy: Proxy) -> None:
    """As a host on which nothing listens."""
    with client(proxy) as old:
        assert ask(old, b"x") == b"x"
        proxy.refuse()
        assert_reset(old)
    with pytest.raises(ConnectionRefusedError):
        client(proxy)
    proxy.restore()
    with client(proxy) as new:
        assert ask(new, b"y") == b"y"


def test_a_dead_target_resets_the_client() -> None:
    """The proxy itself hides no failure; the reset may come before the client knows that it is connected."""

    def connect_and_read(proxy: Proxy) -> None:
        with client(proxy) as connection:
            connection.makefile("rb").read()

    with Proxy(f"{HOST}:{free_ports(1)[0]}") as proxy, pytest.raises(ConnectionResetError):
        connect_and_read(proxy)


def test_a_delay_is_added_each_way(proxy: Proxy) -> None:
    """Twice the delay for a round trip, at least."""
    proxy.delay = 0.1
    with client(proxy) as connection:
        began = time.monotonic()
        assert ask(connection, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.2


def test_nothing_is_left_when_it_stops(echo: Echo) -> None:
    """No thread, no port, no open connection."""
    proxy = Proxy(echo.address).start()
    with client(proxy) as connection:
        ask(connection, b"x")
        assert proxy.open_links == 1
        proxy.stop()
        assert_reset(connection)

    assert proxy.open_links == 0
    assert not listening(proxy.port)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("proxy")] == []
