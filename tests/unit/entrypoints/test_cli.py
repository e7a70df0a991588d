"""The command line: its words, its exit status, its one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ordering.entrypoints.cli import main
from ordering.entrypoints.cli import output as out


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder and no settings of the developer's."""
    monkeypatch.chdir(tmp_path)
    for name in ("ORDERING_CONFIG", "ORDERING_DATA_DIR", "DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "API_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What a newcomer tries first."""
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out

    for command in ("serve", "demo", "tail", "orders", "outbox", "dlq", "config", "schemas"):
        assert f" {command} " in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["tial"],
        ["dlq", "release"],
        ["tail", "--output", "xml"],
        ["serve", "everything"],
        ["serve", "cart", "--port", "x"],
    ],
)
def test_a_wrong_call_is_one_line_and_not_zero(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Never a traceback."""
    assert main(arguments) in (1, 2)
    printed = capsys.readouterr()

    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("ordering: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["outbox", "list"],
        ["outbox", "retry", "--all"],
        ["dlq", "list"],
        ["dlq", "release", "x"],
        ["orders", "show", "x"],
        ["tail", "--no-follow"],
    ],
)
def test_a_folder_that_nobody_served_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 1, and nothing is made."""
    assert main(arguments) == 1
    printed = capsys.readouterr()

    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert not Path("data").exists()


def test_broken_settings_end_every_command_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All faults, one a line."""
    monkeypatch.setenv("ORDERING_PARTITIONS", "none")
    monkeypatch.setenv("ORDERING_DATADIR", "x")

    assert main(["config", "show"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_config_show_tells_value_and_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a table and as JSON lines."""
    monkeypatch.setenv("ORDERING_PARTITIONS", "5")

    assert main(["config", "show", "--output", "json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}

    assert rows["ORDERING_PARTITIONS"]["value"] == "5"
    assert rows["ORDERING_PARTITIONS"]["source"] == "environment"
    assert rows["KAFKA_TOPIC"]["source"] == "default"


def test_config_show_hides_passwords(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends up in tickets."""
    monkeypatch.setenv("ORDERING_MODE", "embedded")
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://me:hunter2@registry:8081")

    assert main(["config", "show"]) == 0
    printed = capsys.readouterr().out

    assert "hunter2" not in printed
    assert "http://***@registry:8081" in printed


def test_schemas_check_names_what_it_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 with the released ones."""
    assert main(["schemas", "check"]) == 0
    assert "order-events-value/v1" in capsys.readouterr().out


@pytest.mark.process
def test_help_does_not_load_the_services() -> None:
    """`ordering --help` answers at once; a table of what it must not import keeps it so."""
    heavy = {"litestar", "uvicorn", "structlog", "fastavro", "apsw", "dependency_injector", "prometheus_client"}
    script = (
        "import sys; from ordering.entrypoints.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    )
    loaded = _modules_after(script)

    assert heavy & loaded == set()


@pytest.mark.process
def test_the_parent_of_serve_all_stays_small() -> None:
    """It lives as long as the services and needs none of their libraries."""
    heavy = {
        "litestar",
        "uvicorn",
        "structlog",
        "fastavro",
        "apsw",
        "dependency_injector",
        "cyclopts",
        "rich",
        "asyncio",
    }
    loaded = _modules_after("import ordering.entrypoints.supervisor")

    assert heavy & loaded == set()


def _modules_after(script: str) -> set[str]:
    script += "; import sys; print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ended.stderr.split())


def test_a_table_is_as_wide_as_its_cells() -> None:
    """Columns line up, and nothing is padded at the end."""
    found = [{"a": "long value", "b": 1}, {"a": None, "b": 22}]

    assert out.table(found, ("a", "b")) == "a           b\nlong value  1\n-           22"


def test_a_cell_cannot_control_the_terminal() -> None:
    """Ids and reasons may come from anybody's bytes."""
    assert "\x1b" not in out.cell("\x1b[2Jgone")
    assert out.cell("two\nlines") == "two\N{REPLACEMENT CHARACTER}lines"
