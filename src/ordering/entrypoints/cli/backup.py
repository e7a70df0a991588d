"""``ordering backup``: copies of every file, beside running services."""

import os
import sys
import time
from pathlib import Path

from ordering.entrypoints import container
from ordering.entrypoints.cli.output import coloured
from ordering.entrypoints.process import StartupError
from ordering.entrypoints.settings import Mode, load


def back_up(folder: Path) -> int:
    """Copy everything that lies in files, and say what does not."""
    settings = load(os.environ).settings
    os.umask(0o077)
    began = time.monotonic()
    try:
        for copied in container.back_up(settings, folder, _progress()):
            size = f"{copied.size / 2**20:.1f} MiB" if copied.size else "not there, not copied"
            print(f"{copied.name:<24} {size}", flush=True)
    except container.REFUSALS as error:
        raise StartupError(str(error)) from None
    print(f"done in {time.monotonic() - began:.1f} s: {folder}")
    if settings.effective_mode is Mode.CLUSTER:
        print(container.ELSEWHERE)
    return 0


def _progress() -> container.Told:
    """One line that is written over, for people who watch."""
    if not coloured(sys.stderr):
        return lambda _done, _all: None

    def show(done: int, pages: int) -> None:
        end = "\n" if done == pages else ""
        sys.stderr.write(f"\r{done * 100 // max(1, pages):>3} %{end}")
        sys.stderr.flush()

    return show
