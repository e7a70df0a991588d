"""The lock files say exactly what is installed, and pyproject.toml says exactly what is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.test_sources import imported_roots, sources

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements.lock", "requirements-dev.lock"]
EVERY_LOCK = [*LOCKS, "benchmarks/peers/requirements.lock"]

NEEDED = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
OPTIONAL = [Requirement(each) for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra]
USED_WITHOUT_IMPORT = {
    "httptools": "uvicorn's HTTP parser",
    "uvloop": "uvicorn's event loop, chosen by name",
}


def blocks(lock: str) -> list[str]:
    """Return the requirements of *lock*, each with its hashes."""
    return re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())


def pins(lock: str) -> dict[str, str]:
    """Return the pinned version of every package in *lock*."""
    requirements = [Requirement(block.partition("\\")[0]) for block in blocks(lock)]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


def module_of(requirement: Requirement) -> str:
    """Return the name *requirement* is imported by."""
    return requirement.name.replace("-", "_")


@pytest.mark.parametrize("lock", EVERY_LOCK)
def test_a_lock_names_no_place(lock: str) -> None:
    """Where packages come from is the machine's business."""
    text = (ROOT / lock).read_text()

    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.MULTILINE)


@pytest.mark.parametrize("lock", EVERY_LOCK)
def test_every_pin_has_a_hash(lock: str) -> None:
    """What is installed is what was tested."""
    bare = [block for block in blocks(lock) if not re.match(r"\S+==\S+ .*\\\n +--hash=sha256:[0-9a-f]{64}", block)]

    assert bare == []


@pytest.mark.parametrize("lock", LOCKS)
def test_django_is_left_out(lock: str) -> None:
    """We serve the sidecar's static files, nothing more."""
    assert pins(lock).keys() & {"django", "asgiref", "sqlparse"} == set()


def test_the_locks_agree() -> None:
    """What runs is tested at the version it runs at."""
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


def test_the_locks_hold_what_is_declared() -> None:
    """A change of pyproject.toml needs `make lock`."""
    running, tools = pins("requirements.lock"), pins("requirements-dev.lock")
    group = [Requirement(each) for each in PROJECT["dependency-groups"]["dev"]]
    wrong = [
        str(requirement)
        for lock, requirements in ((running, [*NEEDED, *OPTIONAL]), (tools, group))
        for requirement in requirements
        if not requirement.specifier.contains(lock.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]

    assert wrong == []


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    """No package is there by luck, and none for nothing."""
    imported = {root for path in sources() for root in imported_roots(ast.parse(path.read_text()))}
    foreign = imported - set(sys.stdlib_module_names) - {"ordering"}
    unused = {each.name for each in NEEDED if module_of(each) not in imported} - USED_WITHOUT_IMPORT.keys()

    assert foreign - {module_of(each) for each in [*NEEDED, *OPTIONAL]} == set()
    assert unused == set()
