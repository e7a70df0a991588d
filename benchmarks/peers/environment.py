"""The peers' own Python environment: made once from requirements.lock, kept in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.services.processes import Missing

LOCK = Path(__file__).with_name("requirements.lock")
ROOT = Path(__file__).parents[2]
SEED_SCHEMA = ROOT / "schemas" / "seed" / "com.ecommerce.order.Order.avsc"


def python() -> Path:
    """The peers' interpreter, installed if it is not there yet. Raises Missing if it cannot be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ordering-bench"
    state = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    ready = cache / f"peers-{state}" / "bin" / "python"
    if not ready.exists():
        cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="peers-", dir=cache))
        try:
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)])
            folder.rename(ready.parents[1])  # the interpreter finds its packages from where it lies
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return ready


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise Missing(f"the peers' packages: {reason[:200]}")


def seed_style(bootstrap: str, registry: str, topic: str, port: int) -> tuple[list[str], Mapping[str, str]]:
    """The command that serves the seed-style cart in its tuned form, and its environment. Raises Missing."""
    command = [str(python()), "-m", "uvicorn", "benchmarks.peers.seed_style.main:app", "--app-dir", str(ROOT)]
    command += ["--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command += ["--no-access-log", "--log-level", "critical"]
    return command, {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "SCHEMA_REGISTRY_URL": registry,
        "KAFKA_TOPIC": topic,
        "SEED_SCHEMA": str(SEED_SCHEMA),
    }
