"""The commands that make copies and bring copies back, as cyclopts knows them."""
# ruff: noqa: PLC0415 -- `ordering --help` must not load what one of the commands needs

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ordering.entrypoints.cli.output import Output

OutputOption = Annotated[
    Output, Parameter(name="--output", help="For people, or one JSON object a line: every order, at last the counts.")
]

restore = App(name="restore", help="After a loss: the order store and the log, compared and brought up to each other.")


def backup(folder: Annotated[Path, Parameter(help="A folder that does not exist yet.")]) -> int:
    """Copy every file of the system, consistently, while services run."""
    from ordering.entrypoints.cli.backup import back_up

    return back_up(folder)


@restore.command(name="check")
def restore_check(*, output: OutputOption = "table") -> int:
    """Read the whole log and tell what the order store does not know; exit status 1 if there is anything."""
    from ordering.entrypoints.cli.reconcile import reconcile

    return reconcile(output, dry_run=True)


@restore.command(name="reconcile")
def restore_reconcile(*, output: OutputOption = "table") -> int:
    """Bring an order store that is older than the log up to it: orders and changes it lacks become its own."""
    from ordering.entrypoints.cli.reconcile import reconcile

    return reconcile(output, dry_run=False)


@restore.command(name="republish")
def restore_republish(
    *,
    output: Annotated[Output, Parameter(name="--output", help="For people, or one JSON object.")] = "table",
) -> int:
    """Have everything published again that the log has lost: every order the order store knows, as it is now, with what
    its journal still has of its history."""
    from ordering.entrypoints.cli.republish import republish

    return republish(output)
