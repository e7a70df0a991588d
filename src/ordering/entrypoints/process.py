"""What a serving process needs from the machine before anything else: its folder, its lock, its port.

Everything here happens before stores are opened, so that a start that cannot succeed changes nothing.
"""

import contextlib
import errno
import fcntl
import os
import resource
import socket
from pathlib import Path

BACKLOG = 1_024


class StartupError(Exception):
    """A service cannot start (or a command cannot work) for a reason that one line says."""


class CalledWrongly(StartupError):
    """The arguments are at fault, not the machine."""


def private_folder(folder: Path) -> Path:
    """Make a folder that only this user can enter; an existing one is left as it is."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"the data folder {folder} cannot be used: {error.strerror}") from None
    return folder


def lock(path: Path, holder: str) -> int:
    """Hold a lock file for as long as the returned descriptor (or an inherited copy of it) is open.

    The system frees it when the last process that has it ends, however it ends, so there are no stale locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(f"{path} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        folder = path.parent.absolute()
        raise StartupError(
            f"the data folder {folder} is in use: {holder} runs there already (process {owner})"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; ``setting`` is the name that people would change to use another port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:  # a name that no name server could be asked for is no OSError
        listener.close()
        reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
        taken = isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EADDRINUSE
        remedy = f"{setting} chooses another port" if taken else "API_HOST chooses another address"
        raise StartupError(f"cannot listen on {host} port {port}: {reason} ({remedy})") from None
    listener.setblocking(False)
    return listener


def allow_descriptors(needed: int) -> int:
    """Let this process open so many files and connections, as far as its hard limit goes; how many it may open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):  # a system may have a lower limit than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return soft


def address(listener: socket.socket) -> tuple[str, int]:
    """Host and port under which people reach a listener from this machine."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 -- read, not bound


def url(host: str, port: int) -> str:
    """The base URL of a service."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
