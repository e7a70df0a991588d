"""The ``ordering`` command.

The serving processes are started here without the command-line library: they live long and should stay small.
"""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

from ordering.entrypoints.process import CalledWrongly, StartupError
from ordering.entrypoints.settings_values import SettingsError
from ordering.entrypoints.streams import open_missing, print_anything, print_no_more

CONSOLE_ONLY: Final = ("rich", "werkzeug")
"""Packages that libraries of ours load when they find them, for consoles and frameworks that a service has not: as
much work as a tenth of its start."""

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a disk says that takes no more of what we print. Stores have words of their own for theirs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 it could not be done, 2 called or configured wrongly."""
    open_missing()
    print_anything()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _require_text(given)
        return _run(given)
    except SettingsError as error:
        for fault in error.faults:
            sys.stderr.write(f"ordering: {fault}\n")
        return 2
    except StartupError as error:
        sys.stderr.write(f"ordering: {error}\n")
        return 2 if isinstance(error, CalledWrongly) else 1
    except BrokenPipeError:
        print_no_more()  # whoever read our output has enough
        return 0
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print_no_more()
        sys.stderr.write(f"ordering: the output cannot be written: {error.strerror}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _require_text(given: list[str]) -> None:
    """No id of ours and no name of a database file is anything but UTF-8."""
    for argument in given:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise CalledWrongly(f"the argument {argument!r} is not UTF-8") from None


def _run(given: list[str]) -> int:
    match given:
        case ["serve", "all"]:
            from ordering.entrypoints.supervisor import serve_all  # noqa: PLC0415 -- keeps --help fast

            return serve_all(os.environ, sys.stdout)
        case ["serve", "cart" | "order" as part, *inherited] if not {"-h", "--help"} & set(inherited):
            _start_quickly()
            from ordering.entrypoints.worker import serve  # noqa: PLC0415 -- loads the whole service

            return serve(part, inherited)
        case _:
            from ordering.entrypoints.cli.commands import run  # noqa: PLC0415 -- serving processes do without it

            return run(given)


def _start_quickly() -> None:
    """Clients wait for a service that starts again. What is loaded stays, so the collector need not look through it
    again and again meanwhile; the worker lets it begin."""
    gc.disable()
    for name in CONSOLE_ONLY:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the import system's own word for "not there"
