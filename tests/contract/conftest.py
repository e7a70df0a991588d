"""At the end of a run: which adapter passed how much of which suite."""

import re
from collections import Counter

import pytest

ADAPTERS = {
    "memory": "memory",
    "simulated": "simulated",
    "sqlite": "SQLite",
    "postgres": "PostgreSQL",
    "mock": "mock cluster",
    "kafka": "Kafka",
    "built in": "built-in registry",
    "stand-in": "registry stand-in",
    "real": "registry",
}
SUITE = re.compile(r"tests/contract/(\w+)(?:/|\.py)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One table of suite x adapter: tests passed, failed, and those that could not run there."""
    counts: dict[str, dict[str, Counter[str]]] = {}
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            found, adapter = SUITE.match(report.nodeid), _adapter(report.nodeid)
            if found and adapter and (outcome != "passed" or report.when == "call"):
                counts.setdefault(found[1], {}).setdefault(adapter, Counter())[outcome] += 1
    if not counts:
        return
    terminalreporter.section("contract suites: passed by adapter")
    for suite, by_adapter in sorted(counts.items()):
        cells = [f"{adapter} {_cell(by_adapter[adapter])}" for adapter in ADAPTERS.values() if adapter in by_adapter]
        terminalreporter.write_line(f"{suite:<24} " + "   ".join(cells))


def _adapter(nodeid: str) -> str | None:
    """The adapter in a test's parameters; tests of one adapter alone are no part of a suite."""
    parameters = nodeid.partition("[")[2].rstrip("]")
    names = [name for name in ADAPTERS if re.match(rf"{re.escape(name)}(-|$)", parameters)]
    if not names:
        names = [name for name in ADAPTERS if re.search(rf"(^|-){re.escape(name)}$", parameters)]
    return ADAPTERS[names[0]] if names else None


def _cell(outcomes: Counter[str]) -> str:
    failed = f", {outcomes['failed']} FAILED" if outcomes["failed"] else ""
    skipped = f", {outcomes['skipped']} n/a" if outcomes["skipped"] else ""
    return f"{outcomes['passed']}{failed}{skipped}"
