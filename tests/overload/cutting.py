"""Clients that hang up: at a random byte of their request, or while the answer is on its way."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time

import uvloop

from tests.e2e.crash_clients import Attempt
from tests.faults.outcome import Limit, Outcome, none
from tests.overload.clients import SEED, Record, create_request, until_normal, usual
from tests.overload.systems import Attempts, Open, Place

AT_ONCE = 8
ADMITTED = 16
"""Few places, so that one that is not given back is missed soon."""

RESET = struct.pack("ii", 1, 0)
AFTER_SECONDS = 0.02
"""The longest wait between the last byte and the cut: the request is then anywhere up to its answer."""


def cut_connections(place: Place, *, cuts: int) -> Outcome:
    """So many clients place an order and hang up: half of them with a reset, half of them in good form."""
    return uvloop.run(_cut_connections(place, cuts))


async def _cut_connections(place: Place, cuts: int) -> Outcome:
    with place.system("cut", ORDERING_ADMISSION_MAX=str(ADMITTED)) as system:
        rng, attempts, record = random.Random(SEED), Attempts(), Record()
        usually = await usual(system.cart.url, record, "before")
        before = Open.of(system, place)
        port, whole = system.cart.port, 0
        for first in range(0, cuts, AT_ONCE):
            jobs = []
            for number in range(first, min(cuts, first + AT_ONCE)):
                request = create_request(f"cut-{number}", key=rng.random() < 0.5)
                # Every other one is sent as a whole: the cut is then between the last byte and the answer.
                length = len(request) if number % 2 else rng.randrange(len(request))
                whole += length == len(request)
                status = None if length == len(request) else 503  # in part: as good as refused, it must not exist
                attempts[f"cut-{number}"] = [Attempt(f"cut-{number}", "pending", status)]
                pause = rng.random() * AFTER_SECONDS
                jobs.append(_cut(port, request[:length], pause, reset=rng.random() < 0.5))
            await asyncio.gather(*jobs)
        left = await before.left()
        normal = await until_normal(system.cart.url, record, "after", within=max(1.0, 2 * usually))
        findings = await system.settled({**attempts, **record.attempts})
        stored = findings.events - findings.repeated - len(record.accepted)
        began = time.monotonic()
        status = await asyncio.to_thread(system.cart.stop)
        stopped = time.monotonic() - began
        return Outcome(
            f"{cuts} cut connections, {whole} of them behind a whole request; {stored} orders stored",
            findings,
            (
                none("connections and descriptors left", left),
                Limit("normal after", normal, 5.0),
                Limit("clean stop", stopped, 3.0),
                none("exit status", status),
                none("tracebacks in the log", system.cart.said("Traceback")),
                none("no order was stored, so nothing was shown", int(stored <= 0)),
            ),
        )


async def _cut(port: int, part: bytes, pause: float, *, reset: bool) -> None:
    """Send a part of a request, wait a moment, hang up."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        try:
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, part)
        except OSError:
            return  # what is missed behind the last cut says more
        await asyncio.sleep(pause)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
