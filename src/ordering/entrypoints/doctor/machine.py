"""This machine: the data folders and their files, free disk, SQLite, the two ports."""

import http.client
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from ordering.entrypoints import container
from ordering.entrypoints.doctor.findings import Finding, Level
from ordering.entrypoints.settings import Mode, Settings

MIB: Final = 1 << 20
FREE_LEAST: Final = 64 * MIB
"""Less is as good as a full disk: one checkpoint of a grown WAL takes it."""
WAL_LARGE: Final = 1024 * MIB
ANSWER_SECONDS: Final = 3.0


def folders_of(settings: Settings) -> Sequence[Path]:
    """The folders in which anything of this deployment lies, each once."""
    found: dict[Path, None] = {}
    if settings.effective_mode is Mode.EMBEDDED:
        found[settings.log_dir] = None
    for folder, url in ((settings.cart_dir, settings.cart_database), (settings.order_dir, settings.order_database)):
        if url is None:
            found[folder] = None
    return list(found)


async def data_folders(settings: Settings) -> Sequence[Finding]:
    """Whether a service can use its folders and files, and nobody else can."""
    return [finding for folder in folders_of(settings) for finding in _folder(folder)]


def _folder(folder: Path) -> Iterator[Finding]:
    check, owner = "data folder", f"user {os.geteuid()} must be able to read and write it"
    if not folder.exists():
        place = next(parent for parent in folder.absolute().parents if parent.exists())
        if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
            yield Finding(Level.OK, check, f"{folder} is not there yet: the first start makes it")
        else:
            yield Finding(Level.FAIL, check, f"{folder} is not there and cannot be made in {place}", owner)
        return
    if not folder.is_dir():
        yield Finding(Level.FAIL, check, f"{folder} is no folder", "ORDERING_DATA_DIR or DATABASE_URL names another")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(Level.FAIL, check, f"{folder} cannot be written", owner)
        return
    problems = [*_open_to_others(folder, 0o700), *_files(folder)]
    yield from problems or [Finding(Level.OK, check, f"{folder}: {_size(folder)} in files that only their owner reads")]


def _files(folder: Path) -> Iterator[Finding]:
    for file in _databases(folder):
        try:
            large = file.name.endswith("-wal") and file.stat().st_size > WAL_LARGE
        except FileNotFoundError:  # the last one to close a database takes its -wal away
            continue
        if not os.access(file, os.R_OK | os.W_OK):
            hint = f"user {os.geteuid()} must be able to read and write it"
            yield Finding(Level.FAIL, "data folder", f"{file} cannot be written", hint)
        yield from _open_to_others(file, 0o600)
        if large:
            hint = "a long read (a backup, a tool that hangs) keeps it from being cut back"
            yield Finding(Level.WARN, "data folder", f"{file} has grown to {_shown(file.stat().st_size)}", hint)


def _databases(folder: Path) -> Sequence[Path]:
    return sorted(file for file in folder.iterdir() if file.name.partition(".db")[1] and file.is_file())


def _open_to_others(path: Path, wanted: int) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        hint = f"chmod {wanted:o} {path}"
        yield Finding(Level.WARN, "data folder", f"{path} is open to other users (mode {mode:04o})", hint)


def _size(folder: Path) -> str:
    return _shown(sum(file.stat().st_size for file in _databases(folder)))


def _shown(size: int) -> str:
    return f"{size / (1 << 30):,.1f} GiB" if size >= 1 << 30 else f"{size / MIB:,.1f} MiB"


async def disk(settings: Settings) -> Sequence[Finding]:
    """Free space where the folders are."""
    places: dict[int, Path] = {}
    for folder in folders_of(settings):
        place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        places.setdefault(place.stat().st_dev, place)
    return [_free(settings, place, shutil.disk_usage(place).free) for place in places.values()]


def _free(settings: Settings, place: Path, free: int) -> Finding:
    told = f"{_shown(free)} free at {place}"
    if free < FREE_LEAST:
        return Finding(Level.FAIL, "disk", told, "new changes are refused when it is full; nothing stored is lost")
    if free < settings.backlog_free_mib * MIB:
        return Finding(Level.WARN, "disk", told, "ORDERING_BACKLOG_FREE_MIB is the least that should be free")
    return Finding(Level.OK, "disk", told)


async def sqlite(_settings: Settings) -> Sequence[Finding]:
    """Whether this SQLite keeps what it is given."""
    return [Finding(Level.OK, "sqlite", f"{container.sqlite_build()}, without the WAL-reset bug")]


async def port(settings: Settings, part: str) -> Sequence[Finding]:
    """Whether our service answers on its port, or nobody does."""
    check, number = f"{part} service", settings.cart_port if part == "cart" else settings.order_port
    if number == 0:
        return [Finding(Level.OK, check, f"{part.upper()}_API_PORT=0: the system chooses a port at the start")]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 -- asked, not bound
    address = f"{host} port {number}"
    try:
        return list(_served(check, address, part, partial(_asked, host, number)))
    except ConnectionRefusedError:
        return [Finding(Level.OK, check, f"does not run: {address} is free")]
    except TimeoutError:
        message, hint = f"{address} takes connections and does not answer", _ANOTHER
    except socket.gaierror as error:
        message, hint = f"{host} is no address: {error.strerror}", "API_HOST names it"
    except (ConnectionError, http.client.HTTPException, ValueError):
        message, hint = f"{address} is taken by something else", _ANOTHER
    return [Finding(Level.FAIL, check, message, hint)]


def _served(check: str, address: str, part: str, ask: Callable[[str], Mapping[str, object]]) -> Iterator[Finding]:
    """What somebody answers there. Raises OSError, HTTPException, ValueError."""
    if ask("/").get("service") != f"{part.title()}Service":
        raise ValueError("another program")
    causes = ask("/health/ready").get("causes")
    if not isinstance(causes, list):
        raise ValueError("no readiness")
    for cause in causes:
        hint = "it answers, and refuses what it cannot do, until then"
        yield Finding(Level.WARN, check, f"runs on {address} and is not ready: {cause}", hint)
    if not causes:
        yield Finding(Level.OK, check, f"runs on {address} and is ready")


_ANOTHER: Final = "CART_API_PORT and ORDER_API_PORT choose other ports"


def _asked(host: str, number: int, path: str) -> dict[str, object]:
    """The JSON object at a path. Raises OSError, HTTPException, ValueError."""
    connection = http.client.HTTPConnection(host, number, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        document = json.loads(connection.getresponse().read(1 << 20))
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise ValueError("no object")
    return document
