"""What is built is what is shipped: both wheels are complete, install from the lock, and serve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
import zipfile
from pathlib import Path

import attrs
import pytest

from tests.services.processes import free_ports

ROOT = Path(__file__).parents[2]
PARTS = ["pyproject.toml", "README.md", "LICENSE", "schemas", "src"]
NO_INDEX = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "SSLError")

pytestmark = [pytest.mark.process, pytest.mark.slow]


@attrs.frozen
class Wheels:
    """The wheel built here, and the one built from the sdist."""

    direct: Path
    from_sdist: Path


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end."""
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """Build a copy of the sources both ways."""
    copy = tmp_path_factory.mktemp("sources")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy / part)
    for folder, options in (("direct", ["--wheel"]), ("from_sdist", [])):
        result = run(sys.executable, "-m", "build", "--no-isolation", *options, "-o", folder, cwd=copy)
        assert result.returncode == 0, result.stdout + result.stderr
    return Wheels(next((copy / "direct").glob("*.whl")), next((copy / "from_sdist").glob("*.whl")))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the run-time lock, and nothing else, into an empty environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    result = run(*pip, "-r", ROOT / "requirements.lock", cwd=folder)
    if result.returncode != 0 and any(sign in result.stderr for sign in NO_INDEX):
        pytest.skip("the package index is not reachable, so the lock cannot be installed")
    assert result.returncode == 0, result.stderr
    return folder


def test_both_wheels_hold_the_same_files(wheels: Wheels) -> None:
    """The sdist loses nothing."""
    assert set(zipfile.ZipFile(wheels.from_sdist).namelist()) == set(zipfile.ZipFile(wheels.direct).namelist())


def test_every_schema_is_in_the_wheels(wheels: Wheels) -> None:
    """The published contracts travel with the code."""
    schemas = {f"ordering/{path.relative_to(ROOT)}" for path in (ROOT / "schemas").rglob("*") if path.is_file()}

    assert schemas
    assert schemas <= set(zipfile.ZipFile(wheels.from_sdist).namelist())


@pytest.mark.parametrize("origin", ["direct", "from_sdist"])
def test_the_lock_and_the_wheel_serve_from_an_empty_folder(
    origin: str, wheels: Wheels, environment: Path, tmp_path: Path
) -> None:
    """Nothing is missing from the lock or the wheel, and Ctrl-C ends everything in order."""
    pip = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    installed = run(*pip, "--force-reinstall", getattr(wheels, origin), cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    ports = free_ports(2)
    log = tmp_path.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [environment / "bin/ordering", "serve", "all"],
            cwd=tmp_path,
            env={"PATH": os.defpath, "CART_API_PORT": str(ports[0]), "ORDER_API_PORT": str(ports[1])},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            answers = [health(port, process, log) for port in ports]
            process.send_signal(signal.SIGINT)
            status = process.wait(timeout=120)
        finally:
            process.kill()
            process.wait()

    assert [answer["status"] for answer in answers] == ["ready", "ready"]
    assert status == 0, log.read_text()


def health(port: int, process: subprocess.Popen[bytes], log: Path) -> dict[str, object]:
    """Return the answer of /health/ready once it is a good one; a start takes its time where others work, too."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
                return dict(json.load(answer))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    pytest.fail(f"no answer on port {port}, exit status {process.poll()}:\n{log.read_text()}")
