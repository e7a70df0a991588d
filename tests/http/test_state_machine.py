"""The whole HTTP API against a sequential model: whatever is called in whatever order, every answer is the model's."""

import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs
import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.http.api_model import RETRIED, STEPS, Expected, Model, Placed, Write, parsed
from tests.http.api_systems import SYSTEMS
from tests.http.api_writes import CHANGES, CREATES, FRESH, INVALID, KEYS, ORDER_IDS, PLAIN_CREATES, change
from tests.http.systems import until_ready
from tests.unit.application.runtime import settling

T = TypeVar("T")
CREATE, UPDATE = "/api/create-order", "/api/update-order"
DETAILS, IDS, STATS = "/api/order-details", "/api/getAllOrderIdsFromTopic", "/api/stats"
PATHS = {"POST": CREATE, "PUT": UPDATE}
TOPIC = "order-events"
NOTHING = ""
BAD_READS = [
    (DETAILS, {}, 400, "invalid-input", [("orderId", "required")]),
    (DETAILS, {"orderId": "a", "minVersion": "0"}, 400, "invalid-input", [("minVersion", "out-of-range")]),
    (DETAILS, {"orderId": "a", "wait": "31"}, 400, "invalid-input", [("wait", "out-of-range")]),
    (DETAILS, {"orderId": "never", "minVersion": "2"}, 404, "order-not-found", []),
    (IDS, {"topicName": " "}, 400, "invalid-input", [("topicName", "blank")]),
    (IDS, {"topicName": TOPIC, "limit": "0"}, 400, "invalid-input", [("limit", "out-of-range")]),
    (IDS, {"topicName": TOPIC, "cursor": "abc"}, 400, "invalid-input", [("cursor", "invalid-cursor")]),
    (IDS, {"topicName": "payments"}, 404, "topic-not-found", []),
    (STATS, {"ids": "no"}, 400, "invalid-input", [("ids", "invalid-type")]),
]


class WholeHttpApi(RuleBasedStateMachine):
    """Both apps as clients see them, one request after the other."""

    kind: ClassVar[str]
    sent = Bundle("sent")

    # ------------------------------------------------------------------ life

    @initialize()
    def begin(self) -> None:
        self.model, self.seen = Model(), Counter[str]()
        self.hidden, self.kept = NOTHING, list[Write]()
        self.lives, self.lost_acks, self.outages, self.requests, self.failed = 0, 0, 0, 0, False
        self.folder = tempfile.TemporaryDirectory()
        body, loop = SYSTEMS[self.kind]
        self.body, self.loop = body(Path(self.folder.name) / "data"), loop()
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Everything that can fail goes through here, so that the end knows whether anything did."""
        try:
            return self.loop.run_until_complete(work)
        except BaseException:
            self.failed = True
            raise

    async def _start(self) -> None:
        self.lives += 1
        self.running = AsyncExitStack()
        self.cart, self.order = await self.running.enter_async_context(self.body.run())

    def teardown(self) -> None:
        """A run that went well ends with a look at everything."""
        if not hasattr(self, "running"):
            return
        try:
            if not self.failed:
                self.run(self._end())
        finally:
            self.body.heal()
            self.loop.run_until_complete(self.running.aclose())
            self.loop.close()
            self.folder.cleanup()

    async def _end(self) -> None:
        if not self.model.deliverable:
            await self._heal()
        await self._check_everything(limit=2)

    # ------------------------------------------------------------------ writes

    @rule(target=sent, write=CREATES)
    def place(self, write: Write) -> Write:
        """A cart or a number of items: new, taken, with and without a key."""
        return self.run(self._send(write))

    @precondition(lambda self: self.model.orders)
    @rule(target=sent, write=CHANGES)
    def change(self, write: Write) -> Write:
        """Any status of any order: every step, no step, no order; every If-Match."""
        return self.run(self._send(write))

    @precondition(lambda self: self.model.orders)
    @rule(target=sent, pick=st.integers(0, 9), choice=st.integers(0, 1), key=KEYS, match=st.sampled_from("?=*W"))
    def step(self, pick: int, choice: int, key: str | None, match: str) -> Write:
        """The next step of an order that is there, as long as it has one; a weak tag never lets it through."""
        order = list(self.model.orders.values())[pick % len(self.model.orders)]
        statuses = STEPS[order.status] or list(STEPS)
        if_match = {"?": None, "=": f'"{order.version}"', "*": "*", "W": f'W/"{order.version}"'}[match]
        write = change(order.order_id, statuses[choice % len(statuses)])
        return self.run(self._send(attrs.evolve(write, key=key, if_match=if_match)))

    @precondition(lambda self: self.model.orders)
    @rule(pick=st.integers(0, 9), choices=st.lists(st.integers(0, 1), min_size=2, max_size=4))
    def live(self, pick: int, choices: list[int]) -> None:
        """A way through the life cycle; wherever the order stands, it takes no step that is not there."""
        self.run(self._live(list(self.model.orders.values())[pick % len(self.model.orders)], choices))

    async def _live(self, order: Placed, choices: list[int]) -> None:
        for choice in choices:
            steps = STEPS[order.status]
            for status in sorted(STEPS.keys() - {*steps, order.status}):
                await self._send(change(order.order_id, status))
            if steps:
                await self._send(change(order.order_id, steps[choice % len(steps)]))

    @precondition(lambda self: self.model.orders)
    @rule(pick=st.integers(0, 9))
    def stay(self, pick: int) -> None:
        """The present status again is no change, and its key is kept all the same."""
        order = list(self.model.orders.values())[pick % len(self.model.orders)]
        self.run(self._send(attrs.evolve(change(order.order_id, order.status), key=FRESH)))

    @precondition(lambda self: self.kept)
    @rule(pick=st.integers(0, 19), slash=st.booleans(), match=st.none() | st.just('"99"'))
    def repeat(self, pick: int, slash: bool, match: str | None) -> None:
        """The same key and body, whatever has happened since, give the first answer again."""
        write = self.kept[pick % len(self.kept)]
        self.run(self._send(attrs.evolve(write, slash=slash, if_match=match or write.if_match)))

    @rule(write=sent)
    def send_again(self, write: Write) -> None:
        """The same request word for word, maybe long after."""
        self.run(self._send(write))

    @rule(write=sent)
    def send_again_another_way(self, write: Write) -> None:
        """Another way to the same endpoint is the same request, other white space is another body to a key."""
        self.run(self._send(attrs.evolve(write, slash=not write.slash)))
        self.run(self._send(attrs.evolve(write, body=write.body + " ")))

    @rule(write=INVALID)
    def send_nonsense(self, write: Write) -> None:
        """Every fault is told, and nothing happens."""
        self.run(self._send(write))

    @precondition(lambda self: self.model.deliverable)
    @rule(order_id=ORDER_IDS, choice=st.integers(0, 1), creation=st.data())
    def wait_for_what_is_coming(self, order_id: str, choice: int, creation: st.DataObject) -> None:
        """Who asks for a version, or an order, before it is written gets it."""
        order = self.model.orders.get(order_id)
        steps = STEPS[order.status] if order else []
        if order is None:
            write = attrs.evolve(creation.draw(PLAIN_CREATES), order_id=order_id)
            write = attrs.evolve(write, body=re.sub(r'"orderId": "[^"]*"', f'"orderId": "{order_id}"', write.body))
        elif steps:
            write = change(order_id, steps[choice % len(steps)])
        else:
            return
        self.run(self._send_and_wait(write, order.version + 1 if order else 1))

    async def _send(self, write: Write) -> Write:
        if write.key == FRESH:
            write = attrs.evolve(write, key=f"key-{self.requests}")
        expected = self.model.expected(write)
        headers = {"Idempotency-Key": write.key, "If-Match": write.if_match}
        answer = await self.cart.request(
            write.method,
            PATHS[write.method] + "/" * write.slash,
            content=write.body,
            headers={**self._named(), **{name: value for name, value in headers.items() if value is not None}},
        )
        self._check(answer, expected)
        if expected.replay is None and expected.code is None:
            self.model.take(write, expected, answer.content)
            if write.key is not None:
                self.kept.append(write)
        return write

    async def _send_and_wait(self, write: Write, version: int) -> None:
        query = {"orderId": write.order_id, "minVersion": version, "wait": 30}
        waiting = asyncio.ensure_future(self._get(DETAILS, **query))
        await self._send(write)
        self._check_details(self.model.orders[write.order_id], version, await waiting)

    # ------------------------------------------------------------------ reads

    @precondition(lambda self: self.model.orders)
    @rule(order_id=ORDER_IDS, ahead=st.sampled_from([1, 1, 7]), waits=st.booleans())
    def read(self, order_id: str, ahead: int, waits: bool) -> None:
        """Read your own write, and nothing beyond it, at whatever version is asked for."""
        self.run(self._read(order_id, ahead, {"wait": 0.01} if waits else {}))

    async def _read(self, order_id: str, ahead: int, wait: dict[str, float]) -> None:
        order = self.model.orders.get(order_id)
        if order is None or order_id == self.hidden:
            for version in (1, ahead):
                answer = await self._get(DETAILS, orderId=order_id, minVersion=version, **wait)
                self._check(answer, Expected(404, code="order-not-found"))
            return
        await self._check_visible(order)
        self._check_details(order, order.version, await self._get(DETAILS, orderId=order_id, **wait))
        members: dict[str, object] = {"currentVersion": order.version}
        answer = await self._get(DETAILS, orderId=order_id, minVersion=order.version + ahead, **wait)
        self._check(answer, Expected(409, code="version-not-reached", members=members))

    @precondition(lambda self: self.model.orders)
    @rule(order_id=ORDER_IDS)
    def glance(self, order_id: str) -> None:
        """Without waiting: a version that was, and never an older one than before."""
        self.run(self._glance(order_id))

    async def _glance(self, order_id: str) -> None:
        answer = await self._get(DETAILS, orderId=order_id)
        if answer.status_code != 200:
            assert self.seen[order_id] == 0
            self._check(answer, Expected(404, code="order-not-found"))
            return
        version = int(answer.headers["etag"].strip('"'))
        order = self.model.orders[order_id]
        assert self.seen[order_id] <= version <= order.version
        self._check_details(order, version, answer)

    @rule(path_query_problem=st.sampled_from(BAD_READS))
    def read_nonsense(self, path_query_problem: tuple[str, dict[str, str], int, str, list[tuple[str, str]]]) -> None:
        """What cannot be answered is refused, outage or not."""
        path, query, status, code, faults = path_query_problem
        self.run(self._read_nonsense(path, query, Expected(status, code=code, faults=tuple(faults))))

    async def _read_nonsense(self, path: str, query: dict[str, str], expected: Expected) -> None:
        self._check(await self._get(path, **query), expected)

    @rule(limit=st.integers(1, 3))
    def read_all(self, limit: int) -> None:
        """Ids, pages, statistics, and each event counted once; without a broker nobody knows the end of the topic."""
        self.run(self._check_everything(limit) if self.model.deliverable else self._check_unknowable())

    async def _check_everything(self, limit: int) -> None:
        for order in self.model.orders.values():
            await self._check_visible(order)
        ids = await self._check_ids(limit)
        statuses = Counter(order.status for order in self.model.orders.values())
        figures = {"lagEvents": 0, "lagSeconds": "0.0", "gaps": 0, "late": 0, "parked": 0, "deadLetters": 0}
        whole = {"success": True, "totalOrders": len(ids), "byStatus": statuses, "truncated": False, **figures}
        assert await self._stats() == {**whole, "orderIds": ids}
        assert await self._stats(ids="true") == {**whole, "orderIds": ids}
        assert await self._stats(ids="false") == whole
        events = sum(order.version for order in self.model.orders.values())
        counters = await self.body.counters()
        counted = [counters.get(name, 0) for name in ("applied", "duplicates", "late", "gaps")]
        assert counted == [events, self.lost_acks, 0, 0]

    async def _check_ids(self, limit: int) -> list[str]:
        whole = parsed((await self._get(IDS, topicName=TOPIC)).content)
        ids: list[str] = whole["orderIds"]
        message = f"Successfully retrieved order IDs from topic '{TOPIC}'"
        head = {"success": True, "message": message, "topicName": TOPIC}
        assert whole == {**head, "orderIds": ids, "count": len(self.model.orders)}
        assert sorted(ids) == sorted(self.model.orders)
        dates = [self.model.orders[order_id].date[:23] for order_id in ids]  # to the millisecond, as records have it
        assert dates == sorted(dates)
        paged: list[str] = []
        query: dict[str, object] = {"topicName": TOPIC, "limit": limit}
        while True:
            page = parsed((await self._get(IDS, **query)).content)
            following = page.pop("nextCursor", None)
            rest = ids[len(paged) :][:limit]
            assert page == {**head, "orderIds": rest, "count": len(rest)}
            assert (following is not None) == (len(rest) == limit)
            if following is None:
                return ids
            paged += rest
            query["cursor"] = following

    async def _stats(self, **query: str) -> dict[str, Any]:
        answer = await self._get(STATS, **query)
        assert answer.status_code == 200
        stats: dict[str, Any] = parsed(answer.content)
        return stats

    async def _check_unknowable(self) -> None:
        for path, query in ((IDS, {"topicName": TOPIC}), (STATS, {})):
            self._check(await self._get(path, **query), Expected(503, code="broker-unavailable"))

    # ------------------------------------------------------------------ trouble

    @precondition(lambda self: self.kind == "memory" and self.model.deliverable and self.model.orders)
    @rule(takes_one_more=st.booleans())
    def broker_goes(self, takes_one_more: bool) -> None:
        """The write whose event finds it out is accepted, and hidden until the broker returns; then the gate closes."""
        self.run(self._break(takes_one_more=takes_one_more))

    async def _break(self, *, takes_one_more: bool) -> None:
        for order in self.model.orders.values():
            await self._check_visible(order)
        self.outages += 1
        self.hidden = finder = f"found-{self.outages}"
        self.body.fail(takes_one_more=takes_one_more)
        await self._send(Write("POST", f'{{"orderId":"{finder}","numItems":1}}', finder, 1))
        await settling()
        ready = await self.cart.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not-ready")
        self.model.deliverable = False
        self.lost_acks += takes_one_more
        await self._read(finder, 1, {"wait": 1.0})

    @precondition(lambda self: not self.model.deliverable)
    @rule()
    def broker_returns(self) -> None:
        """Without traffic the gate opens, and everything accepted is published."""
        self.run(self._heal())

    async def _heal(self) -> None:
        self.body.heal()
        await until_ready((self.cart, self.order))
        self.model.deliverable = True
        finder, self.hidden = self.hidden, NOTHING
        # Its first event went out again before this one does, so the duplicate has been seen when this one is.
        await self._send(change(finder, "confirmed"))
        for order in self.model.orders.values():
            await self._check_visible(order)

    @precondition(lambda self: self.kind == "embedded" and self.model.orders and self.lives < 3)
    @rule()
    def restart(self) -> None:
        """Everything acknowledged is there in the next life, orders and keys."""
        self.run(self._restart())

    async def _restart(self) -> None:
        await self.running.aclose()
        await self._start()

    # ------------------------------------------------------------------ comparing

    def _named(self) -> dict[str, str]:
        self.requests += 1
        return {"X-Request-Id": f"request-{self.requests}"}

    async def _get(self, path: str, **query: object) -> httpx.Response:
        return await self.order.get(path, params=query, headers=self._named())  # type: ignore[arg-type]

    async def _check_visible(self, order: Placed) -> None:
        """Wait for the last version; what is read is it."""
        answer = await self._get(DETAILS, orderId=order.order_id, minVersion=order.version, wait=30)
        self._check_details(order, order.version, answer)

    def _check_details(self, order: Placed, version: int, answer: httpx.Response) -> None:
        self._check(answer, Expected(200, version))
        message = f"Order '{order.order_id}' retrieved successfully"
        assert parsed(answer.content) == {"success": True, "message": message, "data": order.detailed(version)}
        self.seen[order.order_id] = version

    def _check(self, answer: httpx.Response, expected: Expected) -> None:
        """Status, headers, and the problem or the replay; a success's data is for the caller."""
        assert answer.status_code == expected.status, answer.text
        assert answer.headers.get("etag") == (None if expected.version is None else f'"{expected.version}"')
        assert answer.headers["x-request-id"] == answer.request.headers["x-request-id"]
        assert answer.headers.get("retry-after") == ("1" if expected.code in RETRIED else None)
        if expected.replay is not None:
            assert answer.content == expected.replay
        if expected.code is None:
            assert answer.headers["content-type"] == "application/json"
            return
        assert answer.headers["content-type"] == "application/problem+json"
        problem = parsed(answer.content)
        told = {name: problem.pop(name) for name in ("title", "detail", "message", "errors")}
        assert told["title"]
        assert told["detail"] == told["message"]
        assert [(fault["field"], fault["code"]) for fault in told["errors"]] == list(expected.faults)
        kind = f"urn:ordering:problem:{expected.code}"
        named = {"type": kind, "status": expected.status, "code": expected.code, "success": False}
        assert problem == {**named, **expected.members}


@pytest.mark.parametrize(("kind", "examples", "steps"), [("memory", 20, 40), ("embedded", 6, 40)])
def test_every_answer_is_the_models(kind: str, examples: int, steps: int) -> None:
    """The same machine on both systems, with the trouble each of them can be given."""
    machine = type(f"WholeHttpApiOn{kind.title()}", (WholeHttpApi,), {"kind": kind})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps))
