"""Avro binary data by fastavro, guarded: whatever the bytes are, reading them ends in a value or one of two errors."""

from io import BytesIO
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType

Schema = Any
"""An Avro schema as parsed JSON: a dictionary, a list (union) or a string (name)."""

Value = Any
"""Whatever a schema describes, as fastavro has it: dictionaries, lists, numbers, text, bytes."""

_SCHEMA_KEYS: Final = ("type", "items", "values", "fields")


class Corrupt(ValueError):
    """The bytes are not what their schema says."""


class Unconvertible(ValueError):
    """The bytes are sound, but what they say does not fit our types."""


def physical(schema: Schema) -> Schema:
    """The schema without logical types and docs: the same bytes, read as plain bytes, numbers and text.

    fastavro converts logical types slowly and accepts out-of-range values; the border converts them itself.
    """
    if isinstance(schema, list):
        return [physical(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema and isinstance(schema["type"], str) and schema["type"] != "fixed":
        return schema["type"]
    kept = {key: value for key, value in schema.items() if key not in ("doc", "logicalType", "precision", "scale")}
    return kept | {key: physical(kept[key]) for key in _SCHEMA_KEYS if key in kept}


def prepared(schema: Schema, named: dict[str, Schema] | None = None) -> Schema:
    """The schema in fastavro's parsed form; its named types are added to ``named``.

    Raises ValueError if it is no valid Avro schema.
    """
    try:
        return parse_schema(schema, {} if named is None else named)
    except (SchemaParseException, UnknownType, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an Avro schema: {error}") from error


def write(schema: Schema, value: Value) -> bytes:
    """The value's Avro binary encoding under a prepared schema."""
    stream = BytesIO()
    schemaless_writer(stream, schema, value)
    return stream.getvalue()


def read(body: bytes, writer: Schema, reader: Schema | None = None) -> Value:
    """The value in ``body``, written with ``writer`` and, by schema resolution, seen as ``reader`` (both prepared).

    fastavro stops at the end of the bytes whatever counts and lengths inside claim, so time and memory are bounded
    by the body's size as long as no item of an array is empty (``safety.hazard`` refuses other schemas). Raises
    Corrupt (also for bytes behind the value) or Unconvertible (the writer's data cannot be seen as the reader's).
    """
    stream = BytesIO(body)
    try:
        value = schemaless_reader(stream, writer, reader)
    except SchemaResolutionError as error:
        raise Unconvertible(f"written with another schema: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # foreign bytes make fastavro raise whatever its code trips over
        raise Corrupt(f"{type(error).__name__}: {error}") from error
    if (behind := len(body) - stream.tell()) != 0:
        raise Corrupt(f"{behind} bytes behind the record")
    return value
