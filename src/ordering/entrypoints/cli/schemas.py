"""``ordering schemas``: the published contracts, alone and against a schema registry."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, TypeVar

from ordering.application.failures import RegistryUnavailable
from ordering.entrypoints import container
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.process import StartupError
from ordering.entrypoints.settings import Mode, Settings, load

T = TypeVar("T")

COLUMNS: Final = ("subject", "schema", "state", "id", "version")


def check() -> int:
    """Print what was checked and what is wrong; 1 if anything is."""
    verdict = container.check_schemas()
    _complain(verdict.faults)
    for name in verdict.checked:
        print(f"checked  {name}")
    for what in verdict.skipped:
        print(f"skipped  {what}")
    return 1 if verdict.faults else 0


def diff(output: out.Output) -> int:
    """Print how every released schema stands in the registry and what else stands there; 1 if they differ."""
    settings = _of_cluster()
    if settings is None:
        return 0
    with _told():
        subjects = container.schema_subjects(settings)
        found = asyncio.run(_closing(subjects.compare(), subjects.close))
    rows = [
        {
            "subject": schema.subject,
            "schema": schema.name,
            "state": schema.state.value,
            "id": schema.id,
            "version": schema.version,
            "compatibility": report.compatibility,
        }
        for report in found.subjects
        for schema in report.schemas
    ]
    out.rows(rows, COLUMNS, output, empty="there are no released schemas")
    _complain(found.faults)
    return 1 if found.faults else 0


def register(*, dry_run: bool) -> int:
    """Register what is missing, and print each step; 1 if that is refused."""
    settings = _of_cluster()
    if settings is None:
        return 0
    with _told():
        subjects = container.schema_subjects(settings)
        done = asyncio.run(_closing(subjects.register(dry_run=dry_run), subjects.close))
    for step in done.steps:
        print(f"{'would be done' if dry_run else 'done'}  {out.cell(step)}")
    if not done.steps and not done.faults:
        print("every released schema is registered already")
    _complain(done.faults)
    return 1 if done.faults else 0


def _of_cluster() -> Settings | None:
    settings = load(os.environ).settings
    if settings.effective_mode is Mode.CLUSTER:
        return settings
    print("the built-in registry has every released schema: there is nothing to compare or to register")
    return None


async def _closing(asked: Coroutine[Any, Any, T], close: Callable[[], Awaitable[None]]) -> T:
    try:
        return await asked
    finally:
        await close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What can go wrong becomes one line."""
    try:
        yield
    except RegistryUnavailable as error:
        raise StartupError(error.reason) from None
    except container.REFUSALS as error:
        raise StartupError(str(error)) from None


def _complain(faults: Iterable[str]) -> None:
    for fault in faults:
        sys.stderr.write(f"ordering: {out.cell(fault)}\n")
