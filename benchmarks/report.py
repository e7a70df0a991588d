"""The lines of RESULTS.md."""

import attrs

from benchmarks.statistics import Spread


@attrs.define
class Report:
    """The lines of RESULTS.md, printed as they come."""

    lines: list[str] = attrs.Factory(list)

    def add(self, line: str = "") -> None:
        """Add and show one line."""
        self.lines.append(line)
        print(line, flush=True)

    def goal(self, what: str, measured: Spread, reached: bool, wanted: str, digits: int = 2) -> None:
        """Add a line with a figure, what was wanted of it, and whether it is."""
        self.add(f"- {what}: **{measured.text(digits)}** ({wanted}: {'reached' if reached else 'NOT reached'})")
