"""The worker: what runs beside HTTP keeps running or ends the service, and a stop has an order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
import structlog

from ordering.application.failures import Refused
from ordering.entrypoints import container
from ordering.entrypoints.observe import ServiceObserver, configure_logging
from ordering.entrypoints.process import listen
from ordering.entrypoints.service import Service
from ordering.entrypoints.settings import LogFormat, LogLevel, Settings
from ordering.entrypoints.worker import Worker
from tests.http.stand_ins import StandIns

pytestmark = pytest.mark.process

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers 204 to everything."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def for_ever() -> None:
    """A loop that only ends when it is cancelled."""
    await asyncio.Event().wait()


def service(history: list[str] | None = None, **changes: object) -> Service:
    """A service that does nothing but note what is asked of it."""
    told = history if history is not None else []

    async def drain(_seconds: float) -> bool:
        told.append("drain")
        return True

    async def farewell() -> None:
        told.append("farewell")

    exits = AsyncExitStack()
    exits.callback(told.append, "close")
    plain = Service(app, {"idle": for_ever}, frozenset(), lambda: told.append("stop"), drain, farewell, exits)
    return attrs.evolve(plain, **changes)


PATIENCE = 120.0
"""Seconds until an end counts as not happening: generous, a loaded machine is no failure."""


def worker(
    of: Service, lifeline: int | None = None, observer: ServiceObserver | None = None, seconds: float = PATIENCE
) -> tuple[Worker, socket.socket]:
    """A worker on a free port, which takes so many seconds at most to stop."""
    listener = listen("127.0.0.1", 0, "API_PORT")
    observer = observer or ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))
    return Worker(of, Settings(shutdown_seconds=seconds), observer, listener, lifeline), listener


async def answers(listener: socket.socket) -> bool:
    """Whether HTTP is answered."""
    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.startswith(b"HTTP/1.1 204")


async def test_a_stop_has_an_order() -> None:
    """No new requests, then what is queued, then what is stored, then goodbye, then close."""
    history: list[str] = []
    stopping = asyncio.Event()

    async def committer() -> None:
        await stopping.wait()
        history.append("finished")

    def stop() -> None:
        history.append("stop")
        stopping.set()

    made, listener = worker(
        service(history, loops={"committer": committer}, finishing=frozenset({"committer"}), stop=stop)
    )
    running = asyncio.get_running_loop().create_task(made.run())
    assert await answers(listener)
    made.end("the test is over")

    assert await running == 0
    assert history == ["stop", "finished", "drain", "farewell", "close"]


@pytest.mark.parametrize("way", ["raises", "returns"])
async def test_a_loop_that_ends_by_itself_ends_the_service(way: str) -> None:
    """Never a process that only looks alive: non-zero, and everything is closed."""
    history: list[str] = []

    async def broken() -> None:
        if way == "raises":
            raise RuntimeError("the relay broke")

    made, _ = worker(service(history, loops={"idle": for_ever, "relay": broken}))

    assert await made.run() == 1
    assert history == ["stop", "drain", "farewell", "close"]


@pytest.mark.parametrize("alarmed", [True, False])
async def test_a_loop_that_refuses_to_go_on_tells_its_reason_once(
    alarmed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it has raised an alarm about it itself or not; never below a warning."""
    observer = ServiceObserver(configure_logging(LogLevel.INFO, LogFormat.JSON, "cart"))
    reason = "the order store is older than the log"

    async def refusing() -> None:
        if alarmed:
            observer.alarmed("store.behind_log", changes=1, reason=reason)
        raise Refused(reason)

    made, _ = worker(service(loops={"idle": for_ever, "relay": refusing}), observer=observer)

    assert await made.run() == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines if line["level"] != "info"] == [
        "store.behind_log" if alarmed else "service.refused"
    ]
    assert [line["event"] for line in lines if reason in str(line)] == [
        line["event"] for line in lines if line["level"] != "info"
    ]
    assert [line["reason"] for line in lines if line["event"] == "service.stopping"] == ["relay refuses to go on"]


async def test_what_no_endpoint_sees_is_counted() -> None:
    """Stuck sockets and garbage leave a trace for whoever looks at the metrics."""
    listener = listen("127.0.0.1", 0, "API_PORT")
    observer = ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))
    made = Worker(service(), Settings(shutdown_seconds=PATIENCE, head_seconds=0.2), observer, listener)
    streams = [await asyncio.open_connection(*listener.getsockname()[:2]) for _ in range(2)]
    for (_, writer), sent in zip(streams, (b"nonsense\r\n\r\n", b"GET / HT"), strict=True):
        writer.write(sent)  # before anybody looks: a pause of the machine makes none of them be late
    running = asyncio.get_running_loop().create_task(made.run())
    for reader, writer in streams:
        assert (await reader.read()).startswith(b"HTTP/1.1 4")
        writer.close()
    observer.cut("stalled")
    made.end("enough")
    await running
    page = (await observer.page.text()).decode()

    assert 'ordering_refusals_total{code="malformed-request"} 1.0' in page
    assert 'ordering_refusals_total{code="request-timeout"} 1.0' in page
    assert 'ordering_http_requests_total{method="other",route="other",status="408"} 1.0' in page
    assert 'ordering_http_connections_cut_total{reason="stalled"} 1.0' in page


async def test_the_end_of_the_lifeline_ends_the_service() -> None:
    """The parent is gone, however it went; that is no failure of this service."""
    lifeline, parents = os.pipe()
    made, listener = worker(service(), lifeline)
    running = asyncio.get_running_loop().create_task(made.run())
    assert await answers(listener)
    os.close(parents)

    assert await running == 0
    os.close(lifeline)


async def test_a_committer_that_never_finishes_does_not_hold_up_the_end() -> None:
    """There is one time budget for the whole stop."""
    history: list[str] = []
    loops: dict[str, Callable[[], Any]] = {"committer": for_ever}
    made, listener = worker(service(history, loops=loops, finishing=frozenset({"committer"})), seconds=1.0)
    running = asyncio.get_running_loop().create_task(made.run())
    assert await answers(listener)
    made.end("the test is over")

    assert await asyncio.wait_for(running, PATIENCE) == 0
    assert history == ["stop", "drain", "farewell", "close"]


async def stopped_by(signals: int, impatience: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of a service whose committer never finishes, after so many signals to stop."""
    monkeypatch.setattr("ordering.entrypoints.worker.IMPATIENCE_SECONDS", impatience)
    history: list[str] = []
    loops: dict[str, Callable[[], Any]] = {"committer": for_ever}
    stopping = asyncio.Event()
    of = service(history, loops=loops, finishing=frozenset({"committer"}), stop=stopping.set)
    listener = listen("127.0.0.1", 0, "API_PORT")
    observer = ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))
    seconds = 600.0 if impatience == 0 else 1.0
    made = Worker(of, Settings(shutdown_seconds=seconds), observer, listener)
    running = asyncio.get_running_loop().create_task(made.run())
    assert await answers(listener)
    os.kill(os.getpid(), signal.SIGTERM)
    await stopping.wait()
    for _ in range(signals - 1):
        os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, PATIENCE) == 0
    return history


async def test_a_second_signal_does_not_wait_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was accepted is stored, or told that nobody knows; the next start publishes it."""
    assert await stopped_by(2, 0.0, monkeypatch) == ["drain", "farewell", "close"]


async def test_signals_that_come_together_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal sends Ctrl-C to a whole group, and so may its parent again: the time to stop stays what it was."""
    began = asyncio.get_running_loop().time()
    assert await stopped_by(3, 60.0, monkeypatch) == ["drain", "farewell", "close"]
    assert asyncio.get_running_loop().time() - began >= 1.0


async def asked(listener: socket.socket, request: bytes) -> asyncio.Task[bytes]:
    """A request that the server has in hand; the task brings the whole answer."""
    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    writer.write(request)
    await writer.drain()

    async def answer() -> bytes:
        try:
            return await reader.read()
        finally:
            writer.close()

    return asyncio.get_running_loop().create_task(answer())


def problem_of(answer: bytes) -> tuple[bytes, str]:
    """Status and code of an answer that must be a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    document = json.loads(body)
    assert document["success"] is False
    return head.split(b" ")[1], document["code"]


async def test_a_write_that_a_stop_overtakes_is_told_that_its_outcome_is_unknown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be stored after all, so it is no 503; and a stop is no failure to log with a traceback."""
    stand_ins = StandIns()
    stand_ins.held = asyncio.Event()
    made, listener = worker(service(app=stand_ins.apps()[0]), seconds=2.0)
    running = asyncio.get_running_loop().create_task(made.run())
    body = b'{"orderId":"x","numItems":1}'
    head = b"POST /api/create-order HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: %d\r\n\r\n"
    answer = await asked(listener, head % len(body) + body)
    await stand_ins.entered.wait()
    half = await asked(listener, head % 100 + body)
    made.end("the test is over")

    assert problem_of(await answer) == (b"500", "outcome-unknown")
    assert b"\r\nx-request-id: " in await answer
    assert problem_of(await half) == (b"503", "shutting-down")
    assert await running == 0
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_query_that_waits_does_not_wait_for_the_end_of_the_service() -> None:
    """It is told at once to ask elsewhere or later."""
    settings = Settings(shutdown_seconds=60.0)
    observer = ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))
    order = container.memory(settings, observer)[1]
    listener = listen("127.0.0.1", 0, "API_PORT")
    made = Worker(container.order_service(order, AsyncExitStack()), settings, observer, listener)
    running = asyncio.get_running_loop().create_task(made.run())
    answer = await asked(listener, b"GET /api/order-details?orderId=x&wait=30 HTTP/1.1\r\nHost: x\r\n\r\n")
    while not order.waiters().count:
        await answers(listener)
    made.end("the test is over")

    assert problem_of(await asyncio.wait_for(answer, 20)) == (b"503", "shutting-down")
    assert b"\r\nx-request-id: " in await answer
    assert await running == 0


async def test_nothing_new_is_taken_while_requests_in_hand_are_answered() -> None:
    """What the queue has finishes while HTTP still answers, instead of being cut off with it."""
    entered, stopped = asyncio.Event(), asyncio.Event()

    async def answers_when_stopped(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            entered.set()
            await stopped.wait()
        await app(scope, receive, send)

    made, listener = worker(service(app=answers_when_stopped, stop=stopped.set))
    running = asyncio.get_running_loop().create_task(made.run())
    answer = await asked(listener, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await entered.wait()
    made.end("the test is over")

    assert (await answer).startswith(b"HTTP/1.1 204")
    assert await running == 0
