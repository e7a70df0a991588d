"""Rules for source files that import-linter cannot see."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "ordering"
WRITTEN = ("src", "tests", "benchmarks", "scripts")
"""The folders of everything that people read as code."""
LONGEST = 400

# Time and tasks reach the application as ports: the simulation replaces them.
BANNED_FROM_ASYNCIO = {
    "TaskGroup", "create_task", "ensure_future", "run", "run_coroutine_threadsafe", "sleep", "timeout",
    "timeout_at", "to_thread", "wait", "wait_for",
}  # fmt: skip
BANNED_ON_A_LOOP = {"call_at", "call_later", "create_task", "run_in_executor"}  # the Runtime port has its own
BANNED_CLOCKS = {"now", "today", "utcnow"}


def sources(room: str = "") -> Iterator[Path]:
    """Yield the package's source files, or those of one room."""
    return (PACKAGE / room).rglob("*.py")


def imported_roots(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level package of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def hidden_inputs(source: str) -> list[str]:
    """Return what *source* takes from the loop or the wall clock instead of having it injected."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "asyncio":
            names = [f"asyncio.{alias.name}" for alias in node.names if alias.name in BANNED_FROM_ASYNCIO]
        elif isinstance(node, ast.Attribute):
            on_asyncio = isinstance(node.value, ast.Name) and node.value.id == "asyncio"
            on_a_loop = ast.unparse(node.value).removesuffix("()").endswith("loop")
            of_datetime = ast.unparse(node.value).split(".")[-1] in {"datetime", "date"}
            banned = (
                (on_asyncio and node.attr in BANNED_FROM_ASYNCIO)
                or (of_datetime and node.attr in BANNED_CLOCKS)
                or (on_a_loop and node.attr in BANNED_ON_A_LOOP)
            )
            names = [ast.unparse(node)] if banned else []
        elif isinstance(node, ast.Import):
            names = [
                f"import asyncio as {alias.asname}" for alias in node.names if alias.name == "asyncio" and alias.asname
            ]
        else:
            continue
        found += [f"line {node.lineno}: {name}" for name in names]
    return found


@pytest.mark.parametrize("folder", WRITTEN)
def test_no_file_is_too_long(folder: str) -> None:
    """A reader sees a file as a whole; tests, benchmarks and scripts are read as often as the product."""
    files = list((ROOT / folder).rglob("*.py"))
    long = {str(path): count for path in files if (count := len(path.read_text().splitlines())) > LONGEST}

    assert files
    assert long == {}


def test_nothing_is_called_utils() -> None:
    """Name the thing or delete it."""
    nameless = [path for path in PACKAGE.rglob("*") if path.stem in {"util", "utils", "helpers", "misc"}]

    assert nameless == []


@pytest.mark.parametrize("room", ["domain", "application"])
def test_the_inner_rooms_use_only_the_standard_library_and_attrs(room: str) -> None:
    """The layer contracts list what is forbidden; this lists what is allowed."""
    allowed = {*sys.stdlib_module_names, "attrs", "ordering"}
    foreign = {
        (path.name, root)
        for path in sources(room)
        for root in imported_roots(ast.parse(path.read_text()))
        if root not in allowed
    }

    assert foreign == set()


@pytest.mark.parametrize("room", ["domain", "application"])
def test_the_inner_rooms_take_time_and_tasks_from_outside(room: str) -> None:
    """Clock, sleep and spawn are injected, so that a test can hold time in its hand."""
    hidden = {path.name: found for path in sources(room) if (found := hidden_inputs(path.read_text()))}

    assert hidden == {}


@pytest.mark.parametrize(
    "bad",
    [
        "import asyncio\nasync def f() -> None:\n    await asyncio.sleep(1)",
        "import asyncio\nasyncio.create_task(f())",
        "from asyncio import wait_for",
        "import asyncio as aio\naio.to_thread(f)",
        "loop.call_later(1, f)",
        "import asyncio\nasyncio.get_running_loop().call_later(1, f)",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "from datetime import date\ndate.today()",
    ],
)
def test_a_hidden_input_is_found(bad: str) -> None:
    """The rule above can break."""
    assert len(hidden_inputs(bad)) == 1


@pytest.mark.parametrize(
    "good",
    [
        "import asyncio\nasyncio.Event()",
        "import asyncio\nasyncio.get_running_loop().create_future()",
        "self._runtime.call_later(1, f)",
    ],
)
def test_what_is_injected_or_holds_no_time_is_fine(good: str) -> None:
    """The rule above finds no more than it should."""
    assert hidden_inputs(good) == []
