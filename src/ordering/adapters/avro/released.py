"""The released schemas as files: ``schemas/index.json`` and what it lists."""

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import attrs
import cattrs

from ordering.adapters.avro.binary import Schema

INDEX: Final = "index.json"
TOPIC: Final = "order-events"
"""The topic that the index's subjects are named after."""


@attrs.frozen
class Entry:
    """One row of the index. ``id``, ``subject``, ``version`` and ``name`` are permanent once released.

    ``inherited`` marks a record format that we read but never write and whose schema is not ours to improve.
    ``sha256`` is the hex digest of the file's bytes: a released file never changes.
    """

    id: int
    subject: str
    version: int
    name: str
    file: str
    sha256: str
    inherited: bool

    def subject_for(self, topic: str) -> str:
        """The subject in a registry when the events' topic has this name: ``<topic>-value`` (TopicNameStrategy) for
        ours, ``<topic>-inherited-value`` for the inherited record, whatever the topic is called."""
        return topic + self.subject.removeprefix(TOPIC)


@attrs.frozen
class Released:
    """A released schema: its row of the index, the file's text, and the text as parsed JSON."""

    entry: Entry
    text: str
    definition: Schema


def folder() -> Traversable:
    """Where the schemas lie in an installation (the repository's ``schemas/``)."""
    return files("ordering") / "schemas"


def entries(root: Traversable) -> tuple[Entry, ...]:
    """The rows of the index. Raises ValueError naming what is wrong with it."""
    try:
        rows = json.loads((root / INDEX).read_text("utf-8"))["schemas"]
        return tuple(cattrs.Converter(forbid_extra_keys=True).structure(rows, list[Entry]))
    except (OSError, ValueError, TypeError, KeyError, cattrs.BaseValidationError) as error:
        raise ValueError(f"{INDEX}: {error}") from error


def load(root: Traversable | None = None) -> tuple[Released, ...]:
    """Every released schema, in the index's order."""
    root = root or folder()
    texts = ((entry, root.joinpath(*entry.file.split("/")).read_text("utf-8")) for entry in entries(root))
    return tuple(Released(entry, text, json.loads(text)) for entry, text in texts)
