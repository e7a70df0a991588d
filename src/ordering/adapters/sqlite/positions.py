"""How far a read model in a file has come, for a process that does not fill it."""

from collections.abc import Mapping
from pathlib import Path

from ordering.adapters.sqlite.database import Reader
from ordering.adapters.sqlite.views import SCHEMA_VERSION

_POSITIONS = "SELECT partition, next FROM live_positions WHERE topic = ?"


class SqlitePositions:
    """Positions of the read model at a path, read-only. A file that is not there yet has none.

    It is opened for every question and closed again: whoever owns it may put another one in its place (a restored
    backup) at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def positions(self, topic: str) -> Mapping[int, int]:
        """Partition -> next offset, of the live generation. Raises StoreUnavailable."""
        if not self._path.exists():
            return {}
        reader = Reader(self._path, SCHEMA_VERSION)
        try:
            return dict(reader.query(_POSITIONS, (topic,)))
        finally:
            reader.close()
