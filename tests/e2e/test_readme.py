"""The README tells the truth: its commands run, and their answers are the printed ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from ordering.entrypoints.cli.config import markdown
from tests.e2e.running import PATIENCE, System, environment, running
from tests.services.deployment import deployed

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

GENERATED = [
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z"),
    re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"),
]
"""What is new at every run: moments and ids."""


def blocks() -> Iterator[tuple[str, str, str]]:
    """Each ``bash`` block with the kind and text of the block that shows its answer."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    for (kind, text), (answer_kind, answer) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "bash":
            yield text, answer_kind, answer


@pytest.fixture(params=["embedded", "cluster"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    """A running system without any orders, as after `make run`, and the same on real Kafka and PostgreSQL."""
    with ExitStack() as parts:
        settings = parts.enter_context(deployed()) if request.param == "cluster" else {}
        yield parts.enter_context(running(tmp_path / "data", **settings))


def run(text: str, system: System) -> str:
    """Run a block as a reader would, but against this system's ports."""
    here = text.replace("http://127.0.0.1:8000", system.cart).replace("http://127.0.0.1:8001", system.order)
    here = here.replace(".venv/bin/ordering", f"{sys.executable} -m ordering")
    command = ["bash", "-euo", "pipefail", "-c", here]
    env = {**environment(system.data, **system.settings), "PATH": os.environ["PATH"]}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def told(text: str) -> str:
    """The text without what is new at every run."""
    for pattern in GENERATED:
        text = pattern.sub("<generated>", text)
    return text


def as_data(text: str) -> object:
    """JSON with exact numbers, without what is new at every run."""
    return json.loads(told(text), parse_float=Decimal)


@pytest.mark.process
def test_every_command_of_the_readme_gives_what_it_shows(system: System) -> None:
    """In the README's order: later steps build on earlier ones."""
    commands = list(blocks())
    assert len(commands) >= 8

    for text, kind, answer in commands:
        printed = run(text, system)
        if kind == "json":
            assert as_data(printed) == as_data(answer), text
        else:
            assert told(printed).startswith(told(answer)), text


def test_the_settings_table_is_the_one_the_program_prints() -> None:
    """`ordering config show --output markdown`."""
    (shown,) = re.findall(r"<!-- settings:.*?-->\n(.*?)\n<!-- end of settings -->", README, re.DOTALL)

    assert shown.strip() == markdown()
