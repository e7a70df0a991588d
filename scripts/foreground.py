"""Run a command as the terminal's foreground job: Ctrl-C then reaches the command and not make.

make dies of the interrupt it gets, whatever its recipe does, and reports an error for what was an orderly end.
This does what a shell with job control does for a job: the command gets a process group of its own,
and the terminal belongs to that group until the command ends. Without a terminal the command simply replaces us.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NoReturn


def main(command: list[str]) -> int:
    """Run *command* and return its exit status."""
    terminal = open_terminal()
    if terminal is None:
        replace_us(command)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # so that handing the terminal over does not stop us
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # Ctrl-Z would stop the command and leave make waiting
        replace_us(command)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # the terminal may be gone by now
        os.tcsetpgrp(terminal, os.getpgrp())
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def open_terminal() -> int | None:
    """Return the terminal we are in the foreground of, if there is one."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        return terminal if os.tcgetpgrp(terminal) == os.getpgrp() else None
    except OSError:
        return None


def replace_us(command: list[str]) -> NoReturn:
    """Become *command*."""
    try:
        os.execvp(command[0], command)  # noqa: S606 -- running the given command is what this file is for
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
