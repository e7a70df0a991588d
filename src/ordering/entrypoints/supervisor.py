"""``ordering serve all``: a small parent that starts both services, watches them, and ends them in order.

It opens the ports and hands them over, so a taken port is found before anything starts and early clients wait instead
of being refused. The children hold the reading end of a pipe whose writing end only the parent has: when the parent
is gone, however it went, the pipe closes and they stop. They live in process groups of their own, so Ctrl-C reaches
only the parent, which stops the cart service first: then nothing new appears while the order service finishes.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TextIO

import attrs

from ordering.entrypoints.process import StartupError, address, listen, lock, private_folder, url
from ordering.entrypoints.settings import Mode, Settings, both_ports, load
from ordering.entrypoints.settings_values import mask
from ordering.entrypoints.streams import LogStream, print_no_more

READY_SECONDS = 60.0
POLL_SECONDS = 0.02
HEAD_START_SECONDS = 1.0
"""How long the cart service may take to stop before the order service is told, too."""
GRACE_SECONDS = 1.0
"""What a child may need above its own shutdown limit before it is killed."""


@attrs.define
class Child:
    """One service process."""

    name: str
    process: "subprocess.Popen[bytes]"
    host: str
    port: int
    told: bool = False
    answer: str = "no answer"

    @property
    def url(self) -> str:
        """Where it answers."""
        return url(self.host, self.port)

    @property
    def ending(self) -> str | None:
        """How it ended; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def tell(self) -> None:
        """Ask it to stop."""
        if not self.told and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.told = True

    def is_ready(self, host_header: str) -> bool:
        """Whether its readiness endpoint says so; if not, ``answer`` holds what it says."""
        request = f"GET /health/ready HTTP/1.1\r\nHost: {host_header}\r\nConnection: close\r\n\r\n"
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(request.encode("ascii", "replace"))
                answer = connection.makefile("rb").read(4_096)
        except OSError as error:
            self.answer = str(error)
            return False
        self.answer = answer.rpartition(b"\r\n")[2].decode("utf-8", "replace")
        return answer.split(b" ")[1:2] == [b"200"]


def serve_all(environ: Mapping[str, str], out: TextIO) -> int:
    """Run both services until a signal comes or one of them ends; the exit status."""
    loaded = load(environ)
    both_ports(loaded)
    settings = loaded.settings
    os.umask(0o077)
    held: tuple[int, ...] = ()
    if settings.uses_files:
        folder = private_folder(settings.data_dir)
        held = (lock(folder / "ordering.lock", "`ordering serve all`"),)
    with _signals() as wakeup, _children(settings, held) as children:
        return Supervisor(settings, children, wakeup, out).run()


class Supervisor:
    """Watches its children; everything it does is caused by a signal (SIGCHLD included) or a deadline."""

    def __init__(self, settings: Settings, children: list[Child], wakeup: int, out: TextIO) -> None:
        self._settings, self._children, self._wakeup, self._out = settings, children, wakeup, out
        self._asked = False
        self._failure: str | None = None

    def run(self) -> int:
        """From start to end; 0 if it ended because somebody asked."""
        if self._await_ready():
            self._greet()
            while self._goes_on():
                self._wait(None)
        if self._failure:
            complain(self._failure)
        unclean = self._stop()
        return 1 if self._failure or unclean else 0

    def _greet(self) -> None:
        """Tell people where everything is; services go on also where nobody can be told."""
        try:
            self._out.write(banner(self._settings, self._children))
            self._out.flush()
        except OSError as error:
            print_no_more()
            complain(f"where the services are cannot be printed: {error.strerror}")

    def _goes_on(self) -> bool:
        ended = next((child for child in self._children if child.ending), None)
        if ended and not self._failure:
            self._failure = f"the {ended.name} service ended unexpectedly ({ended.ending}); stopping"
        return not self._asked and not self._failure

    def _await_ready(self) -> bool:
        deadline = time.monotonic() + READY_SECONDS
        waiting = list(self._children)
        host_header = next(iter(self._settings.allowed_hosts), "localhost")
        while self._goes_on():
            waiting = [child for child in waiting if not child.is_ready(host_header)]
            if not waiting:
                return True
            if time.monotonic() > deadline:
                causes = "; ".join(f"{child.name}: {child.answer}" for child in waiting)
                self._failure = f"not ready after {READY_SECONDS:.0f} s: {causes}; stopping"
                return False
            self._wait(POLL_SECONDS)
        return False

    def _wait(self, seconds: float | None) -> None:
        """Sleep until a signal comes or the time is over."""
        if select.select([self._wakeup], [], [], seconds)[0]:
            received = os.read(self._wakeup, 256)
            self._asked |= any(number != signal.SIGCHLD for number in received)

    def _stop(self) -> bool:
        """End the children, in order; whether one of them did not end cleanly."""
        began = time.monotonic()
        killed = hurried = self._asked = False
        while running := [child for child in self._children if child.ending is None]:
            running[0].tell()
            waited = time.monotonic() - began
            if waited > HEAD_START_SECONDS:
                for child in running:
                    child.tell()
                # One Ctrl-C may arrive as several signals; another one later means impatience.
                hurried = self._asked
            self._asked = False
            if hurried or waited > self._settings.shutdown_seconds + GRACE_SECONDS:
                killed = True
                for child in running:
                    complain(f"the {child.name} service {'was still stopping' if hurried else 'did not stop'}: killed")
                    child.process.kill()
                    child.process.wait()
            self._wait(POLL_SECONDS)
        return killed or any(child.process.returncode for child in self._children)


def banner(settings: Settings, children: list[Child]) -> str:
    """What people need to know once everything runs."""
    cart = children[0].url
    lines = [f"mode: {settings.effective_mode} ({_places(settings)})"]
    lines += [f"{child.name + ' service:':<15} {child.url}   docs: {child.url}/docs" for child in children]
    lines += [
        "try:",
        f'  curl -s {cart}/api/create-order -d \'{{"orderId": "my-first-order", "numItems": 2}}\'',
        f"  curl -s '{children[1].url}/api/order-details?orderId=my-first-order'",
        "Ctrl-C ends both services.",
    ]
    return "\n".join(lines) + "\n"


def _places(settings: Settings) -> str:
    """Where everything lies, without secrets."""
    if settings.effective_mode is Mode.EMBEDDED:
        return f"data in {settings.data_dir.absolute()}"
    stores = dict.fromkeys(
        mask(database) if database else str(folder.absolute())
        for database, folder in (
            (settings.cart_database, settings.cart_dir),
            (settings.order_database, settings.order_dir),
        )
    )
    return f"Kafka at {settings.kafka_bootstrap_servers}, stores in {', '.join(stores)}"


def complain(reason: str) -> None:
    """One line for people on stderr, if that can be written."""
    LogStream(sys.stderr).write(f"ordering: {reason}\n")


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that becomes readable with the numbers of the signals received."""
    wakeup, target = os.pipe()
    os.set_blocking(target, False)
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.signal(number, lambda *_: None) for number in handled}
    previous = signal.set_wakeup_fd(target, warn_on_full_buffer=False)
    try:
        yield wakeup
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wakeup)
        os.close(target)


@contextlib.contextmanager
def _children(settings: Settings, held: tuple[int, ...]) -> Iterator[list[Child]]:
    """Both services, started; whatever happens, none of them survives this block."""
    with contextlib.ExitStack() as cleanup:
        listeners = {
            "cart": cleanup.enter_context(listen(settings.host, settings.cart_port, "CART_API_PORT")),
            "order": cleanup.enter_context(listen(settings.host, settings.order_port, "ORDER_API_PORT")),
        }
        lifeline, ours = os.pipe()
        cleanup.callback(os.close, ours)
        children: list[Child] = []
        cleanup.callback(_end_all, children)
        for name, listener in listeners.items():
            children.append(_start(name, listener, lifeline, held))
        os.close(lifeline)
        for listener in listeners.values():
            listener.close()
        yield children


def _start(name: str, listener: socket.socket, lifeline: int, held: tuple[int, ...]) -> Child:
    command = [sys.executable, "-m", "ordering", "serve", name]
    command += ["--lifeline", str(lifeline), "--listener", str(listener.fileno())]
    try:
        process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=(lifeline, listener.fileno(), *held),
            process_group=0,
        )
    except OSError as error:
        raise StartupError(f"the {name} service cannot be started: {error.strerror}") from None
    return Child(name, process, *address(listener))


def _end_all(children: list[Child]) -> None:
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
            child.process.wait()
