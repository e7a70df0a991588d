"""Which partition a key belongs to: the default partitioner of Kafka's Java clients, so that every producer agrees.

Murmur2 with seed 0x9747b28c, sign bit cleared, modulo the partition count (org.apache.kafka.common.utils.Utils).
"""

from collections.abc import Collection
from typing import Final

_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF

Places = Collection[tuple[bytes, int]]
"""Keys, each with a partition in which a record of it lies."""


def murmur2(data: bytes) -> int:
    """The 32-bit unsigned murmur2 hash that Java clients compute."""
    length = len(data)
    whole = length & ~3
    h = 0x9747B28C ^ length
    for i in range(0, whole, 4):
        k = (int.from_bytes(data[i : i + 4], "little") * _MULTIPLIER) & _MASK
        k = ((k ^ (k >> 24)) * _MULTIPLIER) & _MASK
        h = ((h * _MULTIPLIER) & _MASK) ^ k
    if whole != length:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER) & _MASK
    h = ((h ^ (h >> 13)) * _MULTIPLIER) & _MASK
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """The key's partition, 0 to ``partitions`` - 1."""
    return _hash(key) % partitions


def spread_over(places: Places, at_most: int) -> int | None:
    """The largest partition count up to ``at_most`` under which all these keys belong where they lie; None: no such."""
    hashes = [(_hash(key), partition) for key, partition in places]
    return next((n for n in range(at_most, 0, -1) if all(value % n == at for value, at in hashes)), None)


def _hash(key: bytes) -> int:
    return murmur2(key) & 0x7FFFFFFF
