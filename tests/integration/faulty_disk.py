"""A disk under SQLite that can be full, fail to sync, and lose power; and that remembers what reached the platter."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw


class Platter:
    """One file: what is durable, and what was written since the last good sync.

    A failed sync drops the pending writes from here while the file still shows them, as Linux does: the pages are
    marked clean, and a second sync would succeed without writing them.
    """

    def __init__(self, content: bytes) -> None:
        self._durable = bytearray(content)
        self.pending: list[tuple[int, bytes | None]] = []
        """(offset, data), or (size, None) for a truncation."""

    def synced(self) -> None:
        for change in self.pending:
            self._apply(self._durable, *change)
        self.pending.clear()

    def sync_failed(self) -> None:
        self.pending.clear()

    def after_power_cut(self, chance: random.Random) -> bytes:
        """The durable part and any of the pending writes, the last of them possibly torn."""
        content = bytearray(self._durable)
        for offset, data in self.pending:
            if chance.random() < 0.5:
                torn = data if data is None or chance.random() < 0.7 else data[: len(data) // 2]
                self._apply(content, offset, torn)
        return bytes(content)

    @staticmethod
    def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
        if data is None:
            del content[offset:]
            return
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


class FaultyDisk(apsw.VFS):
    """``trace`` lists (what, file name) for writes, syncs and opens, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.full = False
        self.failing_syncs = 0
        """How many of the coming syncs fail."""
        self.trace: list[tuple[str, str]] = []
        self.platters: dict[str, Platter] = {}
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        return _File(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.platters.pop(Path(filename).name, None)
        super().xDelete(filename, syncdir)

    def is_synced(self, name: str) -> bool:
        """Whether all that was written to the file is on the platter."""
        return name not in self.platters or not self.platters[name].pending

    def cut_power(self, folder: Path, chance: random.Random) -> None:
        """Leave in ``folder`` what a machine finds that lost power just now."""
        folder.mkdir()
        for name, platter in self.platters.items():
            (folder / name).write_bytes(platter.after_power_cut(chance))


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, path: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk, self._name = disk, Path(path).name
        super().__init__("", name, flags)
        disk.trace.append(("open", self._name))
        if self._name not in disk.platters:
            disk.platters[self._name] = Platter(Path(path).read_bytes())
        self._platter = disk.platters[self._name]

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        written = bytes(data)
        if self._disk.full and offset + len(written) > self.xFileSize():
            raise apsw.FullError("no space left on the disk")
        super().xWrite(data, offset)
        self._platter.pending.append((offset, written))
        self._disk.trace.append(("write", self._name))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._platter.pending.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.failing_syncs > 0:
            self._disk.failing_syncs -= 1
            self._platter.sync_failed()
            self._disk.trace.append(("sync failed", self._name))
            raise apsw.IOError("the disk could not write")
        super().xSync(flags)
        self._platter.synced()
        self._disk.trace.append(("sync", self._name))


@contextmanager
def faulty_disk(name: str) -> Iterator[FaultyDisk]:
    disk = FaultyDisk(name)
    try:
        yield disk
    finally:
        disk.unregister()
