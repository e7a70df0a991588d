"""``ordering restore``: an order store that is older than the log, found out and brought up to it."""

from collections.abc import Iterator, Sequence
from typing import Final

from ordering.application.compare_log import Reconciled
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.tools import Tools, use

NAMED: Final = 20
"""How many people are told by name; programs are told all."""


def reconcile(output: out.Output, *, dry_run: bool) -> int:
    """Compare the whole log with the order store; without ``dry_run`` have the store adopt what it lacks."""

    async def work(tools: Tools) -> int:
        told = await (await tools.reconciler(dry_run=dry_run)).run(dry_run=dry_run)
        if output == "json":
            for row in _rows(told, dry_run=dry_run):
                out.line(row)
        else:
            _print(told, dry_run=dry_run)
        return 1 if dry_run and told.orders else 0

    return use(work)


def _rows(told: Reconciled, *, dry_run: bool) -> Iterator[out.Row]:
    """Every order and version concerned, at last how many there are."""
    for order_id in told.orders:
        yield {"orderId": order_id, "found": "unknown" if dry_run else "adopted"}
    for state, versions in (
        ("unpublished" if dry_run else "dropped", told.dropped),
        ("twice in the log", told.diverged),
    ):
        for order_id, version in versions:
            yield {"orderId": order_id, "version": version, "found": state}
    yield {
        "records": told.records,
        "changes": told.changes,
        "orders": len(told.orders),
        "dropped": len(told.dropped),
        "diverged": len(told.diverged),
        "dryRun": dry_run,
    }


def _print(told: Reconciled, *, dry_run: bool) -> None:
    print(f"{out.count(told.records, 'record')} of the log read")
    if not told.orders:
        print("the order store knows every change of its own in it")
    else:
        verb = "is" if told.changes == 1 else "are"
        done = f"{verb} not known to" if dry_run else f"{'was' if verb == 'is' else 'were'} adopted by"
        changes = f"{out.count(told.changes, 'change')} of {out.count(len(told.orders), 'order')}"
        print(f"{changes} {done} the order store: {_named(list(told.orders))}")
    if told.dropped:
        done = "would be dropped" if dry_run else "dropped"
        print(
            f"{out.count(len(told.dropped), 'change')} {done}: the store has them, but never published them, and the "
            f"log has others in their place: {_versions(told.dropped)}"
        )
    if told.diverged:
        print(
            f"{out.count(len(told.diverged), 'version')} in the log twice, as different events; readers keep the first "
            f"and hold the other as version-conflict, see `ordering dlq list`: {_versions(told.diverged)}"
        )
    if dry_run and told.orders:
        print("`ordering restore reconcile` makes them the store's own; no cart service may run meanwhile")


def _versions(found: Sequence[tuple[str, int]]) -> str:
    return _named([f"{key} version {version}" for key, version in found])


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more (--output json names all)" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
