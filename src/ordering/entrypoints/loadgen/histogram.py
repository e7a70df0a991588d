"""Latencies in buckets of equal relative width, as HdrHistogram has them: constant memory, and they can be added up."""

from collections.abc import Sequence
from math import ceil

_BITS = 7
_FIRST = 2 << _BITS
"""Up to here every microsecond has a bucket of its own; above, buckets are at most 1/128 wide (0.8 %)."""


class Histogram:
    """Counts of latencies, in microseconds, each true to 0.8 %; the largest one is exact."""

    __slots__ = ("_counts", "count", "largest")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.largest = 0

    def record(self, microseconds: int) -> None:
        """Count one latency; a negative one (no clock is perfect) counts as none."""
        value = max(0, microseconds)
        bucket = _bucket(value)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.largest = max(self.largest, value)

    def add(self, other: "Histogram") -> None:
        """Count what another one counted."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.largest = max(self.largest, other.largest)

    def percentiles(self, shares: Sequence[float]) -> list[int]:
        """For each share (0 to 1, ascending), the latency that so many were not above; 0 of nothing.

        Never told too small: it is the upper edge of the bucket, or the largest latency if that is less.
        """
        found: list[int] = []
        ascending = iter(sorted(self._counts.items()))
        passed, edge = 0, 0
        for share in shares:
            needed = max(1, ceil(share * self.count - 1e-6))  # a hair less: 0.999 x 1,000 is not 999 in binary
            while passed < min(needed, self.count):
                bucket, count = next(ascending)
                passed, edge = passed + count, _upper_edge(bucket)
            found.append(min(edge, self.largest))
        return found

    def above(self, microseconds: int) -> int:
        """How many were certainly above this."""
        return sum(count for bucket, count in self._counts.items() if bucket > _bucket(microseconds))


def _bucket(value: int) -> int:
    shift = max(0, value.bit_length() - _BITS - 1)
    return (shift << _BITS) + (value >> shift)


def _upper_edge(bucket: int) -> int:
    shift = 0 if bucket < _FIRST else (bucket >> _BITS) - 1
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
