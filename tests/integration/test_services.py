"""The real parts for tests and developers: they answer, crash, come back, and leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import alive, until
from tests.services.background import start_time
from tests.services.fixtures import made, real
from tests.services.jars import java
from tests.services.kafka import Kafka
from tests.services.lifeline import children, running
from tests.services.part import Part
from tests.services.postgres import Postgres, binaries
from tests.services.processes import Missing, StartFailed, temporary_folder
from tests.services.proxy import Proxy
from tests.services.registry import Registry

ROOT = Path(__file__).parents[2]
PATIENCE = 180.0
PARTS = [Postgres, Kafka, Registry]
pytestmark = [pytest.mark.process, pytest.mark.slow]


def ps(*words: str) -> list[str]:
    """What the system says of its processes, a line for each."""
    command = ["ps", "-ww", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def mentioning(folder: Path) -> list[str]:
    """The processes whose command names a folder: a part, and its watcher."""
    return [line for line in ps("-A", "-o", "pid=,args=") if str(folder) in line]


def in_session(pid: int) -> list[str]:
    """The processes in the session that a part was started in."""
    words = [line.split(None, 2) for line in ps("-A", "-o", "sess=,stat=,args=")]
    return [args for session, state, args in words if int(session) == pid and not state.startswith("Z")]


def accepted(address: str) -> bool:
    """Whether somebody listens there."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def fetched(url: str, body: bytes | None = None) -> object:
    """The decoded answer of a registry."""
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 -- our own address
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return json.load(answer)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("make", PARTS)
def test_a_part_starts_answers_and_leaves_nothing(make: type[Part]) -> None:
    """No process, no folder."""
    with real(make) as part:
        folder, pid = part.folder, part.process.pid
        assert part.answers()
        assert mentioning(folder)

    assert not folder.exists()
    assert mentioning(folder) == []
    assert in_session(pid) == []


@pytest.mark.parametrize("make", PARTS)
def test_a_paused_part_hangs_and_goes_on(make: type[Part]) -> None:
    """It accepts and never answers; stopping it while it is paused works, too."""
    with real(make) as part:
        pid = part.process.pid
        part.pause()
        until(lambda: ps("-o", "stat=", "-p", str(pid))[0].startswith("T"), "the process is stopped")
        part.resume()
        until(part.answers, "it answers again", PATIENCE)
        part.pause()

    assert not running(pid)


def test_kafka_keeps_its_data_and_address_over_a_crash() -> None:
    """A topic made before kill -9 is there after it, and the tools reach it."""
    with real(Kafka) as kafka:
        bootstrap = kafka.bootstrap
        kafka.tool("TopicCommand", "--create", "--topic", "kept", "--partitions", "3")
        kafka.kill()
        assert not accepted(bootstrap)
        kafka.start()

        assert kafka.bootstrap == bootstrap
        assert kafka.tool("TopicCommand", "--list").split() == ["kept"]
        with pytest.raises(StartFailed, match="absent"):
            kafka.tool("TopicCommand", "--describe", "--topic", "absent")


def versions(kafka: Kafka, bootstrap: str = "") -> str:
    """What Kafka's own tool tells of the brokers there; it has seconds for its question, a loaded machine may need
    several of it."""
    told: list[str] = []

    def answered() -> bool:
        with contextlib.suppress(StartFailed):
            told.append(kafka.tool("BrokerApiVersionsCommand", bootstrap=bootstrap))
        return bool(told)

    until(answered, "the tool has its answer", PATIENCE)
    return told[0]


def test_all_traffic_of_a_client_behind_the_proxy_goes_through_it() -> None:
    """The broker advertises the proxy to it, so that what is cut is really cut."""
    with real(Kafka) as kafka, Proxy(kafka.proxied, port=kafka.proxy_port) as proxy:
        assert proxy.address == kafka.behind_proxy
        told = versions(kafka)
        assert kafka.bootstrap in told
        assert proxy.connections == 0

        through = versions(kafka, kafka.behind_proxy)

        assert kafka.behind_proxy in through
        assert kafka.bootstrap not in through
        assert proxy.connections > 1


def test_kafka_takes_listeners_settings_and_scram_users(tmp_path: Path) -> None:
    """A client with the right password gets in, one with a wrong password does not."""
    jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    extra = {
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.scram.scram-sha-256.sasl.jaas.config": f"{jaas};",
    }
    with real(lambda: Kafka(listeners={"SCRAM": "SASL_PLAINTEXT"}, extra=extra, scram_users={"ann": "right"})) as kafka:
        for password, allowed in (("right", True), ("wrong", False)):
            client = tmp_path / f"{password}.properties"
            client.write_text(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n"
                f'sasl.jaas.config={jaas} username="ann" password="{password}";\n'
            )
            words = ["TopicCommand", "--command-config", str(client), "--list"]
            if allowed:
                kafka.tool(*words, bootstrap=kafka.addresses["SCRAM"])
            else:
                with pytest.raises(StartFailed, match="SaslAuthentication"):
                    kafka.tool(*words, bootstrap=kafka.addresses["SCRAM"])


def test_postgres_is_durable_and_recovers_from_a_crash() -> None:
    """What was committed is there after an immediate shutdown; settings are ours to give."""
    with real(Postgres) as postgres:
        assert [postgres.sql(f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == [
            "on"
        ] * 3
        postgres.sql("CREATE TABLE kept (id int)")
        postgres.sql("INSERT INTO kept VALUES (1)")
        postgres.restart_immediately()
        assert postgres.sql("SELECT id FROM kept") == "1"
        other = postgres.create_database("other")
        assert other == postgres.url("other")
        assert postgres.sql("SELECT current_database()", "other") == "other"
        postgres.drop_database("other")
    with real(lambda: Postgres(settings={"fsync": "off"})) as postgres:
        assert postgres.sql("SHOW fsync") == "off"


def test_schemas_in_kafka_survive_a_crash_of_the_registry() -> None:
    """With their ids."""
    with real(Kafka) as kafka, real(lambda: Registry(storage="kafkasql", bootstrap=kafka.bootstrap)) as registry:
        body = json.dumps({"schema": json.dumps({"type": "record", "name": "R", "fields": []})}).encode()
        registered = fetched(f"{registry.url}/subjects/kept-value/versions", body)
        assert isinstance(registered, dict)
        registry.kill()
        registry.start()
        kept = fetched(f"{registry.url}/schemas/ids/{registered['id']}")
        assert isinstance(kept, dict)
        assert json.loads(kept["schema"])["name"] == "R"


@pytest.mark.parametrize(("make", "paused"), [(Kafka, False), (Postgres, False), (Postgres, True)])
def test_a_killed_run_leaves_no_process_and_no_folder(make: type[Part], paused: bool) -> None:
    """Kill -9 of whoever started a part, even of a paused one."""
    program = f"""
import sys
from {make.__module__} import {make.__name__}
part = {make.__name__}().start()
{"part.pause()" if paused else ""}
print(part.process.pid, part.folder, flush=True)
sys.stdin.read()
"""
    made(make).stop()
    starter = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    assert starter.stdin is not None
    pid, folder = starter.stdout.readline().split()
    assert alive(int(pid))
    its_own = children(int(pid))

    starter.kill()
    starter.wait()
    starter.stdin.close()
    starter.stdout.close()

    until(lambda: not any(alive(each) for each in [int(pid), *its_own]), "every process has ended", PATIENCE)
    until(lambda: not Path(folder).exists(), "the folder is gone", PATIENCE)
    until(lambda: mentioning(Path(folder)) == [], "the watcher has ended", PATIENCE)


def test_a_part_that_cannot_start_says_why_and_leaves_nothing() -> None:
    """Its last words are in the error."""
    with pytest.raises(StartFailed, match="nonsense") as failed, real(lambda: Postgres(settings={"nonsense": "1"})):
        pass

    assert "postgres ended with 1" in str(failed.value)


class Command:
    """``python -m tests.services`` with a place of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __call__(self, word: str, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tests.services", word, "--place", self.place, *more],
            cwd=ROOT,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Command]:
    """The command; whatever it started ends with the test."""
    command = Command(tmp_path / "place")
    yield command
    command("stop")


def test_start_prints_exports_that_work_and_stop_ends_only_its_own(
    services: Command, stranger: subprocess.Popen[bytes]
) -> None:
    """The parts outlive the command; a second start changes nothing; a stranger with a recorded number lives on."""
    for make in PARTS:
        made(make).stop()
    first = services("start")
    assert first.returncode == 0, first.stderr
    script = f"{first.stdout}\nenv"
    shell = subprocess.run(["/bin/sh", "-ec", script], capture_output=True, text=True, check=True)
    exported = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    assert exported["ORDERING_MODE"] == "cluster"
    assert accepted(exported["KAFKA_BOOTSTRAP_SERVERS"])
    assert fetched(f"{exported['SCHEMA_REGISTRY_URL']}/subjects") == []
    asked = subprocess.run(
        [binaries() / "psql", "-X", "-A", "-t", "-c", "SELECT current_database()", exported["DATABASE_URL"]],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert asked.stdout == "ordering\n"

    again = services("start")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert again.stderr == "services: they run already\n"

    state = json.loads((services.place / "state.json").read_text())
    pids = [part["pid"] for part in state["parts"]]
    forged = [*state["parts"], {**state["parts"][0], "pid": stranger.pid}]
    (services.place / "state.json").write_text(json.dumps({**state, "parts": forged}))
    assert services("status").returncode == 3
    assert services("stop").returncode == 0
    assert stranger.poll() is None

    assert [pid for pid in pids if running(pid)] == []
    assert mentioning(Path(state["folder"])) == []
    assert not Path(state["folder"]).exists()
    assert services("stop").stderr == "services: nothing runs\n"
    assert services("status").returncode == 3


def test_an_interrupted_start_leaves_nothing(services: Command, tmp_path: Path) -> None:
    """Ctrl-C while Kafka comes up."""
    for make in PARTS:
        made(make).stop()
    folder = temporary_folder("test")
    folder.chmod(0o711)  # PostgreSQL's user must get there
    try:
        starter = subprocess.Popen(
            [sys.executable, "-m", "tests.services", "start", "--place", services.place, "--folder", folder],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: any(folder.glob("*/ordering-kafka-*/kafka.log")), "Kafka is being started", PATIENCE)
        starter.send_signal(signal.SIGINT)
        printed, said = starter.communicate(timeout=PATIENCE)

        assert (starter.returncode, printed) == (130, "")
        assert said.endswith("services: interrupted: nothing runs\n")
        assert list(folder.iterdir()) == []
        until(lambda: mentioning(folder) == [], "nothing runs", PATIENCE)
        assert services("status").returncode == 3
    finally:
        folder.rmdir()


def test_what_is_missing_is_told_in_one_line_for_each_part(services: Command, tmp_path: Path) -> None:
    """On a machine with neither Java nor Maven nor PostgreSQL."""
    (tmp_path / "bin").mkdir()
    nothing = {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path), "PG_BIN": str(tmp_path), "JAVA_HOME": ""}

    result = services("start", **nothing)

    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [re.split(r" \(", line)[0] for line in lines] == [
        "services: real Kafka: needs Java 17 or newer and Maven",
        "services: real schema registry: needs Java 21 or newer and Maven",
        "services: real PostgreSQL: needs its server, 15 or newer",
    ]
    assert all("apt-get install" in line for line in lines)


@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped=1"), ("true", "errors=1")])
def test_a_missing_part_skips_its_tests_and_fails_them_under_ci(ci: str, outcome: str, tmp_path: Path) -> None:
    """One line says what to install."""
    (tmp_path / "test_it.py").write_text("def test_it(postgres):\n    raise AssertionError\n")
    words = [
        "-m",
        "pytest",
        "-p",
        "tests.services.fixtures",
        "-rsE",
        "--rootdir",
        tmp_path,
        "-c",
        "/dev/null",
        tmp_path,
    ]
    result = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "PG_BIN": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    name, _, count = outcome.partition("=")
    assert re.search(rf"{count} {name.rstrip('s')}", result.stdout), result.stdout
    assert "real PostgreSQL: needs its server, 15 or newer (Debian: apt-get install postgresql)" in result.stdout


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME first, then the PATH, then what is installed; none at all gets one line that names what was found."""
    for name, version in (("old", "17.0.1"), ("new", "99")):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "release").write_text(f'JAVA_VERSION="{version}"\n')
        (tmp_path / name / "bin" / "java").touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path / "new" / "bin"))

    assert java(17, "x", "y") == tmp_path / "old/bin/java"
    assert java(90, "x", "y") == tmp_path / "new/bin/java"
    with pytest.raises(Missing, match=r"^x: needs Java 100 or newer \(y; .*old/bin/java is 17, .*new/bin/java is 99"):
        java(100, "x", "y")


def test_a_start_time_tells_processes_apart(stranger: subprocess.Popen[bytes]) -> None:
    """Empty for one that has ended, even while nobody has noticed."""
    assert start_time(stranger.pid) not in {"", start_time(1)}
    stranger.kill()
    until(lambda: start_time(stranger.pid) == "", "it has ended")
