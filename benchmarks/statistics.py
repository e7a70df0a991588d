"""Medians with their spread."""

import statistics
from collections.abc import Sequence

import attrs


@attrs.frozen
class Spread:
    """Median, lowest and highest of a series."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """``median [low..high]``."""
        return f"{self.median:,.{digits}f} [{self.low:,.{digits}f}..{self.high:,.{digits}f}]"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0..1) of the series lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
