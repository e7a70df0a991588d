"""The exported documents: the committed ones are the present ones, and they say what the program does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from ordering.adapters.avro import released
from ordering.adapters.kafka import topics
from ordering.application.event_headers import event_headers
from ordering.domain.events import EVENT_OF_STATUS, EventType, OrderEvent
from ordering.domain.status import TRANSITIONS, OrderStatus
from ordering.entrypoints import container
from ordering.entrypoints.cli import main
from ordering.entrypoints.container.contracts import PublishedSchema
from ordering.entrypoints.documents import asyncapi, lifecycle
from ordering.entrypoints.http.schemas import ID_PATTERN
from tests.unit.adapters.avro.samples import EVENT

ROOT = Path(__file__).parents[3]
EXPORTS = {"openapi": ROOT / "docs/api", "asyncapi": ROOT / "docs/api", "lifecycle": ROOT / "docs"}

# What the specification (3.1.0) and its Kafka bindings (0.5.0) allow, for the objects that our document has.
# Their official JSON Schema is in no Python package, so these rules are written down here by hand.
ALLOWED = {
    "document": {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"},
    "server": {"host", "protocol", "protocolVersion", "pathname", "description", "title", "summary", "variables"}
    | {"security", "tags", "externalDocs", "bindings"},
    "variable": {"enum", "default", "description", "examples"},
    "channel": {"address", "messages", "title", "summary", "description", "servers", "parameters", "tags"}
    | {"externalDocs", "bindings"},
    "operation": {"action", "channel", "title", "summary", "description", "security", "tags", "externalDocs"}
    | {"bindings", "traits", "messages", "reply"},
    "message": {"headers", "payload", "correlationId", "contentType", "name", "title", "summary", "description"}
    | {"tags", "externalDocs", "bindings", "examples", "traits", "deprecated"},
}
ALLOWED_IN_KAFKA = {
    "server": {"schemaRegistryUrl", "schemaRegistryVendor"},
    "channel": {"topic", "partitions", "replicas", "topicConfiguration"},
    "operation": {"groupId", "clientId"},
    "message": {"key", "schemaIdLocation", "schemaIdPayloadEncoding", "schemaLookupStrategy"},
}


@pytest.mark.parametrize("group", EXPORTS)
def test_the_committed_files_are_the_present_ones(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever changes the contract sees it in the review."""
    status = main([group, "export", "--to", str(EXPORTS[group]), "--check"])
    assert status == 0, f"{capsys.readouterr().err}`make docs` refreshes them all"


@pytest.mark.parametrize("group", EXPORTS)
def test_a_stale_or_missing_file_is_found_and_left_as_it_is(
    group: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that writes it anew."""
    export = [group, "export", "--to", str(tmp_path)]
    assert main([*export, "--check"]) == 1
    assert f"is not there: `ordering {group} export --to {tmp_path}`" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(export) == 0
    assert main([*export, "--check"]) == 0
    for file in sorted(tmp_path.iterdir()):
        fresh = file.read_bytes()
        stale = fresh.replace(b"pending", b"waiting") + b"\n"
        file.write_bytes(stale)
        capsys.readouterr()
        assert main([*export, "--check"]) == 1
        assert f"ordering: {file} is stale: `ordering {group} export --to {tmp_path}`" in capsys.readouterr().err
        assert file.read_bytes() == stale
        file.write_bytes(fresh)


def test_documents_are_printed_one_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    """So that they can be piped; what makes no sense is refused."""
    for arguments in (["openapi", "export", "order"], ["asyncapi", "export"]):
        assert main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["info"]["title"]
    assert main(["lifecycle", "export"]) == 0
    assert "stateDiagram-v2" in capsys.readouterr().out
    for wrong in (["openapi", "export"], ["asyncapi", "export", "--check"], ["openapi", "export", "cart", "--check"]):
        assert main(wrong) == 2
        assert "--to" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here it is a file."""
    (tmp_path / "file").write_text("")
    assert main(["asyncapi", "export", "--to", str(tmp_path / "file")]) == 1
    printed = capsys.readouterr().err
    assert printed == f"ordering: {tmp_path / 'file'} is a file; --to takes a folder\n"


def test_settings_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files describe the product, not one machine."""
    before = _asyncapi(), container.openapi_documents()
    for name, value in (("KAFKA_TOPIC", "other"), ("KAFKA_CONSUMER_GROUP", "g"), ("ORDERING_SHIPPING_RATE", "0.5")):
        monkeypatch.setenv(name, value)
    assert (_asyncapi(), container.openapi_documents()) == before


# ---------------------------------------------------------------------------------------------- the topic's document


def test_the_asyncapi_document_has_the_specifications_structure() -> None:
    """Required members are there, no unknown one is, names are names, and every reference leads somewhere."""
    document = _asyncapi()
    assert document["asyncapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])
    _fits("document", document)
    for server in document["servers"].values():
        _fits("server", server)
        assert {"host", "protocol"} <= set(server)
        assert set(re.findall(r"{(\w+)}", server["host"])) == set(server["variables"])
        for variable in server["variables"].values():
            _fits("variable", variable)
    for channel in document["channels"].values():
        _fits("channel", channel)
    for operation in document["operations"].values():
        _fits("operation", operation)
        assert operation["action"] in {"send", "receive"}
    for name, message in document["components"]["messages"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        _fits("message", message)
    for schema in document["components"]["schemas"].values():
        assert set(schema) == {"schemaFormat", "schema"}
        assert schema["schemaFormat"] == "application/vnd.apache.avro;version=1.9.0"
    references = [found["$ref"] for found in _objects(document) if "$ref" in found]
    assert len(references) >= 8
    for reference in references:
        assert isinstance(_at(document, reference), dict), reference


def test_an_operation_names_only_messages_of_its_channel() -> None:
    """The specification asks for references into the channel, not past it."""
    document = _asyncapi()
    for operation in document["operations"].values():
        prefix = operation["channel"]["$ref"] + "/messages/"
        assert all(message["$ref"].startswith(prefix) for message in operation["messages"])


def test_every_released_schema_is_in_it_word_for_word() -> None:
    """Read: all of them, the inherited record included. Sent: the newest of ours."""
    document = _asyncapi()
    files = [json.loads((ROOT / "schemas" / entry.file).read_text()) for entry in released.entries(released.folder())]
    assert [schema["schema"] for schema in document["components"]["schemas"].values()] == files
    sent, read = (_messages(document, name) for name in ("publishOrderEvent", "followOrderEvents"))
    assert sent == ["ordering.events.OrderEvent"]
    assert read == ["ordering.events.OrderEvent", "com.ecommerce.order.Order"]


def test_a_newer_version_is_sent_and_the_older_ones_are_still_read() -> None:
    """As soon as it is in the index, wherever it stands there."""
    first, inherited = container.published_schemas()
    second = PublishedSchema({**first.definition, "doc": "The second."}, first.subject, 2, inherited=False)
    document = asyncapi.document([second, first, inherited], "1", "urn:x")
    (sent,) = document["operations"]["publishOrderEvent"]["messages"]
    assert sent == {"$ref": "#/channels/orderEvents/messages/OrderEventV2"}
    assert len(document["operations"]["followOrderEvents"]["messages"]) == 3
    assert set(document["channels"]["orderEvents"]["messages"]) == set(document["components"]["messages"])


def test_the_documented_headers_are_those_of_a_record() -> None:
    """Each with its value or type; optional are only those that may be absent."""
    (described,) = (
        message["headers"] for message in _asyncapi()["components"]["messages"].values() if "headers" in message
    )
    event = EVENT
    written = dict(event_headers(event, container.EVENT_SOURCE, "request", "00-a-b-01", "vendor=1"))
    assert set(described["properties"]) == set(written)
    assert set(described["required"]) == set(dict(event_headers(event, container.EVENT_SOURCE, "request", None, None)))
    for name, schema in described["properties"].items():
        value = written[name].decode()
        assert schema["type"] == "string"
        assert value == schema.get("const", value)
        assert value in schema.get("enum", [value])
        assert re.search(schema.get("pattern", ""), value)
    assert datetime.fromisoformat(written["ce_time"].decode()).tzinfo is UTC
    assert len(described["properties"]["ce_type"]["enum"]) == len(EventType) - 1
    assert all(_type_of(event, kind) in described["properties"]["ce_type"]["enum"] for kind in EVENT_OF_STATUS.values())


def test_the_documented_topic_is_what_ensure_makes_of_it() -> None:
    """`ordering topics ensure` sets these; the key is the order's id."""
    document = _asyncapi()
    binding = document["channels"]["orderEvents"]["bindings"]["kafka"]
    told = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in binding["topicConfiguration"].items()
    }
    assert told == topics._SETTINGS
    assert document["channels"]["orderEvents"]["address"] == binding["topic"] == "order-events"
    key = document["components"]["messages"]["OrderEventV1"]["bindings"]["kafka"]["key"]
    assert (key["type"], key["pattern"]) == ("string", ID_PATTERN)


# ---------------------------------------------------------------------------------------------- the life cycle


def test_the_life_cycle_page_shows_every_step_of_the_table_and_no_other() -> None:
    """In the diagram and in words."""
    page = lifecycle.page()
    steps = {(str(status), str(target)) for status, targets in TRANSITIONS.items() for target in targets}
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", page, re.MULTILINE))
    assert drawn == steps
    told = set()
    for status, targets in re.findall(r"^\| `(\w+)` \| `\w+` \| (.*) \|$", page, re.MULTILINE):
        told |= {(status, target) for target in re.findall(r"`(\w+)`", targets)}
    assert told == steps
    assert all(f"| `{status}` | `{EVENT_OF_STATUS[status]}` |" in page for status in OrderStatus)


# ---------------------------------------------------------------------------------------------- reading documents


def _asyncapi() -> dict[str, Any]:
    return asyncapi.document(container.published_schemas(), "1.2.3", container.EVENT_SOURCE)


def _fits(kind: str, value: dict[str, Any]) -> None:
    assert {name for name in value if not name.startswith("x-")} <= ALLOWED[kind]
    for protocol, binding in value.get("bindings", {}).items():
        assert protocol == "kafka"
        assert binding["bindingVersion"] == "0.5.0"
        assert set(binding) - {"bindingVersion"} <= ALLOWED_IN_KAFKA[kind]


def _type_of(event: OrderEvent, kind: EventType) -> str:
    headers = event_headers(attrs.evolve(event, event_type=kind), "s", "r", None, None)
    return dict(headers)["ce_type"].decode()


def _messages(document: dict[str, Any], operation: str) -> list[str]:
    return [
        _at(document, _at(document, message["$ref"])["$ref"])["name"]
        for message in document["operations"][operation]["messages"]
    ]


def _at(document: Any, reference: str) -> Any:  # noqa: ANN401 -- any JSON
    assert reference.startswith("#/")
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
