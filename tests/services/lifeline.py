"""Run a command that cannot outlive whoever started it: ``python -I -S lifeline.py FD USER FOLDER COMMAND...``.

This process becomes the command. Before that it leaves a watcher behind, in the same process group, on the socket FD.
The watcher waits for one byte: ``k``, the starter has ended the command itself: clear the process group and go; ``d``,
the command may run on alone: go. When the socket ends without a byte, the starter has died: the watcher kills the
command and its children, and removes FOLDER. As long as the watcher lives, the system gives its group's number, which
is the command's process id, to nobody else, so it never kills a stranger.

USER, when not empty, is who runs the command (PostgreSQL refuses to run as root). The watcher stays who we are,
and neither Python nor this file has to be readable for that user.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time


def main(fd: int, user: str, folder: str, command: list[str]) -> None:
    """Leave the watcher behind and become *command*; the caller has made this process a group leader."""
    line = socket.socket(fileno=fd)
    line.set_inheritable(False)  # the command itself does not hold the line
    command_pid = os.getpid()
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            watch(line, command_pid, folder)
        os._exit(0)
    os.waitpid(between, 0)  # so that the watcher is no child of the command
    if user:
        become(user)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who was started in the background ignores it, and hands that on
    try:
        os.execvp(command[0], command)  # noqa: S606 -- running the given command is what this file is for
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)


def become(user: str) -> None:
    """Become *user*, for good."""
    import pwd  # noqa: PLC0415 -- only root gets here

    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


def watch(line: socket.socket, command: int, folder: str) -> None:
    """Wait for the end of the line; never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    try:
        word = line.recv(1)
    except OSError:
        word = b""
    if word == b"d":
        os._exit(0)
    if not word:
        bury(command)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)  # whoever is left in the group, and this process


def bury(command: int) -> None:
    """Kill *command* with its children in other groups, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(command, signal.SIGSTOP)  # it gets no more children now
        for child in children(command):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os.kill(command, signal.SIGKILL)
    while running(command):
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    state = _ps("-o", "stat=", "-p", str(pid)).strip()
    return bool(state) and not state.startswith("Z")


def children(parent: int) -> list[int]:
    """Return the process ids of the children of *parent*."""
    pairs = [line.split() for line in _ps("-A", "-o", "pid=,ppid=").splitlines()]
    return [int(pid) for pid, its_parent in pairs if int(its_parent) == parent]


def _ps(*arguments: str) -> str:
    command = ["ps", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
