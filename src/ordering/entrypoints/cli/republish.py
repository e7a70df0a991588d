"""``ordering restore republish``: a log that was lost, or is older than the order store, filled up from it."""

from ordering.application.republish import Republished
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.tools import Tools, use


def republish(output: out.Output) -> int:
    """Have the outbox hold what the log lacks; the cart service publishes it when it starts."""

    async def work(tools: Tools) -> int:
        told = await (await tools.republisher()).run()
        if output == "json":
            out.line(
                {
                    "orders": told.orders,
                    "records": told.records,
                    "shortened": told.shortened,
                    "waiting": told.waiting,
                }
            )
        else:
            _print(told)
        return 0

    return use(work)


def _print(told: Republished) -> None:
    print(f"{told.orders:,} orders in the order store, {told.records:,} records in the log")
    if not told.waiting:
        print("the log has every order as the order store has it: there is nothing to publish")
        return
    events = "1 event waits" if told.waiting == 1 else f"{told.waiting:,} events wait"
    print(f"{events} to be published: the cart service does so when it starts")
    if told.shortened:
        orders = "1 order" if told.shortened == 1 else f"{told.shortened:,} orders"
        print(
            f"of {orders} only the newest events are kept (ORDERING_JOURNAL_DAYS); where the log has lost the others, "
            "readers apply what comes and count a gap"
        )
