"""The benchmark of the rebuild, in a small size: what it promises of readers holds, and it says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_readers_notice_nothing_of_a_rebuild(tmp_path: Path) -> None:
    """No request fails, nothing differs after a kill, what is changed by hand is found, and figures are printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.rebuild", "--events", "20000", "--kill", "--tamper"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for told in (
        "killed: ",
        "found by --verify-only: ORDER-",
        "differences: none",
        "during: ",
        "requests that failed: 0",
        "memory flat: yes",
    ):
        assert told in ended.stdout
    assert list(tmp_path.iterdir()) == []
