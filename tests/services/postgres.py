"""The real PostgreSQL: the machine's own, with a cluster of ours in a temporary folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.services.part import Part
from tests.services.processes import HOST, Missing, Process, StartFailed, free_ports, run

USER = "ordering"
HOW_TO_GET_IT = "real PostgreSQL: needs its server, 15 or newer (Debian: apt-get install postgresql)"
_OLDEST = 15
# Small, and durable as PostgreSQL is by itself: fsync, synchronous_commit and full_page_writes stay on.
_SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}


class Postgres(Part):
    """One PostgreSQL server; its crash is an immediate shutdown, after which the next start recovers from the WAL.

    *settings* are settings of postgresql.conf, such as ``{"fsync": "off"}``. The superuser is ``ordering``, with a
    generated password. Clients on a Unix socket find it in *folder*.
    """

    name = "postgres"
    orderly = signal.SIGINT  # clients are cut off, not waited for
    crash = signal.SIGQUIT

    def __init__(self, *, settings: Mapping[str, str] | None = None, within: Path | None = None) -> None:
        self._binaries = binaries()
        self.settings = {**_SETTINGS, **(settings or {})}
        super().__init__(within)
        self.port = free_ports(1)[0]
        self.password = secrets.token_urlsafe(12)
        self.runs_as = "postgres" if os.geteuid() == 0 else ""

    @property
    def programs(self) -> Path:
        """Where PostgreSQL's own programs are."""
        return self._binaries

    def url(self, database: str = "ordering") -> str:
        """Return the address of a database, as DATABASE_URL has it."""
        return f"postgresql://{USER}:{quote(self.password)}@{HOST}:{self.port}/{database}"

    def start(self) -> Self:
        """Start it, the first time with a new cluster and the database ``ordering``, and wait until it answers."""
        new = not (self.folder / "data").exists()
        super().start()
        if new:
            self.create_database("ordering")
        return self

    def _launch(self) -> Process:
        data = self.folder / "data"
        if not data.exists():
            self._initialise(data)
        settings = {**self.settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Process(
            [self._binaries / "postgres", "-D", data, *options],
            log=self.folder / "postgres.log",
            folder=self.folder,
            user=self.runs_as,
        )

    def _initialise(self, data: Path) -> None:
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self.password)
        if self.runs_as:
            shutil.chown(self.folder, self.runs_as)
            shutil.chown(password, self.runs_as)
        words = ["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={USER}"]
        words += [f"--pwfile={password}", "-D", str(data)]
        run([self._binaries / "initdb", *words], folder=self.folder, user=self.runs_as)
        password.unlink()

    def answers(self) -> bool:
        """Whether it accepts connections now."""
        program = str(self._binaries / "pg_isready")
        question = [program, "-q", "-t5", "-dpostgres", f"-h{HOST}", f"-p{self.port}"]
        return subprocess.run(question, check=False).returncode == 0

    def sql(self, statement: str, database: str = "ordering") -> str:
        """Run one statement by psql and return its rows, unaligned, ``|`` between columns."""
        words = [
            str(self._binaries / "psql"),
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            self.url(database),
            "-c",
            statement,
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StartFailed(f"psql ended with {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def create_database(self, name: str) -> str:
        """Make an empty database and return its address."""
        self.sql(f'CREATE DATABASE "{name}"', "postgres")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever still has it open."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', "postgres")

    def restart_immediately(self) -> None:
        """Crash and come back."""
        self.kill()
        self.start()


def binaries() -> Path:
    """Return the folder of the server's programs: PG_BIN, else Debian's newest, else pg_config's; Missing if none."""
    given = os.environ.get("PG_BIN")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True)
    candidates = [Path(given)] if given else list(debian)
    if not given and (pg_config := shutil.which("pg_config")):
        said = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False).stdout
        candidates.append(Path(said.strip()))
    for folder in candidates:
        if all((folder / name).exists() for name in ("postgres", "initdb", "pg_isready", "psql")):
            version = subprocess.run([folder / "postgres", "-V"], capture_output=True, text=True, check=True).stdout
            if _number(version) >= _OLDEST:
                return folder
    raise Missing(HOW_TO_GET_IT)


def _number(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else 0
