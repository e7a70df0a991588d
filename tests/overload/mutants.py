"""Named broken builds that the scenarios must catch."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import crash_mutants
from tests.e2e.crash_mutants import Mutant

MUTANTS: dict[str, Mutant] = {
    # There is no limit: closed-loop, slow-store.
    "admits-everybody": Mutant(
        "entrypoints/http/admission.py",
        "            template = self._refused(scope)\n",
        "            template = None\n",
    ),
    # The limit is looked at behind the work: closed-loop, slow-store.
    "refuses-what-it-stored": Mutant(
        "entrypoints/http/routing.py",
        "            reply = await endpoint(call)\n",
        "            reply = await endpoint(call)\n"
        '            if method == "POST" and hash(call.request_id) % 3 == 0:\n'
        "                from ordering.application.failures import Overloaded\n\n"
        '                raise Overloaded("too late")\n',
    ),
    # The time of a request runs on when the store is at work on it: slow-store.
    "refuses-after-the-claim": Mutant(
        "application/group_commit.py",
        "                ticket.state = _State.CLAIMED\n",
        "                ticket.state = _State.CLAIMED\n"
        '                self._runtime.call_later(0.15, partial(ticket.fail, Overloaded("too slow")))\n',
    ),
    # A body may take as long as it likes: stuck-bodies.
    "no-body-deadline": Mutant(
        "entrypoints/protocol.py",
        "            seconds = bounds.head_seconds if self._in_head else bounds.body_seconds\n",
        "            seconds = bounds.head_seconds if self._in_head else 3_600.0\n",
    ),
    # A head may take as long as it likes if bytes of it come now and then: stuck-heads.
    "each-byte-renews-the-deadline": Mutant(
        "entrypoints/protocol.py",
        "        if self._deadline is None or awaited != self._awaited:\n",
        "        if True:\n",
    ),
    # The application works on requests whose bodies are not here: stuck-bodies take every place.
    "bodies-take-places": Mutant(
        "entrypoints/protocol.py",
        "        if not cycle.more_body:\n",
        "        if True:\n",
    ),
    # A stop drops what is in hand: sigterm.
    "stop-drops-requests": Mutant(
        "entrypoints/protocol.py",
        "        cycle: Any = self.cycle\n"
        "        if cycle is not None and not cycle.response_complete and self._held is None:\n"
        "            return\n",
        "        self.transport.abort()\n        return\n",
    ),
    # A stop cancels what is in hand at once: sigterm.
    "stop-cancels-requests": Mutant("entrypoints/server.py", "timeout=self._finish_seconds,", "timeout=0.0,"),
    # A client that hangs up takes its place with it: cut-connections.
    "hanging-up-keeps-the-place": Mutant(
        "entrypoints/http/admission.py",
        "        finally:\n            self.in_hand -= 1\n",
        "        finally:\n            self.in_hand -= not send.__self__.disconnected\n",
    ),
    # Each request is known to its connection, which cancels it when it is lost; and the committer is not prepared:
    # cut-connections.
    "hanging-up-cancels": Mutant(
        "entrypoints/protocol.py",
        "        if refused is None:\n            super()._start_asgi_task(cycle, app)\n",
        "        if refused is None:\n            before = set(self.tasks)\n"
        "            super()._start_asgi_task(cycle, app)\n            self.own = set(self.tasks) - before\n",
        (
            Mutant(
                "entrypoints/protocol.py",
                "        self.closed.set_result(None)\n",
                "        self.closed.set_result(None)\n"
                "        for task in getattr(self, 'own', ()):\n            task.cancel()\n",
            ),
            Mutant(
                "application/group_commit.py",
                "        if not self.answer.done():\n            self.answer.set_result(outcome)\n",
                "        self.answer.set_result(outcome)\n",
            ),
        ),
    ),
}


def build(name: str, folder: Path) -> Path:
    """Write the broken build into a folder; what to put in front of PYTHONPATH."""
    return crash_mutants.build(name, folder, MUTANTS)
