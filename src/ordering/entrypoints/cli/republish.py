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
    print(f"{out.count(told.orders, 'order')} in the order store, {out.count(told.records, 'record')} in the log")
    if not told.waiting:
        print("the log has every order as the order store has it: there is nothing to publish")
        return
    wait = "waits" if told.waiting == 1 else "wait"
    print(f"{out.count(told.waiting, 'event')} {wait} to be published: the cart service does so when it starts")
    if told.shortened:
        print(
            f"of {out.count(told.shortened, 'order')} only the newest events are kept (ORDERING_JOURNAL_DAYS); where "
            "the log has lost the others, readers apply what comes and count a gap"
        )
    print("a read model that was filled from the old log has to begin anew: docs/operations.md (The log is lost)")
