"""``python -m tests.services start|stop|status``: the real parts for a developer, without Docker.

``start`` prints ``export NAME=value`` lines: ``eval "$(python -m tests.services start)"``.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path

from tests.services import background
from tests.services.processes import Missing, StartFailed


def main(arguments: list[str]) -> int:
    """Run one command; 0 is done or running, 1 not possible, 3 not running, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("--folder", type=Path, help="where to put their data (default: the system's temporary folder)")
    parser.add_argument("--place", type=Path, default=background.PLACE, help="where to keep what runs (.services)")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended then, too
    if chosen.command == "start":
        return start(chosen.folder, chosen.place)
    return stop(chosen.place) if chosen.command == "stop" else status(chosen.place)


def start(folder: Path | None, place: Path) -> int:
    """Start what does not run, and print what to export."""
    try:
        state = background.start(folder, place)
    except (Missing, StartFailed) as reason:
        tell(str(reason))
        return 1
    except background.EndedByItself as reason:
        tell(f"{reason} ended by itself: `make services-stop` clears the rest away")
        return 1
    except KeyboardInterrupt:
        tell("interrupted: nothing runs")
        return 130
    for name, value in state.exports.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    return 0


def stop(place: Path) -> int:
    """Stop what runs."""
    if not background.stop(place):
        tell("nothing runs")
    return 0


def status(place: Path) -> int:
    """Print one line for each part."""
    state = background.current(place)
    if state is None:
        tell("nothing runs")
        return 3
    for part in state.parts:
        sys.stdout.write(f"{part.name}: {'runs' if part.runs() else 'ended by itself'}, process {part.pid}\n")
    sys.stdout.write(f"data and logs: {state.folder}\n")
    return 0 if all(part.runs() for part in state.parts) else 3


def tell(text: str) -> None:
    """Say something to the user, beside what is to be evaluated."""
    for line in text.splitlines():
        sys.stderr.write(f"services: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
