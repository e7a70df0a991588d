"""Sockets that begin a request and never end it, while others do what they always do."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import attrs
import uvloop

from tests.e2e.crash_clients import Attempt
from tests.faults.cluster import ACCEPTING
from tests.faults.outcome import Limit, Outcome, none
from tests.overload.clients import Load, Record, percentile
from tests.overload.systems import Attempts, Open, Place

CLIENTS = 16
LATE_SECONDS = 1.0
"""How much later than its deadline a socket may be closed: the machine has other things to do, too."""

DRIBBLE_SECONDS = 0.25
"""Half of the sockets send a byte so often: each of them must not begin the time anew."""


@attrs.define
class Stuck:
    """One socket: it sends a part of a request, then nothing more or a byte now and then."""

    part: bytes
    dribbles: bool
    deadline: float
    lived: float = 0.0
    status: int = 0
    """Of the answer that it got before it was closed; 0 if none."""

    async def run(self, url: str) -> None:
        """From the connection to its end."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        began = time.monotonic()
        writer.write(self.part)
        dribbling = asyncio.create_task(self._dribble(writer)) if self.dribbles else None
        received = b""
        try:
            async with asyncio.timeout(self.deadline + 60):
                while data := await reader.read(4_096):
                    received += data
        except (ConnectionError, TimeoutError):
            pass
        self.lived = time.monotonic() - began
        self.status = int(received[9:12]) if received.startswith(b"HTTP/1.1 ") else 0
        if dribbling is not None:
            dribbling.cancel()
            await asyncio.gather(dribbling, return_exceptions=True)
        writer.close()

    async def _dribble(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(DRIBBLE_SECONDS)
            writer.write(b"x")


def stuck_heads(place: Place, *, sockets: int, admitted: int, head: float, body: float) -> Outcome:
    """Half a head each; the deadlines in seconds are those of the service."""
    parts = (b"GET /api/order-details?orderId=x HTTP/1.1\r\nX-", b"POST /api/crea", b"GET /")
    made = [Stuck(parts[number % len(parts)], number % 4 == 0, head) for number in range(sockets)]
    return uvloop.run(_stuck(place, "stuck-heads", made, {}, _settings(admitted, head, body)))


def _settings(admitted: int, head: float, body: float) -> dict[str, str]:
    return {
        **ACCEPTING,  # neither a slow disk nor a machine that stands still makes anybody be refused
        "ORDERING_ADMISSION_MAX": str(admitted),
        "ORDERING_HEAD_SECONDS": str(head),
        "ORDERING_BODY_SECONDS": str(body),
    }


def stuck_bodies(place: Place, *, sockets: int, admitted: int, head: float, body: float) -> Outcome:
    """A whole head and half a body each, which is a whole order if its length is not looked at. There are more of
    them than are admitted at once."""
    assert sockets > admitted
    made: list[Stuck] = []
    never: Attempts = {}
    for number in range(sockets):
        order_id = f"stuck-{number}"
        never[order_id] = [Attempt(order_id, "pending", 503)]  # as good as refused: it must not exist
        begun = b'{"orderId":"%b","numItems":1}' % order_id.encode()
        fields = b"Transfer-Encoding: chunked\r\n\r\n400\r\n" if number % 2 else b"Content-Length: 1000\r\n\r\n"
        part = b"POST /api/create-order HTTP/1.1\r\nHost: x\r\n" + fields + begun
        made.append(Stuck(part, number % 4 == 0, body))
    return uvloop.run(_stuck(place, "stuck-bodies", made, never, _settings(admitted, head, body)))


async def _stuck(place: Place, name: str, sockets: list[Stuck], never: Attempts, settings: dict[str, str]) -> Outcome:
    with place.system(name, **settings) as system:
        record, before = Record(), Open.of(system, place)
        async with Load(system.cart.url, "s", CLIENTS, record=record):
            await asyncio.gather(*(one.run(system.cart.url) for one in sockets))
        left = await before.left()
        findings = await system.settled({**record.attempts, **never})
        asked = sum(map(len, record.attempts.values()))
        lived = [one.lived for one in sockets]
        figures = f"{len(sockets)} stuck sockets, lived {min(lived):.2f} to {max(lived):.2f} s; others: {record.told()}"
        return Outcome(
            figures,
            findings,
            (
                Limit("the last one was closed after", max(lived), sockets[0].deadline + LATE_SECONDS),
                none("sockets that were not told 408", sum(one.status != 408 for one in sockets)),
                Limit("others' requests not accepted", asked - len(record.accepted), asked * 0.001, count=True),
                Limit("others' p99", percentile(record.accepted, 0.99), 1.0),
                none("connections and descriptors left", left),
            ),
        )
