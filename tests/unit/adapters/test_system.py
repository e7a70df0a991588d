"""Ids of the real runtime."""

import os
import uuid

import pytest

from ordering.adapters.system.runtime import SystemRuntime

COUNT = 2_000


def test_ids_are_uuids_of_version_seven_in_the_order_they_were_made() -> None:
    """RFC 9562 in its text form; within a process they ascend, which keeps the database's index compact."""
    runtime = SystemRuntime()
    ids = [runtime.new_id() for _ in range(COUNT)]
    assert all(str(found := uuid.UUID(one)) == one and found.version == 7 for one in ids)
    assert len(set(ids)) == COUNT
    assert ids == sorted(ids)


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children only make ids
def test_ids_of_forked_processes_differ() -> None:
    """Processes that were one a moment ago, with the same memory at the same time, make no id twice."""
    runtime = SystemRuntime()
    runtime.new_id()  # whatever state there is, all of them inherit it
    children = [_forked(runtime) for _ in range(4)]
    made = [runtime.new_id() for _ in range(COUNT)]
    for pid, ids in children:
        with os.fdopen(ids, encoding="ascii") as written:
            made += written.read().split()
        os.waitpid(pid, 0)
    assert len(made) == 5 * COUNT
    assert len(set(made)) == len(made)


def _forked(runtime: SystemRuntime) -> tuple[int, int]:
    """A child that makes ids, and where to read them."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with os.fdopen(writing, "w", encoding="ascii") as ids:
            ids.write(" ".join(runtime.new_id() for _ in range(COUNT)))
        os._exit(0)
    os.close(writing)
    return pid, reading
