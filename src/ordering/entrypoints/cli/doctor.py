"""``ordering doctor``: look at everything, print one line each."""

import os
import sys
from collections import Counter
from typing import Final

from ordering.entrypoints.cli import output as out
from ordering.entrypoints.doctor.findings import Finding, Level
from ordering.entrypoints.doctor.report import findings

_COLOURS: Final = {Level.OK: "\x1b[32m", Level.WARN: "\x1b[33m", Level.FAIL: "\x1b[31m"}
_PLAIN: Final = "\x1b[0m"


def doctor(output: out.Output, *, strict: bool) -> int:
    """1 if anything failed (or, ``strict``, is worth a warning), else 0."""
    found = findings(os.environ)
    if output == "json":
        for finding in found:
            out.line({"check": finding.check, "level": finding.level, "message": finding.message, "hint": finding.hint})
    else:
        _print(found)
    bad = {Level.FAIL, Level.WARN} if strict else {Level.FAIL}
    return 1 if any(finding.level in bad for finding in found) else 0


def _print(found: list[Finding]) -> None:
    coloured = out.coloured(sys.stdout)
    width = max(len(finding.check) for finding in found)
    for finding in found:
        level = f"{finding.level:<4}"
        if coloured:
            level = f"{_COLOURS[finding.level]}{level}{_PLAIN}"
        print(f"{level}  {finding.check:<{width}}  {out.cell(finding.message)}")
        if finding.hint:
            print(f"{'':<4}  {'':<{width}}  -> {out.cell(finding.hint)}")
    counts = Counter(finding.level for finding in found)
    print(", ".join(f"{counts[level]} {level}" for level in Level))
