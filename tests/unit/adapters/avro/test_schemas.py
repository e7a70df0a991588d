"""The rules that released schemas keep to, each shown on a release that breaks it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ordering.adapters.avro import released, rules
from ordering.adapters.avro.binary import Schema
from ordering.adapters.avro.safety import hazard
from tests.unit.adapters.avro.samples import OUR_SCHEMA

FOLDER = Path(str(released.folder()))


def test_every_released_schema_keeps_every_rule() -> None:
    """Index, hashes, docs, enum defaults, logical types and, both ways between all versions, compatibility."""
    verdict = rules.check()
    assert verdict.faults == ()
    assert verdict.skipped == ()
    assert verdict.checked == ("order-events-value/v1", "order-events-inherited-value/v1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the schemas."""
    return shutil.copytree(FOLDER, tmp_path / "schemas")


def release(folder: Path, change: Callable[[dict[str, Any]], object]) -> tuple[str, ...]:
    """The faults found after version 2 of our schema, made by ``change``, was released into the folder."""
    schema = json.loads(json.dumps(OUR_SCHEMA))
    change(schema)
    file = folder / "order-events-value" / "v2.avsc"
    file.write_text(json.dumps(schema))
    index = json.loads((folder / "index.json").read_text())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    row = index["schemas"][0] | {"id": 3, "version": 2, "name": "order-events-value/v2", "sha256": digest}
    index["schemas"].append(row | {"file": "order-events-value/v2.avsc"})
    (folder / "index.json").write_text(json.dumps(index))
    return rules.check(folder).faults


def new_field(**more: object) -> Callable[[dict[str, Any]], object]:
    """A change that adds a field."""
    return lambda schema: schema["fields"].append({"name": "channel", "type": "string", "doc": "Where."} | more)


def named(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The field of the record with this name."""
    return next(field for field in schema["fields"] if field["name"] == name)


@pytest.mark.parametrize(
    "change",
    [
        new_field(default="web"),
        lambda schema: named(schema, "eventType")["type"]["symbols"].append("ORDER_RETURNED"),
        lambda schema: named(schema, "status").update(doc="Another wording."),
    ],
    ids=["field with default", "enum symbol", "doc"],
)
def test_a_compatible_release_passes(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """These are the changes that readers and writers of every version survive."""
    assert release(folder, change) == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (new_field(), "cannot read order-events-value/v1"),
        (lambda schema: schema["fields"].remove(named(schema, "currency")), "v1 cannot read order-events-value/v2"),
        (lambda schema: named(schema, "version").update(type="long"), "v1 cannot read order-events-value/v2"),
        (lambda schema: schema.update(name="Event"), "the record's name changed"),
        (lambda schema: named(schema, "totalAmount")["type"].update(scale=2), "totalAmount: decimal(18,4) against"),
        (lambda schema: named(schema, "orderDate").update(type="long"), "orderDate: timestamp-micros against None"),
        (lambda schema: named(schema, "eventType")["type"].pop("default"), "the enum has no default"),
        (lambda schema: named(schema, "status").pop("doc"), "status: the field has no doc"),
        (lambda schema: schema.pop("doc"), "the record has no doc"),
        (new_field(type={"type": "array", "items": "null"}, default=[]), "items that can be empty"),
        (new_field(type="strin"), "not an Avro schema"),
    ],
)
def test_an_incompatible_release_is_found(folder: Path, change: Callable[[dict[str, Any]], object], fault: str) -> None:
    """Also where Avro's own checker is silent: scales, logical types, docs and defaults."""
    faults = release(folder, change)
    assert any(fault in found for found in faults), faults


@pytest.mark.parametrize(
    ("injure", "fault"),
    [
        (lambda folder: (folder / "order-events-value" / "v1.avsc").write_text('"string"'), "is not the released file"),
        (lambda folder: (folder / "order-events-value" / "v9.avsc").write_text("{}"), "v9.avsc: not in index.json"),
        (lambda folder: (folder / "order-events-value" / "v1.avsc").unlink(), "v1.avsc"),
        (lambda folder: (folder / "index.json").write_text('{"schemas": [{"id": 1}]}'), "index.json"),
        (lambda folder: (folder / "index.json").write_text("[]"), "index.json"),
        (lambda folder: _edit_index(folder, id=2), "id 2 twice"),
        (lambda folder: _edit_index(folder, version=2), "versions are not 1, 2, 3"),
        (lambda folder: _edit_index(folder, name="orders"), "the name is not subject/vN"),
    ],
)
def test_an_inconsistent_index_is_found(folder: Path, injure: Callable[[Path], object], fault: str) -> None:
    """Released files, ids and names never change."""
    injure(folder)
    faults = rules.check(folder).faults
    assert any(fault in found for found in faults), faults


def _edit_index(folder: Path, **changes: object) -> None:
    index = json.loads((folder / "index.json").read_text())
    index["schemas"][0].update(changes)
    (folder / "index.json").write_text(json.dumps(index))


def _record(name: str, *types: Schema) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": type_} for number, type_ in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


def _explosion(depth: int) -> dict[str, Any]:
    inner = _record("R0", "null")
    for level in range(1, depth):
        inner = _record(f"R{level}", inner, f"R{level - 1}", f"R{level - 1}")
    return inner


@pytest.mark.parametrize(
    ("schema", "danger"),
    [
        (OUR_SCHEMA, None),
        ({"type": "array", "items": _record("E")}, "can be empty"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "can be empty"),
        ({"type": "array", "items": ["null", "string"]}, None),
        ({"type": "map", "values": "null"}, None),
        (_record("R", ["null", "R"]), "contains itself"),
        (_record("R", {"type": "map", "values": "R"}), "contains itself"),
        (_explosion(20), "more than 10000"),
        ("strin", "not an Avro schema"),
        ({"type": "record"}, "not an Avro schema"),
        (7, "not an Avro schema"),
    ],
)
def test_schemas_that_make_short_bodies_expensive_are_told_apart(schema: Schema, danger: str | None) -> None:
    """Endless empty items, a stack overflow in fastavro's C code, exponential records."""
    found = hazard(schema)
    assert found is None if danger is None else danger in (found or "")
