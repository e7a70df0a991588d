"""What every real part can do: start, stop, crash, come back, freeze."""

from __future__ import annotations

import shutil
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from tests.services.processes import Process, temporary_folder


class Part(ABC):
    """One server of our own in a temporary folder, on loopback; ``with Kafka() as kafka: ...`` starts and stops it.

    It ends when this Python process ends, however that ends, unless it is detached.
    """

    name: ClassVar[str]
    orderly: ClassVar[int] = signal.SIGTERM
    """The signal on which it shuts down in order."""
    crash: ClassVar[int] = signal.SIGKILL

    def __init__(self, within: Path | None) -> None:
        self.folder = temporary_folder(self.name, within)
        self._process: Process | None = None

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves a client now."""

    @abstractmethod
    def _launch(self) -> Process:
        """Start its process, the first time with all that comes before."""

    def start(self) -> Self:
        """Start it, and wait until it answers; on the same ports and data when it ran before."""
        self._process = self._launch()
        self._process.until(self.answers, self.name)
        return self

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> Process:
        """Its process, while it runs."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP): connections stay open and new ones are accepted, nothing answers."""
        self.process.send_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_all(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash does; nothing is flushed, the data stays."""
        self._end(self.crash)

    def shut_down(self) -> None:
        """End it in order, if it runs; the data stays."""
        if self._process is not None:
            self._end(self.orderly)

    def restart(self) -> None:
        """Shut down in order (if it runs) and come back."""
        self.shut_down()
        self.start()

    def stop(self) -> None:
        """End it and remove its folder."""
        try:
            self.shut_down()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def detach(self) -> None:
        """Let it run on when this Python process ends."""
        self.process.detach()

    def _end(self, number: int) -> None:
        process, self._process = self.process, None
        process.send_all(signal.SIGCONT)  # who is paused hears of nothing else
        process.end(number)
