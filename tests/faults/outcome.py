"""What a scenario found: five counts that must be zero, and limits with what was measured."""

from __future__ import annotations

import attrs

from tests.e2e.crash_checker import Findings

SLACK = 10.0
"""How much longer a time may be where a test asserts it: no test may depend on the speed of the machine. What hangs is
given up after ``PATIENCE`` all the same, and without slack it is ``make faults`` that judges."""


@attrs.frozen
class Limit:
    """Something that must not be more than this. A time, unless it is a count: of things, or of ``unit``."""

    what: str
    measured: float
    most: float
    count: bool = False
    unit: str = ""
    still: float = 0.0
    """Seconds for which machine or service stood still meanwhile, by a measure of its own: no fault of what was
    measured where slack is given."""

    def holds(self, slack: float = 1.0) -> bool:
        """Whether it was kept; *slack* stretches times, never counts."""
        if self.count or slack == 1.0:
            return self.measured <= self.most
        return self.measured <= self.most * slack + self.still

    def __str__(self) -> str:
        if self.unit:
            return f"{self.what} {self.measured:.1f} {self.unit} (at most {self.most:g} {self.unit})"
        if self.count:
            return f"{self.what} {self.measured:.0f} (at most {self.most:.0f})"
        return f"{self.what} {self.measured:.2f} s (at most {self.most:g} s)"


def worst(what: str, measured: list[float], most: float) -> Limit:
    """The largest of several times against its limit, all of them shown."""
    times = "/".join(f"{one:.2f}" for one in measured)
    return Limit(f"{what} [{times}]" if len(measured) > 1 else what, max(measured), most)


def none(what: str, count: int) -> Limit:
    """Something that must not happen at all."""
    return Limit(what, count, 0, count=True)


@attrs.frozen
class Outcome:
    """Of one scenario in one size."""

    figures: str
    findings: Findings
    limits: tuple[Limit, ...]

    def broken(self, slack: float = 1.0) -> list[str]:
        """What did not hold; empty if all is well."""
        counts = [] if self.findings.all_zero else [self.findings.table()]
        return counts + [str(limit) for limit in self.limits if not limit.holds(slack)]

    def report(self) -> str:
        """One line of figures, the five counts, and every limit with its measured value."""
        told = [f"  {'ok ' if limit.holds() else 'NOT'} {limit}" for limit in self.limits]
        events = f"{self.findings.events} events in the log, {self.findings.repeated} of them repeated"
        return "\n".join([f"{self.figures}, {events}", self.findings.table(), *told])
