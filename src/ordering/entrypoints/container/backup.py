"""A consistent copy of every file of the system, while services run.

Three files are three moments, so their order matters. The read model first: the log's copy then has all it was filled
from, and its positions lie in that log. The log next, the order store last: every event in the log's copy is known to
the store's. The other way round a restored store would not know orders that the log has, and give their versions to
other changes. What is left is that the store may have marked events as published which came into the log after its
copy; so those marks are taken back in the copy, and such events are published once more.
"""

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

import attrs

from ordering.adapters.sqlite import backup, log, store, views
from ordering.application.failures import Refused
from ordering.entrypoints.container.embedded import CART_FILE, VIEW_FILE, refuse_lost_log, refuse_lost_order_store
from ordering.entrypoints.settings import Mode, Settings

ELSEWHERE: Final = "Kafka, the schema registry and PostgreSQL have backups of their own: see docs/operations.md"

Told = Callable[[int, int], None]
"""Pages done, pages in all."""


@attrs.frozen
class Copied:
    """A file of the backup, ``size`` in bytes; 0 if there is no such file to copy here."""

    name: str
    size: int


def back_up(settings: Settings, folder: Path, told: Told = lambda _done, _all: None) -> Iterator[Copied]:
    """Copy every file that the settings name into a new folder, which has its name once it is complete.

    What lies in Kafka or PostgreSQL is not copied. Raises Refused, also where the others show that a file is lost:
    without its log an order store does not start again, nor the other way round.
    """
    if folder.exists():
        raise _exists(folder)
    view, journal = settings.order_dir / VIEW_FILE, settings.cart_dir / CART_FILE
    events = log.log_path(settings.log_dir, settings.topic)
    layouts: dict[Path, tuple[int, Collection[int]]] = {}
    if settings.order_database is None:
        layouts[view] = views.SCHEMA_VERSION, views.UPGRADES
    if settings.effective_mode is Mode.EMBEDDED:
        layouts[events] = log.SCHEMA_VERSION, ()
    if settings.cart_database is None:
        layouts[journal] = store.SCHEMA_VERSION, store.UPGRADES
    if not layouts:
        raise Refused(f"nothing of it lies in files. {ELSEWHERE}")
    there = [source for source in layouts if source.is_file()]
    if not there:
        raise Refused(f"there is nothing to copy: no service has made a file in {settings.data_dir} yet")
    if settings.effective_mode is Mode.EMBEDDED:
        refuse_lost_order_store(settings)
        refuse_lost_log(settings)
    part = folder.with_name(f"{folder.name}.part")
    _make(part)
    try:
        since = backup.unpublished(journal, *layouts[journal]) if journal in there else None
        for source, layout in layouts.items():
            if source in there:
                backup.copy(source, *layout, part / source.name, told)
                if source == journal and since is not None:
                    backup.forget_marks(part / source.name, since)
            yield Copied(source.name, (part / source.name).stat().st_size if source in there else 0)
        _name(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # the next try must not stumble over it
        raise


def _exists(folder: Path) -> Refused:
    return Refused(f"{folder} exists already: a backup goes into a new folder")


def _make(part: Path) -> None:
    try:
        part.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise Refused(f"{part} is what is left of a backup that did not end: remove it first") from None
    except OSError as error:
        raise Refused(f"{part} cannot be made: {error.strerror}") from None


def _name(part: Path, folder: Path) -> None:
    """The name comes last, and only with everything on the disk."""
    try:
        part.rename(folder)
    except FileExistsError:
        raise _exists(folder) from None
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.ENOTDIR):  # made since it was looked for
            raise _exists(folder) from None
        raise
    handle = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
