"""What a newcomer meets first: make's messages, and Ctrl-C."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit({status}))
print("up", flush=True)
time.sleep(600)
"""
pytestmark = pytest.mark.process


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (3, 2)])
def test_make_reports_how_the_command_ended_after_ctrl_c(status: int, expected: int, tmp_path: Path) -> None:
    """make itself would die of the interrupt; 2 is its own status for a recipe that failed."""
    (tmp_path / "server.py").write_text(SERVER.format(status=status))
    recipe = f"{sys.executable} {ROOT / 'scripts/foreground.py'} {sys.executable} server.py"
    (tmp_path / "Makefile").write_text(f"run:\n\t@{recipe}\n")
    make, terminal = pty.fork()
    if make == 0:
        os.chdir(tmp_path)
        os.execvp("make", ["make", "run"])  # noqa: S606, S607 -- in a terminal of its own

    said = b""
    while b"up" not in said:
        said += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    _, ended = os.waitpid(make, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(ended) == expected


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", "is not a Python 3.11, 3.12 or 3.13"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "apt-get install python3-venv"),
    ],
    ids=["too old", "no venv module"],
)
def test_an_unfit_python_gets_one_clear_line(script: str, message: str, tmp_path: Path) -> None:
    """It says what is missing and what to do."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)

    result = subprocess.run(
        ["/bin/sh", ROOT / "scripts/install.sh"],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
