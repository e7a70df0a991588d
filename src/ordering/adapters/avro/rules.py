"""What a schema must keep to before it is released, alone and beside the other versions of its subject.

Nothing here needs the network. The compatibility check is Apache's own (the ``avro`` package, a development tool);
where it is not installed, ``check`` says so instead of pretending.
"""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from itertools import pairwise, permutations
from typing import Any, Final

import attrs

from ordering.adapters.avro import released
from ordering.adapters.avro.binary import Schema
from ordering.adapters.avro.released import Released
from ordering.adapters.avro.safety import hazard

_NAMED: Final = ("record", "error", "enum", "fixed")
_MEANING: Final = ("logicalType", "precision", "scale")


@attrs.frozen
class Verdict:
    """The outcome of a check: faults (none: all is well), what was looked at, and what could not be looked at."""

    faults: tuple[str, ...]
    checked: tuple[str, ...]
    skipped: tuple[str, ...]


def check(root: Traversable | None = None) -> Verdict:
    """Every rule for the released schemas in ``root`` (default: this installation's). Offline; reads files only."""
    root = root or released.folder()
    try:
        schemas = released.load(root)
    except (OSError, ValueError) as error:
        return Verdict((str(error),), (), ())
    faults = list(_index_faults(root, schemas))
    subjects: dict[str, list[Released]] = {}
    for schema in schemas:
        subjects.setdefault(schema.entry.subject, []).append(schema)
        if (fault := hazard(schema.definition)) is not None:
            faults.append(f"{schema.entry.name}: {fault}")
        if not schema.entry.inherited:
            faults += [f"{schema.entry.name}: {fault}" for fault in lint(schema.definition)]
    can_compare = find_spec("avro") is not None
    for versions in subjects.values():
        faults += _subject_faults(versions, compare=can_compare)
    skipped = () if can_compare else ("FULL_TRANSITIVE compatibility (install the package 'avro')",)
    return Verdict(tuple(faults), tuple(schema.entry.name for schema in schemas), skipped)


# ------------------------------------------------------------------------------------------------ one schema


def lint(definition: Schema) -> list[str]:
    """What a schema of ours lacks: a doc on every record, field and enum; a default on every enum."""
    faults: list[str] = []
    for path, node in _nodes(definition):
        if node.get("type") in _NAMED:
            if node["type"] != "fixed" and not node.get("doc"):
                faults.append(f"{path}: the {node['type']} has no doc")
            if node["type"] == "enum" and node.get("default") not in node["symbols"]:
                faults.append(f"{path}: the enum has no default among its symbols")
            faults += [
                f"{path}.{field['name']}: the field has no doc"
                for field in node.get("fields", ())
                if not field.get("doc")
            ]
    return faults


def shape(definition: Schema) -> Schema:
    """The schema reduced to what its bytes are and mean: equal shapes are read and written alike."""
    if isinstance(definition, list):
        return [shape(branch) for branch in definition]
    if not isinstance(definition, dict):
        return definition
    kept = {key: value for key, value in definition.items() if key not in ("doc", "default", "aliases", "namespace")}
    if kept.get("type") in _NAMED:
        kept["name"] = full_name(definition)
    for key in ("type", "items", "values"):
        if key in kept:
            kept[key] = shape(kept[key])
    if "fields" in kept:
        kept["fields"] = [(field["name"], shape(field["type"])) for field in kept["fields"]]
    return kept.get("type") if set(kept) == {"type"} else kept


def full_name(definition: Schema) -> str:
    """Namespace and name of a named type, or the bare type of any other schema."""
    if not isinstance(definition, dict):
        return definition if isinstance(definition, str) else "union"
    name, namespace = definition.get("name"), definition.get("namespace")
    if not isinstance(name, str):
        return str(definition.get("type"))
    return f"{namespace}.{name}" if namespace and "." not in name else name


# ------------------------------------------------------------------------------------------------ two schemas


def meaning_faults(one: Schema, other: Schema) -> list[str]:
    """Where the same field has another logical type, precision or scale: compatible to Avro, wrong by a factor."""
    ours, theirs = _meanings(one), _meanings(other)
    return [
        f"{path}: {_told(ours[path])} against {_told(theirs[path])}"
        for path in ours.keys() & theirs.keys()
        if ours[path] != theirs[path]
    ]


def compatibility_faults(writer: str, reader: str) -> list[str]:
    """Why data written with one schema (JSON text) cannot be read with the other. Needs the ``avro`` package."""
    from avro import compatibility, errors, schema  # noqa: PLC0415 -- a development tool, not installed with the service

    checker = compatibility.ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    try:
        result = checker.get_compatibility(schema.parse(reader), schema.parse(writer))
    except errors.AvroException as error:
        return [str(error)]
    if result.compatibility is compatibility.SchemaCompatibilityType.compatible:
        return []
    return sorted(result.messages) or ["incompatible"]


# ------------------------------------------------------------------------------------------------ the index


def _index_faults(root: Traversable, schemas: Sequence[Released]) -> Iterator[str]:
    for what in ("id", "name", "file"):
        values = [getattr(schema.entry, what) for schema in schemas]
        yield from (
            f"{released.INDEX}: {what} {value} twice" for value in sorted({v for v in values if values.count(v) > 1})
        )
    for schema in schemas:
        entry = schema.entry
        if entry.name != f"{entry.subject}/v{entry.version}":
            yield f"{entry.name}: the name is not subject/vN"
        if hashlib.sha256(schema.text.encode()).hexdigest() != entry.sha256:
            yield f"{entry.name}: {entry.file} is not the released file (sha256)"
    listed = {schema.entry.file for schema in schemas}
    for path in sorted(_files(root, "")):
        if path.endswith(".avsc") and path not in listed:
            yield f"{path}: not in {released.INDEX}"


def _files(folder: Traversable, prefix: str) -> Iterator[str]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _files(item, f"{prefix}{item.name}/")
        else:
            yield prefix + item.name


def _subject_faults(versions: Sequence[Released], *, compare: bool) -> Iterator[str]:
    versions = sorted(versions, key=lambda schema: schema.entry.version)
    subject = versions[0].entry.subject
    if [schema.entry.version for schema in versions] != list(range(1, len(versions) + 1)):
        yield f"{subject}: versions are not 1, 2, 3..."
    for one, other in pairwise(versions):
        if full_name(one.definition) != full_name(other.definition):
            yield f"{other.entry.name}: the record's name changed"
        yield from (f"{other.entry.name}: {fault}" for fault in meaning_faults(one.definition, other.definition))
    if compare:
        for writer, reader in permutations(versions, 2):
            faults = compatibility_faults(writer.text, reader.text)
            yield from (f"{reader.entry.name} cannot read {writer.entry.name}: {fault}" for fault in faults)


# ------------------------------------------------------------------------------------------------ walking


def _nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every inner schema with the path of field names that leads to it."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _nodes(branch, path)
    elif isinstance(schema, dict):
        yield path or "the record", schema
        for key in ("type", "items", "values"):
            if isinstance(schema.get(key), dict | list):
                yield from _nodes(schema[key], path)
        for field in schema.get("fields", ()):
            yield from _nodes(field["type"], f"{path}.{field['name']}" if path else field["name"])


def _meanings(schema: Schema) -> dict[str, tuple[Any, ...]]:
    """Per path, the logical type, precision and scale of plain (not record or container) schemas; None for absent."""
    found: dict[str, tuple[Any, ...]] = {}
    for path, node in _nodes(schema):
        for field in node.get("fields", ()):
            inner = field["type"]
            name = field["name"] if path == "the record" else f"{path}.{field['name']}"
            found[name] = tuple(inner.get(key) for key in _MEANING) if isinstance(inner, dict) else (None, None, None)
    return found


def _told(meaning: tuple[Any, ...]) -> str:
    logical, precision, scale = meaning
    return f"{logical}({precision},{scale})" if precision else str(logical)
