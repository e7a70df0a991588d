"""Two cart services that are asked for the same orders at the same moment: one winner, and one answer to a key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
import httpx

from tests.e2e.crash_clients import Ledger
from tests.faults.cluster import ACCEPTING, PATIENCE
from tests.faults.outcome import Outcome, none
from tests.faults.parts import Parts

AT_ONCE = 8


@attrs.define
class _Said:
    """One answer, as its client has it."""

    status: int
    etag: str | None
    body: bytes


@attrs.define
class _Race:
    """One order and what was answered about it, in the order of the instances."""

    http: httpx.AsyncClient
    urls: tuple[str, str]
    ledger: Ledger
    order: str
    faults: list[str] = attrs.Factory(list)
    outcomes: Counter[str] = attrs.Factory(Counter)

    async def creates(self, *, keys: tuple[str, str] | None, items: tuple[int, int]) -> list[_Said]:
        """A create at each instance at once; with two keys or two bodies they are two requests, else one repeated."""
        bodies = [{"orderId": self.order, "numItems": count} for count in items]
        return await self._both("POST", "/api/create-order", bodies, ["pending"] * 2, keys, {})

    async def changes(
        self, targets: tuple[str, str], *, keys: tuple[str, str] | None = None, version: int | None = None
    ) -> list[_Said]:
        """A change of status at each instance at once."""
        bodies = [{"orderId": self.order, "status": target} for target in targets]
        match = {} if version is None else {"If-Match": f'"{version}"'}
        return await self._both("PUT", "/api/update-order", bodies, list(targets), keys, match)

    async def _both(
        self,
        method: str,
        path: str,
        bodies: list[dict[str, Any]],
        targets: list[str],
        keys: tuple[str, str] | None,
        headers: Mapping[str, str],
    ) -> list[_Said]:
        asked = [
            self._ask(method, f"{url}{path}", body, target, {**headers, **({"Idempotency-Key": key} if key else {})})
            for url, body, target, key in zip(self.urls, bodies, targets, keys or (None, None), strict=True)
        ]
        said = await asyncio.gather(*asked)
        self.outcomes["/".join(sorted(str(one.status) for one in said))] += 1
        return said

    async def _ask(self, method: str, url: str, body: Any, target: str, headers: dict[str, str]) -> _Said:  # noqa: ANN401
        ticket = self.ledger.attempt(self.order, target)
        answer = await self.http.request(method, url, json=body, headers=headers)
        etag = answer.headers.get("etag") if answer.is_success else None
        self.ledger.answer(ticket, answer.status_code, int(etag.strip('"')) if etag else None)
        return _Said(answer.status_code, etag, answer.content)

    def expect(self, holds: bool, what: str, said: list[_Said]) -> None:
        """Note a fault with what was answered."""
        if not holds:
            told = ", ".join(f"{one.status} {one.body[:160].decode(errors='replace')}" for one in said)
            self.faults.append(f"{self.order}: {what}, but {told}")

    def one_wins(self, said: list[_Said], won: int, lost: int, what: str) -> None:
        """One of the two is stored, the other is told that it came too late."""
        self.expect(sorted(one.status for one in said) == [won, lost], f"{what}: one is {won}, one {lost}", said)

    def same(self, said: list[_Said], status: int, what: str) -> None:
        """Both have the very same answer."""
        first = said[0]
        equal = all((one.status, one.etag, one.body) == (status, first.etag, first.body) for one in said)
        self.expect(equal, f"{what}: both are the same {status}", said)


def two_instances_race(parts: Parts, *, orders: int) -> Outcome:
    """Both instances are asked at once to create the same orders and to change them, with and without keys."""
    return asyncio.run(_two_instances_race(parts, orders))


async def _two_instances_race(parts: Parts, orders: int) -> Outcome:
    with parts.trial("two-instances-race", **ACCEPTING) as trial:
        carts = [await asyncio.to_thread(trial.cluster.cart) for _ in range(2)]
        await asyncio.to_thread(trial.cluster.order)
        urls = (carts[0].url, carts[1].url)
        kinds = (_unkeyed, _two_keys, _one_key)
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            races = [_Race(http, urls, trial.ledger, f"race-{number}") for number in range(orders)]
            for first in range(0, orders, AT_ONCE):
                together = range(first, min(first + AT_ONCE, orders))
                await asyncio.gather(*(kinds[number % len(kinds)](races[number]) for number in together))
        findings = await trial.settled()
        faults = [fault for race in races for fault in race.faults]
        outcomes = sum((race.outcomes for race in races), Counter())
        told = ", ".join(f"{answers} {count}" for answers, count in sorted(outcomes.items()))
        figures = f"{orders} orders raced for ({told}), {trial.counts()}" + "".join(f"\n  {one}" for one in faults[:5])
        return Outcome(figures, findings, (none("races with another outcome", len(faults)),))


async def _unkeyed(race: _Race) -> None:
    race.one_wins(await race.creates(keys=None, items=(1, 2)), 201, 409, "two creates")
    race.one_wins(await race.changes(("confirmed", "confirmed"), version=1), 200, 412, "two changes of version 1")
    said = await race.changes(("shipped", "cancelled"))
    race.one_wins(said, 200, 409, "two changes, of which each forbids the other")


async def _two_keys(race: _Race) -> None:
    keys = (f"{race.order}-a", f"{race.order}-b")
    race.one_wins(await race.creates(keys=keys, items=(2, 2)), 201, 409, "two creates by two keys")
    said = await race.changes(("cancelled", "cancelled"), keys=keys)
    race.expect([one.status for one in said] == [200, 200], "two keys to one status: both are 200", said)
    race.expect({one.etag for one in said} == {'"2"'}, "two keys to one status: one change", said)


async def _one_key(race: _Race) -> None:
    keys = (f"{race.order}-k", f"{race.order}-k")
    said = await race.creates(keys=keys, items=(3, 3))
    race.same(said + await race.creates(keys=keys, items=(3, 3)), 201, "one key, twice at once and twice again")
    said = await race.changes(("confirmed", "confirmed"), keys=keys, version=1)
    again = await race.changes(("confirmed", "confirmed"), keys=keys, version=1)
    race.same(said + again, 200, "one key at version 1, twice at once and twice again")
    said = await race.creates(keys=keys, items=(4, 4))
    race.expect([one.status for one in said] == [422, 422], "one key with another body: 422", said)
