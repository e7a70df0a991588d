"""The clients of the crash test, and the ledger outside the system that remembers what they were told.

They stand for other machines but share this one with the services, and what is measured is how fast those come back:
so a client rests for up to a tenth of a second before a change, as people's clients do (``tests.faults.load``), and
speaks HTTP at little cost (``plain_http``). That is still as much as the system bears here while it starts again.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from pathlib import Path

import attrs
import httpx

from tests.e2e import plain_http

ANSWER_SECONDS = 10.0
"""How long a client waits for an answer."""
STEPS = {"pending": "confirmed", "confirmed": "shipped", "shipped": "delivered"}


class Ledger:
    """An append-only file: every attempt before it is sent, every answer when it came."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._attempts = 0
        self.acknowledged = 0
        """How many changes were answered with success so far."""

    def close(self) -> None:
        """Nothing more happens."""
        self._file.close()

    def attempt(self, order: str, target: str) -> int:
        """Note what is about to be sent; its number."""
        self._attempts += 1
        self._note({"attempt": self._attempts, "order": order, "target": target})
        return self._attempts

    def answer(self, number: int, status: int | None, version: int | None) -> None:
        """Note the answer; no status means that nobody knows what became of the attempt."""
        self._note({"answer": number, "status": status, "version": version})
        self.acknowledged += status in (200, 201)

    def _note(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


@attrs.define
class Attempt:
    """One attempt as the ledger has it: target status (pending for a create) and the answer."""

    order: str
    target: str
    status: int | None = None
    version: int | None = None

    @property
    def acknowledged(self) -> bool:
        """The client was told that it is stored."""
        return self.status in (200, 201)

    @property
    def refused(self) -> bool:
        """The client was told that this attempt stored nothing."""
        return self.status == 503


def read_ledger(path: Path) -> dict[str, list[Attempt]]:
    """All attempts per order id."""
    attempts: dict[int, Attempt] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if "attempt" in line:
            attempts[line["attempt"]] = Attempt(line["order"], line["target"])
        else:
            attempts[line["answer"]].status = line["status"]
            attempts[line["answer"]].version = line["version"]
    by_order: dict[str, list[Attempt]] = {}
    for attempt in attempts.values():
        by_order.setdefault(attempt.order, []).append(attempt)
    return by_order


def counts(ledger: Mapping[str, list[Attempt]]) -> str:
    """How much was tried, in words."""
    attempts = [attempt for of_order in ledger.values() for attempt in of_order]
    return (
        f"{len(attempts)} attempts, {sum(attempt.acknowledged for attempt in attempts)} acknowledged, "
        f"{sum(attempt.refused for attempt in attempts)} answered 503"
    )


class Client:
    """Creates orders and moves them along, one request at a time, repeating with the same key what got no answer.

    ``pause`` is the longest time in seconds it rests before a change: 0 is as much load as it can make; ``again`` how
    long it rests before it repeats one. An answer that no promise allows (that its own order is not there) is an
    error, or one line more in ``strange``.
    """

    def __init__(
        self,
        name: str,
        url: str,
        ledger: Ledger,
        seed: int,
        pause: float = 0.0,
        *,
        again: float = 0.02,
        strange: list[str] | None = None,
    ) -> None:
        self._name, self._url, self._ledger, self._pause, self._again = name, url, ledger, pause, again
        self._strange = strange
        self._random = random.Random(seed)
        self._known: dict[str, str] = {}
        self._made = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop."""
        async with plain_http.client(self._url, ANSWER_SECONDS) as http:
            while not stop.is_set():
                if self._pause:
                    await asyncio.sleep(self._random.uniform(0, self._pause))
                movable = [order for order, status in self._known.items() if status in STEPS]
                if movable and self._random.random() < 0.4:
                    await self._update(http, self._random.choice(movable[-20:]), stop)
                else:
                    await self._create(http, stop)

    async def _create(self, http: httpx.AsyncClient, stop: asyncio.Event) -> None:
        self._made += 1
        order = f"{self._name}-{self._made}"
        if await self.place(http, order, stop, keyed=self._random.random() < 0.5):
            self._known[order] = "pending"

    async def place(self, http: httpx.AsyncClient, order: str, stop: asyncio.Event, *, keyed: bool = True) -> bool:
        """Create one order, repeating what got no answer only if it has a key; whether it is known to be stored."""
        items = [{"itemId": "ITEM-1", "quantity": 2, "price": 999.99}]
        body = {"orderId": order, "customerId": "CUST-1", "currency": "USD", "items": items}
        return await self._until_answered(http, "POST", "/api/create-order", body, order, "pending", stop, keyed=keyed)

    async def _update(self, http: httpx.AsyncClient, order: str, stop: asyncio.Event) -> None:
        target = STEPS[self._known[order]]
        body = {"orderId": order, "status": target}
        keyed = self._random.random() < 0.5
        if await self._until_answered(http, "PUT", "/api/update-order", body, order, target, stop, keyed=keyed):
            self._known[order] = target

    async def _until_answered(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        body: object,
        order: str,
        target: str,
        stop: asyncio.Event,
        *,
        keyed: bool,
    ) -> bool:
        """Whether the change is known to be stored. Those without a key, half of them, are not repeated after a lost
        answer, so that the checker also sees what really happened behind one."""
        headers = {"Idempotency-Key": f"{order}-{target}"} if keyed else {}
        while not stop.is_set():
            number = self._ledger.attempt(order, target)
            try:
                answer = await http.request(method, path, json=body, headers=headers)
            except httpx.HTTPError:
                self._ledger.answer(number, None, None)
                if not headers:
                    return False
                await asyncio.sleep(self._again)  # the system is down or coming up; there is no event to wait for
                continue
            version = int(answer.headers["etag"].strip('"')) if answer.is_success else None
            self._ledger.answer(number, answer.status_code, version)
            if answer.is_success:
                return True
            if answer.status_code not in (500, 503) and not _still_in_hand(answer):
                said = f"{method} {order} {target} answered {answer.status_code}: {answer.text}"
                if self._strange is None:
                    raise AssertionError(said)
                self._strange.append(said)
                return False
            if answer.status_code == 500 and not headers:
                return False  # the outcome is unknown, as after a lost answer
            await asyncio.sleep(self._again)
        return False


def _still_in_hand(answer: httpx.Response) -> bool:
    """Whether the attempt before, whose answer was not waited for, is not decided yet: repeating it tells."""
    return answer.status_code == 409 and answer.json()["code"] == "idempotency-key-in-flight"
