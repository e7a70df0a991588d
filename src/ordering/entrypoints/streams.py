"""The standard streams of a process, which may be closed, full, or read by nobody any more."""

import os
import sys
from contextlib import suppress
from io import FileIO, TextIOWrapper
from typing import Final, TextIO

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing() -> None:
    """Give every stream that was closed (``2>&-``) a place to go. Otherwise the next file that is opened, a lock or a
    socket, would take its number, and be written to by whoever prints."""
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.fstat(number)
                continue  # somebody has its number already
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))


def print_anything() -> None:
    """What a terminal's character set lacks is printed as an escape; it is nobody's fault, and no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def print_no_more() -> None:
    """What is left in stdout's buffer must not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class LogStream:
    """Where log lines go. One that cannot be written (a full disk, a reader that is gone) is dropped: it costs no
    service, and alarms are counted on the metrics page all the same."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        try:
            # Past Python's buffer, which would keep what failed and fail again with it at the end of the process.
            self._raw: FileIO | None = FileIO(stream.fileno(), "w", closefd=False)
        except (OSError, ValueError):  # a stream of a test's, for one
            self._raw = None

    def write(self, text: str) -> None:
        with suppress(OSError):
            if self._raw is None:
                self._stream.write(text)
            else:
                self._raw.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        with suppress(OSError):
            if self._raw is None:
                self._stream.flush()
