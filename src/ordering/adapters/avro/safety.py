"""Whether bytes may be read with a schema at all: some schemas let a short body cost without bound."""

from typing import Final

from ordering.adapters.avro import binary
from ordering.adapters.avro.binary import Schema

MAX_INNER_SCHEMAS: Final = 10_000


class _Hazard(Exception):
    pass


def hazard(definition: Schema) -> str | None:
    """Why bytes written with this schema must not be read, or None.

    An array of items that can be empty turns a large count into endless work (compare AVRO-4282); a record inside
    itself makes fastavro overflow the C stack, which ends the process; a record of records of records may stand for
    more values than its body has bytes.
    """
    try:
        named: dict[str, Schema] = {}
        prepared = binary.prepared(binary.physical(definition), named)
        _Survey(named).visit(prepared, ())
    except (ValueError, _Hazard) as error:
        return str(error)
    except RecursionError:
        return "the schema is nested too deeply"
    return None


class _Survey:
    """Walks a schema as a reader would, names replaced by what they stand for."""

    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named
        self._left = MAX_INNER_SCHEMAS

    def visit(self, schema: Schema, inside: tuple[str, ...]) -> bool:
        """Whether a value can take no byte at all. Raises _Hazard."""
        self._left -= 1
        if self._left < 0:
            raise _Hazard(f"the schema stands for more than {MAX_INNER_SCHEMAS} inner schemas")
        if isinstance(schema, list):
            for branch in schema:
                self.visit(branch, inside)
            return False
        if isinstance(schema, str):
            if schema in inside:
                raise _Hazard(f"the record {schema} contains itself")
            return self.visit(self._named[schema], inside) if schema in self._named else schema == "null"
        return self._visit_complex(schema, inside)

    def _visit_complex(self, schema: dict[str, Schema], inside: tuple[str, ...]) -> bool:
        match schema["type"]:
            case "record" | "error":
                within = (*inside, schema["name"])
                empty = [self.visit(field["type"], within) for field in schema["fields"]]
                return all(empty)
            case "array":
                if self.visit(schema["items"], inside):
                    raise _Hazard("the schema has an array of items that can be empty")
                return False
            case "map":
                self.visit(schema["values"], inside)
                return False
            case "fixed":
                return bool(schema["size"] == 0)
            case "enum":
                return False
            case other:
                return self.visit(other, inside)
