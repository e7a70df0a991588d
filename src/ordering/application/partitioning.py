"""Which partition a key belongs to: the default partitioner of Kafka's Java clients, so that every producer agrees.

Murmur2 with seed 0x9747b28c, sign bit cleared, modulo the partition count (org.apache.kafka.common.utils.Utils).
"""

from typing import Final

_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


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
    return (murmur2(key) & 0x7FFFFFFF) % partitions
