"""Watching one service from outside, a request at a time: what it answers when, to the millisecond."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import attrs
import httpx

from tests.e2e.crash_clients import Ledger


@attrs.frozen
class Answer:
    """When a request was sent and answered (monotonic seconds), and how; None: not at all."""

    sent: float
    at: float
    status: int | None


class Watch:
    """Creates one order after the other, each noted in the ledger, until the block ends."""

    def __init__(self, url: str, ledger: Ledger, name: str, pause: float = 0.02) -> None:
        self._url, self._ledger, self._name, self._pause = url, ledger, name, pause
        self.answers: list[Answer] = []
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._ending = True  # a request that is cut off would look like one that got no answer
        await self._task

    async def _run(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as http:
            number = 0
            while not self._ending:
                number += 1
                order = f"{self._name}-{number}"
                ticket, sent = self._ledger.attempt(order, "pending"), time.monotonic()
                try:
                    answer = await http.post("/api/create-order", json={"orderId": order, "numItems": 1})
                except httpx.HTTPError:
                    self._ledger.answer(ticket, None, None)
                    self.answers.append(Answer(sent, time.monotonic(), None))
                else:
                    self._ledger.answer(ticket, answer.status_code, 1 if answer.is_success else None)
                    self.answers.append(Answer(sent, time.monotonic(), answer.status_code))
                await asyncio.sleep(self._pause)  # the rate of the watch, not a wait for something

    async def first(self, status: int, since: float, seconds: float = 120.0) -> float:
        """How long after a moment the first request sent since then was answered so."""
        found = await self._until(lambda answer: answer.sent >= since and answer.status == status, seconds)
        return found.at - since

    async def steadily(self, status: int, count: int, seconds: float = 120.0) -> None:
        """Return when so many answers in a row, all to come, were this one."""
        begin = len(self.answers)
        deadline = time.monotonic() + seconds
        while True:
            new = self.answers[begin:]
            if len(new) >= count and all(answer.status == status for answer in new[-count:]):
                return
            assert time.monotonic() < deadline, f"no {count} answers {status} in a row: {new[-5:]}"
            await asyncio.sleep(self._pause)

    async def _until(self, holds: Callable[[Answer], bool], seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        while True:
            for answer in self.answers:
                if holds(answer):
                    return answer
            assert time.monotonic() < deadline, f"not within {seconds} s; the last: {self.answers[-5:]}"
            await asyncio.sleep(self._pause)
