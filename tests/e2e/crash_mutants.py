"""Named broken builds: copies of the source with one promise broken, which the crash test must catch."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs

import ordering
from ordering.entrypoints.kill_points import KillPoint

SOURCE = Path(ordering.__file__).parent


@attrs.frozen
class Mutant:
    """A text of a source file, found exactly once, and what the broken build has instead; ``also`` more of that."""

    path: str
    sound: str
    broken: str
    also: tuple["Mutant", ...] = ()


MUTANTS = {
    # The event gets into the outbox by a transaction of its own.
    "event-outside-transaction": Mutant(
        "adapters/sqlite/store.py",
        "        return await self._writer.run(lambda connection: [apply(connection, write) for write in batch])\n",
        "        ids = [(write.event.event_id,) for write in batch if write.event is not None]\n"
        "        take = 'DELETE FROM outbox WHERE seq = (SELECT seq FROM journal WHERE event_id = ?)'\n"
        "        found = 'SELECT seq, aggregate_id, version FROM journal WHERE event_id = ?'\n"
        "        give = 'INSERT OR IGNORE INTO outbox ' + found\n"
        "        def states(connection):\n"
        "            outcomes = [apply(connection, write) for write in batch]\n"
        "            connection.executemany(take, ids)\n"
        "            return outcomes\n"
        "        outcomes = await self._writer.run(states)\n"
        "        events = lambda connection: connection.executemany(give, ids) and None\n"
        "        self._later = asyncio.get_running_loop().create_task(self._writer.run(events))\n"
        "        return outcomes\n",
        (
            Mutant(
                "adapters/postgres/store.py",
                "        return await self._database.write(lambda connection: store(connection, rounds))\n",
                "        import asyncio\n\n"
                "        outcomes = await self._database.write(lambda connection: store(connection, rounds))\n"
                "        ids = [write.event.event_id for write in batch if write.event is not None]\n"
                "        ours = 'FROM journal j WHERE j.event_id::text = ANY ($1::text[])'\n"
                "        take = 'DELETE FROM outbox WHERE (number, version) IN (SELECT number, version ' + ours + ')'\n"
                "        give = 'INSERT INTO outbox (number, aggregate_id, version) '\n"
                "        give += 'SELECT number, aggregate_id, version '\n"
                "        await self._database.fetch(take, ids)\n"
                "        events = self._database.fetch(give + ours + ' ON CONFLICT DO NOTHING', ids)\n"
                "        self._later = asyncio.get_running_loop().create_task(events)\n"
                "        return outcomes\n",
            ),
        ),
    ),
    # The client is told before anything is stored. The pause lets the answers leave.
    "answer-before-commit": Mutant(
        "application/group_commit.py",
        "        outcomes = await self._writer.write([ticket.write for ticket in part])\n",
        "        for ticket in part:\n"
        "            ticket.resolve(Stored(first_in_line=True))\n"
        "        await self._runtime.sleep(0.05)\n"
        "        outcomes = await self._writer.write([ticket.write for ticket in part])\n",
    ),
    # The mark is durable before the log has the event: a crash in between loses the event. The pause stands for a
    # log that is slower than the store.
    "mark-before-append": Mutant(
        "application/relay_outbox.py",
        "        began = self._runtime.monotonic()\n        results: Iterable[PublishResult]\n",
        "        await self._outbox.mark_published([(event.aggregate_id, event.version) for event in batch])\n"
        "        await self._runtime.sleep(0.03)\n"
        "        began = self._runtime.monotonic()\n        results: Iterable[PublishResult]\n",
    ),
    # What an earlier life left unpublished is never looked at again.
    "no-reload-at-start": Mutant(
        "application/relay_outbox.py",
        "            rows = await self._outbox.heads(limit, exclude)\n",
        "            rows = ()\n",
    ),
    # The position moves by a transaction of its own, before the rows.
    "offset-outside-transaction": Mutant(
        "adapters/sqlite/changes.py",
        "    _move_positions(connection, changes)\n",
        "    _move_positions(connection, changes)\n"
        "    connection.execute('COMMIT')\n"
        "    connection.execute('BEGIN IMMEDIATE')\n",
        (
            Mutant(
                "adapters/postgres/changes.py",
                "    await connection.fetch(_APPLY, *arguments)\n",
                "    nothing = [[] for _ in arguments[5:35]]\n"
                "    await connection.fetch(_APPLY, *arguments[:5], *nothing, *arguments[35:])\n"
                "    await connection.fetch(_APPLY, *arguments[:2], [], [], [], *arguments[5:])\n",
            ),
        ),
    ),
    # A record is applied whatever version the order has already.
    "no-version-check": Mutant(
        "application/projection.py", "        if version > stored:\n", "        if version > 0:\n"
    ),
}

CAUGHT_AT: Mapping[str, tuple[KillPoint, ...]] = {
    "event-outside-transaction": (KillPoint.COMMIT_ANSWER,),
    "answer-before-commit": (KillPoint.BEFORE_BEGIN,),
    "mark-before-append": (KillPoint.ANSWER_RELAY,),
    "no-reload-at-start": (KillPoint.COMMIT_ANSWER,),
    "offset-outside-transaction": (KillPoint.APPLY_COMMIT,),
    "no-version-check": (KillPoint.APPEND_ACK, KillPoint.ACK_MARK),
}
"""At which kill points each of them breaks its promise."""


def build(name: str, folder: Path, mutants: Mapping[str, Mutant] = MUTANTS) -> Path:
    """Write the broken build into a folder; what to put in front of PYTHONPATH."""
    copy, mutant = folder / "ordering", mutants[name]
    shutil.copytree(SOURCE, copy, symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in (mutant, *mutant.also):
        path = copy / edit.path
        text = path.read_text(encoding="utf-8")
        if text.count(edit.sound) != 1:
            raise SystemExit(f"mutant {name} is stale: {edit.path} does not hold its text exactly once")
        path.write_text(text.replace(edit.sound, edit.broken), encoding="utf-8")
    return folder
