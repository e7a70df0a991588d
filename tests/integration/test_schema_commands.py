"""``ordering schemas diff|register`` as people call them: what is printed, and the exit status."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ordering.adapters.avro.registry_api import RegistryApi
from ordering.entrypoints.cli import main
from tests.services.registry_stub import RegistryStub
from tests.unit.adapters.avro.samples import INHERITED

USER, PASSWORD = "cart", "hunter2-secret"

pytestmark = pytest.mark.process


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RegistryStub]:
    """A stand-in that the settings name, with its account, and that may take its time."""
    monkeypatch.setitem(RegistryApi.__init__.__kwdefaults__, "timeout_seconds", 120.0)
    running = RegistryStub(user=USER, password=PASSWORD, first_id=7)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "ORDERING_MODE": "cluster",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "KAFKA_TOPIC": "shop",
        "SCHEMA_REGISTRY_URL": running.url,
        "SCHEMA_REGISTRY_USER": USER,
        "SCHEMA_REGISTRY_PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield running
    finally:
        running.down()


Capture = pytest.CaptureFixture[str]


def test_diff_then_register_then_diff(stub: RegistryStub, capsys: Capture) -> None:
    """Differences end with 1 and are named on stderr; afterwards there are none."""
    assert main(["schemas", "diff"]) == 1
    printed = capsys.readouterr()
    assert "order-events-value/v1            missing" in printed.out
    assert "ordering: shop-value: schema order-events-value/v1 is not registered\n" in printed.err

    assert main(["schemas", "register", "--dry-run"]) == 0
    assert stub.count("PUT") == stub.count("POST", "/subjects/shop-value/versions") == 0
    assert capsys.readouterr().out.count("would be done  ") == 4

    assert main(["schemas", "register"]) == 0
    assert "done  shop-value: schema order-events-value/v1 has id 7\n" in capsys.readouterr().out
    assert main(["schemas", "register"]) == 0
    assert capsys.readouterr().out == "every released schema is registered already\n"

    assert main(["schemas", "diff", "--output", "json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert json.loads(printed.out.splitlines()[0]) == {
        "subject": "shop-value",
        "schema": "order-events-value/v1",
        "state": "registered",
        "id": 7,
        "version": 1,
        "compatibility": "FULL_TRANSITIVE",
    }


def test_a_refusal_is_told_and_ends_with_1(stub: RegistryStub, capsys: Capture) -> None:
    """Here the seed's schema is in the way; the line says what to do."""
    stub.put("shop-value", INHERITED.text)
    for arguments in (["schemas", "register"], ["schemas", "register", "--dry-run"]):
        assert main(arguments) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "set it aside first" in printed.err
    assert stub.count("PUT") == 0


def test_a_registry_out_of_reach_is_one_line(
    stub: RegistryStub, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none of it is a secret."""
    monkeypatch.setenv("SCHEMA_REGISTRY_PASSWORD", "wrong-secret")
    assert main(["schemas", "diff"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "ordering: the schema registry does not accept our user or password\n"
    stub.down()
    assert main(["schemas", "register"]) == 1
    assert capsys.readouterr().err == "ordering: the schema registry cannot be reached\n"


@pytest.mark.parametrize("command", ["diff", "register"])
def test_the_built_in_registry_needs_neither(
    command: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has the released schemas because it is them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERING_MODE", "embedded")
    assert main(["schemas", command]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line == "the built-in registry has every released schema: there is nothing to compare or to register"
