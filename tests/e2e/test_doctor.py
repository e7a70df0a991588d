"""`ordering doctor` as a command: beside running services and without them, embedded and on the real parts."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.e2e.running import carried_out, command, environment, patiently, running
from tests.services.deployment import deployed

pytestmark = [pytest.mark.process, pytest.mark.slow]


def doctor(
    *options: str, env: Mapping[str, str], run: Callable[..., CompletedProcess[str]] = command
) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Exit status, and per check its levels and messages."""
    ended = run("doctor", "--json", *options, env=dict(env))
    assert ended.stderr == ""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in ended.stdout.splitlines():
        finding = json.loads(line)
        found.setdefault(finding["check"], []).append((finding["level"], finding["message"]))
    return ended.returncode, found


def test_an_embedded_system_is_well_running_and_stopped(tmp_path: Path) -> None:
    """Running, its ports answer; stopped, they are free, and looking leaves the folder as it is."""
    with running(tmp_path / "data") as system:
        assert system.place("ORDER-1") == 201
        assert system.call("GET", f"{system.order}/api/order-details?orderId=ORDER-1&wait=20")[0] == 200
        ports = {
            f"{part}_API_PORT": url.rpartition(":")[2]
            for part, url in zip(("CART", "ORDER"), (system.cart, system.order), strict=True)
        }
        env = environment(system.data, **ports)
        status, found = doctor("--strict", env=env)
        assert status == 0, found
        for part in ("cart", "order"):
            assert found[f"{part} service"] == [
                ("ok", f"runs on 127.0.0.1 port {ports[f'{part.upper()}_API_PORT']} and is ready")
            ]
        assert found["lag"] == [("ok", "none; events in the read model: 1")]
        assert system.stop() == 0

    files = sorted(file.name for file in system.data.iterdir())
    stores = {file: (system.data / file).read_bytes() for file in files if file.endswith(".db")}
    status, found = doctor("--strict", env=env)
    assert status == 0, found
    assert found["cart service"][0][1].startswith("does not run: ")
    assert sorted(file.name for file in system.data.iterdir()) == files
    assert {file: (system.data / file).read_bytes() for file in stores} == stores


def test_a_foreign_program_on_the_port_fails_that_line_alone(tmp_path: Path) -> None:
    """It takes connections and hangs up; nothing else is wrong but that nothing has run here."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        number = stranger.getsockname()[1]
        status, found = doctor(env=environment(tmp_path / "data", CART_API_PORT=str(number)))
    assert status == 1
    assert [check for check, lines in found.items() if lines[0][0] == "fail"] == ["cart service"]
    assert str(number) in found["cart service"][0][1]


def test_warnings_end_with_0_unless_strict(tmp_path: Path) -> None:
    """For people and for programs; the table has a line for each, and a count."""
    env = environment(tmp_path / "data")
    shown = command("doctor", env=env)
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1].endswith(" 5 warn, 0 fail")
    assert "warn  order store    there is no" in shown.stdout
    assert command("doctor", "--strict", env=env).returncode == 1


def test_a_cluster_where_everything_is_down_has_a_clear_line_for_each_part(tmp_path: Path) -> None:
    """And no traceback; ports that nobody listens on."""
    env = environment(
        tmp_path / "data",
        ORDERING_MODE="cluster",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        SCHEMA_REGISTRY_URL="http://127.0.0.1:1",
        DATABASE_URL="postgresql://someone:secret@127.0.0.1:1/none",
    )
    status, found = doctor(env=env)
    assert status == 1
    failed = {check for check, lines in found.items() if lines[0][0] == "fail"}
    assert failed == {"kafka", "registry", "order store", "history", "read model", "lag"}
    assert found["schemas"][0][0] == "ok"
    assert "secret" not in str(found)


def test_the_cluster_is_looked_at_in_all_its_parts(tmp_path: Path) -> None:
    """Right after it was set up, and after its topic, its tables and its registry have been spoilt."""
    with deployed() as settings:
        env = environment(tmp_path / "data", **settings)
        status, found = doctor(env=env, run=patiently)
        assert status == 0, found
        warned = {check for check, lines in found.items() if lines[0][0] == "warn"}
        assert warned == {"topic"}  # one broker keeps one copy
        assert found["lag"] == [("ok", "none; events in the read model: 0")]
        assert found["history"] == [("ok", "the order store knows the newest events of the log")]

        other = doctor(env={**env, "KAFKA_TOPIC": "elsewhere"}, run=patiently)[1]
        assert other["topic"] == [("fail", "elsewhere does not exist")]
        assert other["registry"][0][0] == "fail"
        carried_out("migrate", "down", "0001", "--part", "order", env=env)
        behind = "schema ordering_order is at level 1, this release needs 2: run `ordering migrate up`"
        assert doctor(env=env, run=patiently)[1]["read model"] == [
            ("fail", behind)
        ]  # no service of this release starts on it
        carried_out("migrate", "down", "base", "--part", "order", env=env)
        status, found = doctor(env=env, run=patiently)
        assert status == 1
        assert "run `ordering migrate up`" in found["read model"][0][1]
        assert found["order store"][0][0] == "ok"
