"""The command line: its words, its exit status, its one-line errors."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import structlog

from ordering.application import failures
from ordering.application.errors import DuplicateOrder
from ordering.application.generations import RebuildReport
from ordering.application.messages import Changes, DeadReason, HeldRecord, Record, Undecodable
from ordering.application.projection import project
from ordering.application.rebuild import Wishes
from ordering.entrypoints import container, streams
from ordering.entrypoints.cli import main, rebuild
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.tools import Tools, use
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.process import StartupError
from ordering.entrypoints.settings import Settings


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

    commands = ("serve", "demo", "doctor", "loadgen", "tail", "orders", "outbox", "dlq", "rebuild", "config", "schemas")
    for command in commands:
        assert f" {command} " in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["tial"],
        ["dlq", "release"],
        ["tail", "--output", "xml"],
        ["serve", "everything"],
        ["serve", "cart", "--port", "x"],
        ["serve", "cart", "x"],
        ["serve", "order", "--listener", "x"],
        ["serve", "cart", "--listener", "555"],
        ["serve", "cart", "--listener", "-1"],
        ["serve", "cart", "--lifeline", "99999999999999999999"],
        ["outbox", "retry"],
        ["outbox", "retry", "x", "--all"],
        ["outbox", "list", "--limit", "0"],
        ["outbox", "list", "--limit", "99999999999999999999"],
        ["dlq", "list", "--limit", "1000001"],
        ["rebuild", "--limit-report", "-1"],
        ["rebuild", "--verify"],
        ["dlq", "release", "1/7"],
        ["orders", "show", "a\udcff"],
        ["backup", "b\udcff"],
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Never a traceback."""
    assert main(arguments) == 2
    printed = capsys.readouterr()

    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("ordering: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["orders", "show"], "`ordering orders show` needs ORDER-ID: The order's id."),
        (["backup"], "`ordering backup` needs FOLDER: A folder that does not exist yet."),
        (["demo", "fast", "x"], "`ordering demo` does not take: fast x"),
        (["serve", "all", "x"], "`ordering serve all` does not take: x"),
        (["tail", "--order"], 'Command "tail" parameter --order requires an argument.'),
    ],
)
def test_a_wrong_call_names_the_command_and_the_argument(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the command's help names them."""
    assert main(arguments) == 2

    assert capsys.readouterr().err == f"ordering: {told}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["outbox", "list"],
        ["outbox", "retry", "--all"],
        ["dlq", "list"],
        ["dlq", "release", "x"],
        ["orders", "show", "x"],
        ["tail", "--no-follow"],
        ["rebuild"],
        ["rebuild", "--verify-only"],
    ],
)
def test_a_folder_that_nobody_served_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 1, and nothing is made."""
    assert main(arguments) == 1
    printed = capsys.readouterr()

    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert "Events cannot be delivered" not in printed.err  # nobody wanted to deliver any
    assert not Path("data").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_character_set_can_print_what_others_have_sent(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's key, on a terminal without its letters: as an escape, and JSON stays JSON."""
    printed = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed, encoding))
    streams.print_anything()
    out.rows([{"orderId": "\u4ed4\N{REPLACEMENT CHARACTER}"}], ("orderId",), "table", empty="")
    out.line({"orderId": "\u4ed4"})
    table, last = printed.getvalue().decode(encoding).splitlines()[-2:]

    assert table == ("\u4ed4\ufffd" if encoding == "utf-8" else "\\u4ed4\\ufffd")
    assert json.loads(last) == {"orderId": "\u4ed4"}


@pytest.mark.parametrize(
    "failure",
    [
        failures.BrokerUnavailable("it is away"),
        failures.RegistryUnavailable("it is away"),
        failures.StoreUnavailable("it is away"),
        failures.Refused("it cannot be used"),
        failures.WriteRejected("a row is too big"),
        failures.CommitAmbiguous("nobody knows"),
        failures.StalePosition("somebody was faster"),
        failures.LogChanged("it is another one"),
        DuplicateOrder("ORDER-1"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_whatever_a_command_meets_is_one_line(failure: Exception) -> None:
    """Every failure of a port, and what the use cases refuse."""

    async def work(_: Tools) -> int:
        raise failure

    with pytest.raises(StartupError) as told:
        use(work)
    assert str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_is_no_listener(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A descriptor that is open, but not a socket."""
    with (tmp_path / "file").open("w") as opened:
        assert main(["serve", "cart", "--listener", str(opened.fileno())]) == 2

    assert capsys.readouterr().err.startswith("ordering: ")


async def _hold_keyless() -> None:
    settings = Settings()
    observer = ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))
    letter = HeldRecord(Record(settings.topic, 1, 7, 0, None, b"no event"), None, "keyless", "it has no key", 0)
    async with AsyncExitStack() as exits:
        views = container.embedded_order(settings, observer, exits).views()
        snapshot = await views.load(settings.topic, ())
        await views.commit(Changes(settings.topic, snapshot.generation, {}, held=(letter,)))


def test_a_letter_without_a_key_is_shown_by_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """As `dlq discard` takes it."""
    Path("data").mkdir()
    anyio.run(_hold_keyless)

    assert main(["dlq", "show", "1/7", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "keyless"
    assert main(["dlq", "show", "1/8"]) == 1


async def _hold_two() -> None:
    settings = Settings()
    observer = ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger()))
    records = [Record(settings.topic, 1, offset, 0, b"twice", b"no event") for offset in (7, 8)]
    events = [Undecodable(DeadReason.NOT_FRAMED, "it is no event", "twice")] * 2
    async with AsyncExitStack() as exits:
        views = container.embedded_order(settings, observer, exits).views()
        snapshot = await views.load(settings.topic, ["twice"])
        await views.commit(project(settings.topic, snapshot, records, events, 0))


def test_a_discard_says_which_record_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    """Given once more it drops nothing else; without the place it drops what blocks."""
    Path("data").mkdir()
    anyio.run(_hold_two)

    assert main(["dlq", "discard", "twice", "--at", "1/8"]) == 1
    assert capsys.readouterr().out == "twice: released 0, discarded 0; 2 still held: not-framed\n"
    assert main(["dlq", "discard", "twice", "--at", "1/7"]) == 0
    assert main(["dlq", "discard", "twice", "--at", "1/7"]) == 1
    assert main(["dlq", "show", "twice", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["offset"] == 8
    assert main(["dlq", "discard", "twice"]) == 0
    assert main(["dlq", "show", "twice"]) == 1


@pytest.mark.parametrize("arguments", [("twice", "--at", "7"), ("1/7", "--at", "1/7"), ("twice", "--at", "")])
def test_a_place_that_is_none_is_told(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """With what it has to look like."""
    assert main(["dlq", "discard", *arguments]) == 2
    assert "PARTITION/OFFSET" in capsys.readouterr().err


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


@pytest.mark.process
def test_a_service_starts_without_what_only_consoles_need() -> None:
    """Clients wait for a service that starts again: nothing is loaded only because it happens to be installed, and
    the collector rests meanwhile. It stays off here because the settings refuse the rest of the start."""
    script = (
        "import gc, os; os.environ['ORDERING_MODE'] = 'neither'; from ordering.entrypoints.cli import main; "
        "assert main(['serve', 'cart']) == 2; assert not gc.isenabled()"
    )
    loaded = _modules_after(script)

    assert "ordering.entrypoints.container.parts" in loaded
    assert {"rich.console", "werkzeug.local", "cyclopts", "pygments"} & loaded == set()


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


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (0, ["differences      none: the read model is what the log says"]),
        (
            99_540,
            [
                "differences      none: the read model is what the log says up to where it is",
                "not looked at    99,540 events that the order service has not applied yet",
            ],
        ),
    ],
)
def test_a_read_model_that_is_late_is_not_called_equal_to_the_log(ahead: int, told: list[str]) -> None:
    """Only what it has applied was compared."""
    report = RebuildReport(2, False, 3, 1.0, 3, {}, {}, False, {}, ahead)
    lines = list(rebuild._lines(report, Wishes(verify_only=True)))

    assert [line for line in lines if line.startswith(("differences", "not looked at"))] == told
