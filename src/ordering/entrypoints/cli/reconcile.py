"""``ordering restore``: an order store that is older than the log, found out and brought up to it."""

from collections.abc import Sequence
from typing import Final

from ordering.application.compare_log import Reconciled
from ordering.entrypoints.cli.tools import Tools, use

NAMED: Final = 20


def reconcile(*, dry_run: bool) -> int:
    """Compare the whole log with the order store; without ``dry_run`` have the store adopt what it lacks."""

    async def work(tools: Tools) -> int:
        told = await tools.reconciler(dry_run=dry_run).run(dry_run=dry_run)
        _print(told, dry_run=dry_run)
        return 1 if dry_run and told.orders else 0

    return use(work)


def _print(told: Reconciled, *, dry_run: bool) -> None:
    print(f"{told.records} records of the log read")
    if not told.orders:
        print("the order store knows every change of its own in it")
    else:
        done = "are not known to" if dry_run else "were adopted by"
        print(
            f"{told.changes} changes of {len(told.orders)} orders {done} the order store: {_named(list(told.orders))}"
        )
    if told.dropped:
        done = "would be dropped" if dry_run else "were dropped"
        print(
            f"{len(told.dropped)} changes {done}: the store has them, but never published them, and the log has others "
            f"in their place: {_versions(told.dropped)}"
        )
    if told.diverged:
        print(
            f"{len(told.diverged)} versions are in the log twice, as different events; readers keep the first and hold "
            f"the other as version-conflict, see `ordering dlq list`: {_versions(told.diverged)}"
        )
    if dry_run and told.orders:
        print("`ordering restore reconcile` makes them the store's own; no cart service may run meanwhile")


def _versions(found: Sequence[tuple[str, int]]) -> str:
    return _named([f"{key} version {version}" for key, version in found])


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
