"""The layer contracts hold, and each of them breaks when a bad import is planted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.process  # import-linter reads a copy of the package in a process of its own


@attrs.frozen
class Canary:
    """One bad import and the contract that has to notice it."""

    contract: str
    module: str
    planted: str


CANARIES = [
    Canary("layers", "domain/__init__.py", "import ordering.application"),
    Canary("layers", "application/__init__.py", "import ordering.entrypoints"),
    Canary("layers", "adapters/__init__.py", "import ordering.entrypoints"),
    Canary("layers", "application/__init__.py", "def later() -> None:\n    import ordering.adapters.memory"),
    Canary("layers", "utils.py", "import ordering.domain"),
    Canary("adapters-behind-container", "entrypoints/__init__.py", "import ordering.adapters.memory"),
    Canary("independent-adapters", "adapters/memory/__init__.py", "import ordering.adapters.sqlite"),
    Canary("pure-domain", "domain/__init__.py", "import random"),
    Canary("pure-domain", "domain/__init__.py", "import msgspec"),
    Canary(
        "pure-domain", "domain/__init__.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import litestar"
    ),
    Canary("application-without-technology", "application/__init__.py", "import sqlite3"),
    Canary("application-without-technology", "application/__init__.py", "from time import monotonic"),
    Canary("generic-parts", "application/group_commit.py", "import ordering.domain.order"),
    Canary("generic-parts", "application/relay_outbox.py", "import ordering.application.place_order"),
    Canary("one-container", "entrypoints/__init__.py", "from dependency_injector import providers"),
    Canary("one-container", "entrypoints/container/services.py", "from dependency_injector import containers"),
    Canary("adapters-without-entrances", "adapters/__init__.py", "import litestar"),
    Canary("entrances-without-drivers", "entrypoints/__init__.py", "import apsw"),
]


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the package that lies in *folder*."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(
        [*command, "--config", str(ROOT / "pyproject.toml"), *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_contract_is_kept() -> None:
    """The code as it stands is in order."""
    result = lint(ROOT / "src")

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: f"{canary.contract}-{canary.planted.split()[-1]}")
def test_a_planted_import_breaks_its_contract(canary: Canary, tmp_path: Path) -> None:
    """A contract that cannot break guards nothing."""
    shutil.copytree(ROOT / "src/ordering", tmp_path / "ordering", ignore=shutil.ignore_patterns("schemas", "*.pyc"))
    assert lint(tmp_path, "--contract", canary.contract).returncode == 0

    with (tmp_path / "ordering" / canary.module).open("a") as module:
        module.write(f"\n{canary.planted}\n")
    result = lint(tmp_path, "--contract", canary.contract)

    assert result.returncode == 1
    assert "1 broken" in result.stdout, result.stdout + result.stderr


def test_every_contract_has_a_canary() -> None:
    """A new contract comes with the proof that it can break."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

    assert {contract["id"] for contract in contracts} == {canary.contract for canary in CANARIES}
