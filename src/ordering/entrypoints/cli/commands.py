"""The commands for people, as cyclopts knows them. Each body loads what it needs only when it is called."""
# ruff: noqa: PLC0415 -- `ordering --help` must not load what one of the commands needs

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, UnusedCliTokensError
from cyclopts.validators import Number

from ordering.entrypoints.cli.documents import asyncapi, lifecycle, openapi
from ordering.entrypoints.cli.output import Output
from ordering.entrypoints.cli.recovery import backup, restore


def _version() -> str:
    from importlib.metadata import version

    return version("ordering")


app = App(
    name="ordering",
    help="Event-driven order management. Settings come from the environment: see `ordering config show`.",
    version=_version,
    help_format="plaintext",
    result_action="return_value",
)
serve = App(name="serve", help="Run services until Ctrl-C.")
orders = App(name="orders", help="Look at single orders.")
outbox = App(name="outbox", help="Events that are stored but not published.")
dlq = App(name="dlq", help="Dead letters: records held back from the read model.")
config = App(name="config", help="Settings.")
schemas = App(name="schemas", help="The published contracts.")
migrate = App(name="migrate", help="The tables of PostgreSQL stores (cluster mode).")
topics = App(name="topics", help="The topic of the events (cluster mode).")
for group in (serve, orders, outbox, dlq, config, schemas, migrate, topics, openapi, asyncapi, lifecycle):
    app.command(group)
app.command(restore)
app.command(backup)

OrderId = Annotated[str, Parameter(help="The order's id.")]
OrderOrPlace = Annotated[
    str, Parameter(help="The order's id, or PARTITION/OFFSET of a record that belongs to no order.")
]
OutputOption = Annotated[Output, Parameter(name="--output", help="For people, or one JSON object a line.")]
Limit = Annotated[int, Parameter(help="How many at most.", validator=Number(gte=1, lte=1_000_000))]
Part = Annotated[Literal["cart", "order"] | None, Parameter(help="Only this service's tables.")]
DryRun = Annotated[bool, Parameter(name="--dry-run", negative="", help="Only tell what would happen.")]


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    try:
        result = app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        sys.stderr.write(f"ordering: {_told(error)}\n")
        return 2
    print(end="", flush=True)  # sys.stdout is None where somebody has closed it
    return result if isinstance(result, int) else 0


def _told(error: CycloptsError) -> str:
    """What is wrong with the call, in words that the command's help uses as well."""
    command = " ".join(("ordering", *(error.command_chain or ())))
    if isinstance(error, UnusedCliTokensError):
        return f"`{command}` does not take: {' '.join(error.unused_tokens or ())}"
    argument = error.argument
    if isinstance(error, MissingArgumentError) and argument and argument.field_info.is_positional:
        name = argument.name.removeprefix("--").upper()
        return f"`{command}` needs {name}: {argument.parameter.help}"
    return str(error)


# Serving takes no options, so `cli.main` starts it without this module; what is here is its help.
@serve.command(name="all")
def serve_all() -> int:
    """Run both services, each as its own process, and end them together."""
    from ordering.entrypoints import supervisor

    return supervisor.serve_all(os.environ, sys.stdout)


@serve.command(name="cart")
def serve_cart() -> int:
    """Run the service that takes orders and changes their status."""
    from ordering.entrypoints.worker import serve as serve_part

    return serve_part("cart", ())


@serve.command(name="order")
def serve_order() -> int:
    """Run the service that follows the events and answers queries."""
    from ordering.entrypoints.worker import serve as serve_part

    return serve_part("order", ())


@app.command
def demo() -> int:
    """Play the README's flow and print each step.

    Uses the running services; when there are none, starts them in a temporary folder and ends them afterwards.
    """
    from ordering.entrypoints.cli.demo import play

    return play()


@app.command
def doctor(
    *,
    strict: Annotated[bool, Parameter(negative="", help="Exit status 1 for warnings, too.")] = False,
    output: OutputOption = "table",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="The same as --output json.")] = False,
) -> int:
    """Check settings, files, disk, ports, stores, log and registry; exit status 1 if something is wrong.

    Changes nothing. Works beside running services and without them; give it the settings of the services.
    """
    from ordering.entrypoints.cli.doctor import doctor as examine

    return examine("json" if as_json else output, strict=strict)


@app.command
def loadgen(
    *,
    connections: Annotated[
        str | None, Parameter(help="Closed loop: a step for each number of connections. Default: 1,16,64,256.")
    ] = None,
    rate: Annotated[
        str | None, Parameter(help="Open loop instead: a step for each rate, in requests a second, such as 150.")
    ] = None,
    duration: Annotated[float, Parameter(help="Seconds a step.", validator=Number(gt=0, lte=3_600))] = 10.0,
    count: Annotated[int | None, Parameter(help="Requests a step, if that is less.", validator=Number(gte=1))] = None,
    mix: Annotated[str, Parameter(help="Weights: create=70,update=20,read=10.")] = "create=100",
    processes: Annotated[int, Parameter(help="Processes that send.", validator=Number(gte=1, lte=64))] = 1,
    verify: Annotated[
        int, Parameter(help="Orders a step to ask for afterwards; 0: none.", validator=Number(gte=0, lte=20_000))
    ] = 200,
    timeout: Annotated[float, Parameter(help="Seconds for an answer.", validator=Number(gt=0, lte=60))] = 10.0,
    seed: Annotated[int, Parameter(help="What the requests are made from.", validator=Number(gte=0))] = 1,
    cart: Annotated[str | None, Parameter(help="The cart service. Default: http://API_HOST:CART_API_PORT.")] = None,
    order: Annotated[str | None, Parameter(help="The order service. Default: http://API_HOST:ORDER_API_PORT.")] = None,
    allow_remote: Annotated[bool, Parameter(negative="", help="Send to other machines, too.")] = False,
    calibrate: Annotated[
        bool, Parameter(negative="", help="Send to a server of its own that does nothing: the most this can send.")
    ] = False,
    output: OutputOption = "table",
) -> int:
    """Load running services, print latencies, and verify that they kept what they acknowledged.

    Exit status 1 if they did not. The orders stay: use a data folder or a database for tests. A step ends after its
    duration or count, and at most one time-out later.
    """
    from ordering.entrypoints.cli import loadgen as generator

    wanted = generator.Wanted(
        connections, rate, duration, count, mix, processes, verify, timeout, seed, cart, order, allow_remote
    )
    return generator.calibrate(wanted, output) if calibrate else generator.loadgen(wanted, output)


@app.command
def tail(
    *,
    from_beginning: Annotated[bool, Parameter(negative="", help="Print the whole log first.")] = False,
    follow: Annotated[bool, Parameter(name="--follow", help="Go on with new events, until Ctrl-C.")] = True,
    order: Annotated[str | None, Parameter(help="Only this order's events.")] = None,
    output: OutputOption = "table",
) -> int:
    """Print decoded events from the log."""
    from ordering.entrypoints.cli.tail import tail_log

    return tail_log(from_beginning=from_beginning, follow=follow, order=order, output=output)


@orders.command(name="show")
def orders_show(order_id: OrderId, *, output: OutputOption = "table") -> int:
    """Tell where an order's data is, and why it is stuck if it is."""
    from ordering.entrypoints.cli.orders import show

    return show(order_id, output)


@outbox.command(name="list")
def outbox_list(
    *,
    parked: Annotated[bool, Parameter(negative="", help="Only parked ones.")] = False,
    limit: Limit = 100,
    output: OutputOption = "table",
) -> int:
    """List events that wait to be published, oldest first, with the reason if their order is parked."""
    from ordering.entrypoints.cli.outbox import list_waiting

    return list_waiting(limit, output, parked_only=parked)


@outbox.command(name="retry")
def outbox_retry(
    order_id: Annotated[str | None, Parameter(help="The order's id.")] = None,
    *,
    every: Annotated[bool, Parameter(name="--all", negative="", help="All parked orders.")] = False,
) -> int:
    """Publish a parked order's events again, or those of all parked orders."""
    from ordering.entrypoints.cli.outbox import retry

    return retry(order_id, every=every)


@dlq.command(name="list")
def dlq_list(*, limit: Limit = 100, output: OutputOption = "table") -> int:
    """List dead letters, oldest first."""
    from ordering.entrypoints.cli.dlq import list_letters

    return list_letters(limit, output)


@dlq.command(name="show")
def dlq_show(order_id: OrderOrPlace, *, output: OutputOption = "table") -> int:
    """Show an order's held records, the first 1,000 of them, with their bytes."""
    from ordering.entrypoints.cli.dlq import show

    return show(order_id, output)


@dlq.command(name="release")
def dlq_release(order_id: OrderId, *, dry_run: DryRun = False, output: OutputOption = "table") -> int:
    """Apply an order's held records, in order, up to the first that still cannot be read."""
    from ordering.entrypoints.cli.dlq import release

    return release(order_id, output, dry_run=dry_run)


@dlq.command(name="discard")
def dlq_discard(
    order_id: OrderOrPlace,
    *,
    at: Annotated[
        str | None,
        Parameter(help="PARTITION/OFFSET of the record that is meant: if another one is first, nothing is done."),
    ] = None,
    dry_run: DryRun = False,
    output: OutputOption = "table",
) -> int:
    """Drop the first held record of an order for good, then release what waits behind it."""
    from ordering.entrypoints.cli.dlq import discard

    return discard(order_id, at, output, dry_run=dry_run)


@app.command
def rebuild(
    *,
    verify_only: Annotated[bool, Parameter(negative="", help="Compare, and change nothing.")] = False,
    partial: Annotated[
        bool,
        Parameter(negative="", help="Also from a log whose beginning was deleted: what was in it will be missing."),
    ] = False,
    anew: Annotated[
        bool, Parameter(negative="", help="Do not go on with what an interrupted rebuild has filled.")
    ] = False,
    limit_report: Annotated[int, Parameter(help="How many differences to print.", validator=Number(gte=0))] = 100,
    output: OutputOption = "table",
) -> int:
    """Fill the read model from the log once more, beside the live one, compare the two, and put it in its place.

    The services may run or not. An interrupted rebuild goes on where it stopped. The exit status is 3 when
    --verify-only has found a difference.
    """
    from ordering.application.rebuild import Wishes
    from ordering.entrypoints.cli.rebuild import rebuild as carry_out

    return carry_out(Wishes(verify_only, partial, anew), limit_report, output)


@config.command(name="show")
def config_show(
    *,
    output: Annotated[
        Literal["table", "json", "markdown"],
        Parameter(help="For people, one JSON object a line, or the README's table of all settings."),
    ] = "table",
) -> int:
    """Print every setting, its value and where that came from; passwords are hidden."""
    from ordering.entrypoints.cli.config import show

    return show(output)


@schemas.command(name="check")
def schemas_check() -> int:
    """Check the released schemas: unchanged, complete, and compatible with each other."""
    from ordering.entrypoints.cli.schemas import check

    return check()


@schemas.command(name="diff")
def schemas_diff(*, output: OutputOption = "table") -> int:
    """Compare the released schemas with those of the schema registry."""
    from ordering.entrypoints.cli.schemas import diff

    return diff(output)


@schemas.command(name="register")
def schemas_register(*, dry_run: DryRun = False) -> int:
    """Register the released schemas that the schema registry does not have, under FULL_TRANSITIVE compatibility."""
    from ordering.entrypoints.cli.schemas import register

    return register(dry_run=dry_run)


@migrate.command(name="up")
def migrate_up(*, part: Part = None) -> int:
    """Bring the tables to the newest revision; does nothing where they are."""
    from ordering.entrypoints.cli.migrate import up

    return up(part)


@migrate.command(name="down")
def migrate_down(
    to: Annotated[str, Parameter(help="The revision to go back to, or `base`: to nothing, data included.")],
    *,
    part: Part = None,
) -> int:
    """Take revisions of one service's tables back."""
    from ordering.entrypoints.cli.migrate import down

    return down(part, to)


@migrate.command(name="status")
def migrate_status(*, part: Part = None, output: OutputOption = "table") -> int:
    """List the revisions and whether the database has them; exit status 1 if one is missing."""
    from ordering.entrypoints.cli.migrate import status

    return status(part, output)


@migrate.command(name="sql")
def migrate_sql(*, part: Part = None) -> int:
    """Print the script that makes the tables from nothing, to be run by somebody else."""
    from ordering.entrypoints.cli.migrate import sql

    return sql(part)


@topics.command(name="ensure")
def topics_ensure(
    *,
    dry_run: DryRun = False,
    grow: Annotated[
        bool, Parameter(negative="", help="Add missing partitions to a topic that has fewer; keys stay where they are.")
    ] = False,
) -> int:
    """Make the topic, or set what it has to have: kept for ever, never compacted."""
    from ordering.entrypoints.cli.topics import ensure

    return ensure(dry_run=dry_run, grow=grow)
