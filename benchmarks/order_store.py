"""How many orders a second the SQLite store makes durable, by batch size: `python -m benchmarks.order_store [folder]`.

One creation each with nine headers and a body of 250 bytes, ids in random order, fsync before every answer; marking
them published is part of the figures.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.application.messages import Encoded, NewEvent, Write

_HEADERS = tuple((f"ce_header-{number}", b"0190aaaa-bbbb-cccc-dddd-eeeeffff0000") for number in range(9))
_BODY = bytes(250)
_BATCHES = (64, 256, 8, 1)
_ROUNDS = 5
_SECONDS = 1.0


def _creation(number: int, chance: random.Random) -> Write:
    order_id = f"order-{chance.getrandbits(60):x}"
    event_id = f"0190{number:08x}-{chance.getrandbits(64):016x}"
    encoded = Encoded("order-events-value/1", _BODY)
    event = NewEvent(event_id, order_id, 1, "order-events", order_id.encode(), _HEADERS, encoded, number)
    return Write(order_id, 0, event)


async def _round(store: SqliteOrderStore, batch: int, writes: list[Write]) -> tuple[float, float, int]:
    """Orders a second, processor microseconds per order (kernel included), orders written."""
    began, cpu, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < _SECONDS and done + batch <= len(writes):
        part = writes[done : done + batch]
        await store.write(part)
        await store.mark_published([(write.aggregate_id, 1) for write in part])
        done += batch
    taken, used = time.perf_counter() - began, time.process_time() - cpu
    return done / taken, used / done * 1e6, done


async def _measure(folder: Path) -> None:
    chance = random.Random(20_260_101)
    numbers = iter(range(1 << 40))
    store = SqliteOrderStore.open(folder / "cart.db")
    print("batch    orders/s  (lowest - highest)    cpu us/order    orders in the file")
    total = 0
    for batch in _BATCHES:
        results = []
        for _ in range(_ROUNDS):
            room = min(40_000, batch * 5_000)
            writes = [_creation(next(numbers), chance) for _ in range(room)]
            rate, cpu, done = await _round(store, batch, writes)
            total += done
            results.append((rate, cpu))
        rates, cpus = [rate for rate, _ in results], [cpu for _, cpu in results]
        spread = f"({min(rates):.0f} - {max(rates):.0f})"
        print(f"{batch:5} {statistics.median(rates):11.0f}  {spread:20} {statistics.median(cpus):12.1f} {total:18}")
    await store.close()


def main() -> None:
    parent = sys.argv[1] if len(sys.argv) > 1 else None  # name a folder on a real disk if /tmp is in memory
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        asyncio.run(_measure(Path(folder)))


if __name__ == "__main__":
    main()
