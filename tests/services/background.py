"""Kafka, registry and PostgreSQL for a developer: they run on until they are stopped, and are stopped exactly."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import cattrs

from tests.services import kafka as kafka_part
from tests.services import postgres as postgres_part
from tests.services import registry as registry_part
from tests.services.kafka import Kafka
from tests.services.part import Part
from tests.services.postgres import Postgres
from tests.services.processes import PATIENCE, Missing, temporary_folder
from tests.services.registry import Registry

PLACE = Path(__file__).parents[2] / ".services"


class EndedByItself(Exception):
    """Some of what was started runs no more; the text names it."""


@attrs.frozen
class Running:
    """A process of ours: the number may be another's one day, number and start time together never."""

    name: str
    pid: int
    started: str
    orderly: int

    def runs(self) -> bool:
        """Whether it still runs."""
        return start_time(self.pid) == self.started

    def end(self) -> None:
        """End it in order, or at once when it does not hear, and wait for that."""
        deadline = time.monotonic() + PATIENCE
        self._send(self.orderly)
        self._send(signal.SIGCONT)
        while self.runs():
            if time.monotonic() > deadline:
                self._send(signal.SIGKILL)
            time.sleep(0.03)  # it is no child of ours: there is nothing to wait on

    def _send(self, number: int) -> None:
        if self.runs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@attrs.frozen
class State:
    """What ``start`` started."""

    folder: str
    exports: dict[str, str]
    parts: list[Running]


def start(within: Path | None, place: Path = PLACE) -> State:
    """Start all three, unless they run; Missing with one line for each part that cannot run on this machine."""
    with _locked(place):
        state = _read(place)
        if state is not None:
            ended = [part.name for part in state.parts if not part.runs()]
            if ended:
                raise EndedByItself(", ".join(ended))
            _say("they run already")
            return state
        check()
        folder = temporary_folder("services", within)
        folder.chmod(0o711)  # PostgreSQL's user has to get to its own folder in it
        started: list[Part] = []
        try:
            postgres, kafka = Postgres(within=folder), Kafka(within=folder)
            registry = Registry(storage="kafkasql", bootstrap=kafka.bootstrap, within=folder)
            parts: tuple[Part, ...] = (postgres, kafka, registry)
            for part in parts:
                began = time.monotonic()
                started.append(part)
                part.start()
                _say(f"{part.name} answers after {time.monotonic() - began:.1f} s")
            state = State(
                str(folder),
                {
                    "ORDERING_MODE": "cluster",
                    "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
                    "SCHEMA_REGISTRY_URL": registry.url,
                    "DATABASE_URL": postgres.url(),
                },
                [_running(part) for part in started],
            )
            _write(place, state)  # before they run alone, so that there is no moment in which nobody can stop them
            for part in started:
                part.detach()
        except BaseException:
            for part in reversed(started):
                part.stop()
            shutil.rmtree(folder, ignore_errors=True)
            (place / "state.json").unlink(missing_ok=True)
            raise
    return state


def stop(place: Path = PLACE) -> bool:
    """End exactly what `start` started and remove its folder; whether there was anything."""
    with _locked(place):
        state = _read(place)
        if state is None:
            return False
        for part in reversed(state.parts):
            part.end()
            _say(f"{part.name} has ended")
        shutil.rmtree(state.folder, ignore_errors=True)
        (place / "state.json").unlink()
    return True


def current(place: Path = PLACE) -> State | None:
    """Return what was started and not stopped."""
    return _read(place)


def check() -> None:
    """Raise Missing, with all that is missing on this machine; fetches what can be fetched."""
    missing = []
    for requirements in (kafka_part.requirements, registry_part.requirements, postgres_part.binaries):
        try:
            requirements()
        except Missing as reason:
            missing.append(str(reason))
    if missing:
        raise Missing("\n".join(missing))


def start_time(pid: int) -> str:
    """Return when a process started, in the system's own words; empty when it does not run (any more)."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]  # the third and the 22nd field of proc(5)
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition(" ")
    return "" if state.startswith("Z") else started.strip()


def _running(part: Part) -> Running:
    return Running(part.name, part.process.pid, start_time(part.process.pid), int(part.orderly))


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    place.mkdir(mode=0o700, exist_ok=True)
    (place / ".gitignore").write_text("*\n")
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(place: Path) -> State | None:
    try:
        return cattrs.structure(json.loads((place / "state.json").read_text()), State)
    except FileNotFoundError:
        return None


def _write(place: Path, state: State) -> None:
    temporary = place / "state.new"
    temporary.touch(mode=0o600)  # it holds the password
    temporary.write_text(json.dumps(attrs.asdict(state), indent=2) + "\n")
    temporary.replace(place / "state.json")


def _say(text: str) -> None:
    sys.stderr.write(f"services: {text}\n")
