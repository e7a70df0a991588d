"""Another program that writes into our topic: records that are no events of ours, or only look like it."""

from collections.abc import Callable
from typing import Final

import attrs

from ordering.adapters.avro.codec import OrderCodec
from ordering.application.framing import frame, unframe
from ordering.application.messages import Encoded, Record
from tests.simulation.outside import FOREIGN_ID, Outside

CODEC: Final = OrderCodec()
STRANGER: Final = b"stranger"
OURS: Final = 1
"""The registry id of our newest schema."""
STRANGER: Final = b"stranger"
KINDS: Final = (
    "junk",
    "corrupt",
    "tombstone",
    "bad-key",
    "no-key",
    "key-mismatch",
    "unknown-schema",
    "version-conflict",
    "resent",
    "stranger",
)


class ForeignProducer:
    """Sends one such record at a time, mostly under the key of an order of ours. None of them has our headers."""

    def __init__(self, outside: Outside) -> None:
        self._outside, self._rng, self._log = outside, outside.rng, outside.log

    async def send(self) -> None:
        """A few records, each of a kind that is drawn."""
        for _ in range(self._rng.choice((1, 1, 3))):
            self._send_one()
            await self._outside.runtime.sleep(self._rng.choice((0.0, 0.1)))

    def _send_one(self) -> None:
        partition = self._rng.randrange(len(self._log.partitions))
        ours = [one for one in self._log.partitions[partition] if (partition, one.offset) not in self._log.foreign]
        kind = self._rng.choice(KINDS) if ours else self._rng.choice(("junk", "tombstone", "no-key", "stranger"))
        key, value = self._made(kind, ours)
        if key == STRANGER:  # a key has one partition, also here
            key = f"stranger-{partition}".encode()
        self._outside.saw(f"foreign.{kind}")
        if key == STRANGER:
            key += b"-%d" % partition  # nobody's key is in two partitions
        self._log.insert(partition, key, value, (), kind)

    def _made(self, kind: str, ours: list[Record]) -> tuple[bytes | None, bytes | None]:
        one = self._rng.choice(ours) if ours else None
        key = one.key if one is not None else STRANGER
        value = (one.value if one is not None else None) or b""
        made: dict[str, Callable[[], tuple[bytes | None, bytes | None]]] = {
            "junk": lambda: (key, b"junk"),
            "corrupt": lambda: (key, frame(OURS, b"\x00")),
            "tombstone": lambda: (key, None),
            "bad-key": lambda: (b"\xff\xfe", value),
            "no-key": lambda: (None, value),
            "key-mismatch": lambda: (self._other_key(key, ours), value),
            "unknown-schema": lambda: (key, frame(FOREIGN_ID, unframe(value)[1])),
            "version-conflict": lambda: (key, self._forged([record for record in ours if record.key == key])),
            "resent": lambda: (key, value),
            "stranger": lambda: (STRANGER, frame(OURS, b"\x00")),
        }
        return made[kind]()

    def _other_key(self, key: bytes | None, ours: list[Record]) -> bytes:
        others = [record.key for record in ours if record.key and record.key != key]
        return self._rng.choice(others) if others else STRANGER

    def _forged(self, records: list[Record]) -> bytes:
        """The newest version of an order in the log, as another event."""
        events = [CODEC.decode(Encoded(CODEC.schema, unframe(record.value or b"")[1])) for record in records]
        newest = max(events, key=lambda event: event.order.version)
        return frame(OURS, CODEC.encode(attrs.evolve(newest, event_id=self._outside.runtime.new_id())).body)
