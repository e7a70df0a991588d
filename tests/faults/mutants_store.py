"""Named broken builds that the scenarios of the database and of several instances must catch."""

from tests.e2e.crash_mutants import Mutant

MUTANTS = {
    # Nobody knows whether it is stored, and the client is told that it is not.
    "ambiguous-is-503": Mutant(
        "application/group_commit.py",
        "            await self._resolve(part)\n",
        '            self._fail(part, StoreUnavailable("the connection broke"))\n',
    ),
    # An ambiguous commit is tried again as if it were another one.
    "rerun-with-a-new-id": Mutant(
        "application/group_commit.py",
        "                await self._write(part)\n            except (CommitAmbiguous, NotStored):\n",
        "                for ticket in part:\n"
        "                    if ticket.write.event is not None:\n"
        "                        event = attrs.evolve(ticket.write.event, event_id=self._runtime.new_id())\n"
        "                        ticket.write = attrs.evolve(ticket.write, event=event)\n"
        "                await self._write(part)\n            except (CommitAmbiguous, NotStored):\n",
    ),
    # A key is looked up first, and the state that is judged then may have that key's own change.
    "key-asked-before-state": Mutant(
        "application/change_status.py",
        "                found = await self._load(wanted.order_id)\n"
        "                # Asked for after the state: another instance may store this very request meanwhile, and its\n"
        "                # change must not be judged as somebody else's.\n"
        "                replay = await self._keys.replay(context.once)\n",
        "                replay = await self._keys.replay(context.once)\n"
        "                found = await self._load(wanted.order_id)\n",
    ),
    # The relay looks only at the newest places of the outbox, as one that follows a cursor does.
    "outbox-as-a-cursor": Mutant(
        "adapters/postgres/store.py",
        "WHERE o.aggregate_id <> ALL ($2::text[])\n",
        "WHERE o.aggregate_id <> ALL ($2::text[]) AND o.seq > (SELECT last_value FROM outbox_seq_seq) - 100\n",
    ),
    # Nobody tells the relay of what is committed elsewhere.
    "no-nudge": Mutant(
        "adapters/postgres/lease.py",
        "        try:\n            await self._database.run(notify",
        "        return\n        try:\n            await self._database.run(notify",
    ),
    # A connection that broke while it committed is taken for the server's own refusal.
    "broken-link-is-an-answer": Mutant(
        "adapters/postgres/connections.py",
        "                        raise CommitAmbiguous(reason_of(error)) from error\n",
        "                        raise StoreUnavailable(reason_of(error)) from error\n",
    ),
    # Who relays is settled for ever, however long it stands still.
    "lease-without-an-end": Mutant(
        "adapters/postgres/lease.py",
        "WHERE l.owner = excluded.owner OR l.expires_at <= clock_timestamp()\n",
        "WHERE l.owner = excluded.owner\n",
    ),
}
