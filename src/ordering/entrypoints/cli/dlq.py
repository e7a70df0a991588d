"""``ordering dlq``: records held back from the read model."""

import base64
import re

from ordering.application.dead_letters import Released
from ordering.application.messages import HeldRecord
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.tools import Tools, use
from ordering.entrypoints.process import CalledWrongly


def list_letters(limit: int, output: out.Output) -> int:
    """Print dead letters, oldest first; records parked behind them are counted with ``dlq show``."""

    async def work(tools: Tools) -> int:
        found = [letter_row(letter) for letter in await tools.views.letters(limit)]
        columns = ("orderId", "partition", "offset", "reason", "detail", "heldAt")
        out.rows(found, columns, output, empty="no dead letters")
        return 0

    return use(work)


def show(order_id: str, output: out.Output) -> int:
    """Print an order's held records, or one without an order by its place, with their bytes."""

    async def work(tools: Tools) -> int:
        place = _place(order_id)
        if place is None:
            letters = await tools.views.letters(1_000, key=order_id)
        else:
            keyless = await tools.views.held(None)
            letters = [letter for letter in keyless if (letter.record.partition, letter.record.offset) == place]
        found = [{**letter_row(letter), "value": _bytes(letter.record.value)} for letter in letters]
        columns = ("partition", "offset", "reason", "detail", "value")
        out.rows(found, columns, output, empty=f"nothing of {order_id} is held")
        return 0 if found else 1

    return use(work)


def release(order_id: str, output: out.Output, *, dry_run: bool) -> int:
    """Apply an order's held records in order. A record without an order has nowhere to go: CalledWrongly."""
    if _place(order_id) is not None:
        raise CalledWrongly(f"{order_id} is the place of a record that belongs to no order: `dlq discard` drops it")

    async def work(tools: Tools) -> int:
        return _report(order_id, await tools.held.release(order_id, dry_run=dry_run), output, dry_run=dry_run)

    return use(work)


def discard(order_id: str, at: str | None, output: out.Output, *, dry_run: bool) -> int:
    """Drop an order's first held record, if it is the one ``at`` this place, or one without an order by its place, then
    release the rest. Raises CalledWrongly if ``at`` is no place."""
    meant = None if at is None else _place(at)
    if at is not None and (meant is None or _place(order_id) is not None):
        raise CalledWrongly(
            f"--at {at}: give an order's id, and PARTITION/OFFSET of its record as `dlq show` tells them"
        )

    async def work(tools: Tools) -> int:
        place = _place(order_id)
        if place is not None:
            done = await tools.held.discard_keyless(*place, dry_run=dry_run)
        else:
            done = await tools.held.discard(order_id, meant, dry_run=dry_run)
        return _report(order_id, done, output, dry_run=dry_run)

    return use(work)


def _place(text: str) -> tuple[int, int] | None:
    """PARTITION/OFFSET as numbers; no order id has a slash."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,18})", text)
    return (int(match[1]), int(match[2])) if match else None


def letter_row(letter: HeldRecord) -> dict[str, object]:
    """A held record for people and programs."""
    return {
        "orderId": letter.key,
        "partition": letter.record.partition,
        "offset": letter.record.offset,
        "reason": letter.reason,
        "detail": letter.detail,
        "heldAt": out.moment(letter.held_at),
    }


def _report(order_id: str, done: Released, output: out.Output, *, dry_run: bool) -> int:
    if output == "json":
        out.line(
            {
                "orderId": order_id,
                "dryRun": dry_run,
                "released": done.released,
                "discarded": done.discarded,
                "stillHeld": done.still_held,
                "reason": done.reason,
                "gaps": [{"from": first - 1, "to": last + 1} for first, last in done.gaps],
            }
        )
    elif not (done.released or done.discarded or done.still_held):
        print(f"nothing of {order_id} is held")
    else:
        would = "would be " if dry_run else ""
        rest = f"; {done.still_held} still held: {done.reason}" if done.still_held else ""
        print(f"{order_id}: {would}released {done.released}, discarded {done.discarded}{rest}")
        for first, last in done.gaps:
            print(f"{order_id}: a gap: it {'would go' if dry_run else 'went'} from version {first - 1} to {last + 1}")
    return 0 if done.released or done.discarded else 1


def _bytes(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")
