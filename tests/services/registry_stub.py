"""A stand-in for a schema registry: Confluent's API over real HTTP, in memory, with faults to switch on.

It does what a real registry does as far as our client can see (ids belong to contents and outlive their subject,
deletion is soft, compatibility is judged by Apache's checker), and on demand what a real one cannot be told to do.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from ordering.adapters.avro import rules
from tests.services.processes import HOST, free_ports

BASE = "/apis/ccompat/v7"
PATIENCE = 60.0


class _Refusal(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


@attrs.define
class _Subject:
    versions: dict[int, int] = attrs.field(factory=dict)
    """Number to schema id."""
    deleted: set[int] = attrs.field(factory=set)
    level: str | None = None

    @property
    def live(self) -> dict[int, int]:
        return {number: found for number, found in self.versions.items() if number not in self.deleted}


@attrs.define
class Faults:
    """What goes wrong. Any of these may be changed at any time."""

    status: int | None = None
    """Answer everything with this status and a page of HTML, as proxies do."""
    page: bool = False
    """Answer everything with 200 and a page of HTML."""
    noise: bool = False
    """Answer with something that is not HTTP."""
    drip: bool = False
    """Answer a byte at a time, without an end."""
    under_id: dict[int, dict[str, Any]] = attrs.field(factory=dict)
    """What to show under an id in place of what stands there."""


class RegistryStub:
    """A running stand-in. ``requests`` lists what was asked, as ("GET", "/schemas/ids/1")."""

    def __init__(
        self, *, user: str | None = None, password: str = "", tls: ssl.SSLContext | None = None, first_id: int = 1
    ) -> None:
        self.port = free_ports(1)[0]
        self.faults = Faults()
        self.requests: list[tuple[str, str]] = []
        self.default_level = "NONE"
        self._credentials = None if user is None else f"{user}:{password}"
        self._tls = tls
        self._contents: dict[int, str] = {}
        self._subjects: dict[str, _Subject] = {}
        self._next_id = first_id
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._asked = threading.Semaphore(0)
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.up()

    @property
    def url(self) -> str:
        """The address of the API, without credentials."""
        return f"http{'s' if self._tls else ''}://{HOST}:{self.port}{BASE}"

    # ------------------------------------------------------------------ switches

    def up(self) -> None:
        """Listen, again on the same port."""
        stub = self

        class Handler(_Handler):
            registry = stub

        server = ThreadingHTTPServer((HOST, self.port), Handler)
        server.daemon_threads = True
        server.block_on_close = True
        if self._tls is not None:
            # The handshake belongs to the connection's thread: a client that refuses us must not stop the others.
            server.socket = self._tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def down(self) -> None:
        """Stop listening; nothing is forgotten."""
        self._open.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Take requests and answer none before the end."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def wait_for_request(self) -> None:
        """Wait (blocking) for a request that no earlier call waited for."""
        assert self._asked.acquire(timeout=PATIENCE), "nobody asked the stand-in"

    def count(self, method: str, path: str = "") -> int:
        """How many requests of this method with a path that begins so came in."""
        return sum(1 for made, asked in self.requests if made == method and asked.startswith(path))

    # ------------------------------------------------------------------ what tests put in by hand

    def put(self, subject: str, text: str) -> int:
        """Register a schema, whatever the subject's level says; its id."""
        with self._lock:
            return self._register(subject, text)

    def level(self, subject: str) -> str | None:
        """The subject's own compatibility level."""
        return self._subjects[subject].level if subject in self._subjects else None

    def texts(self, subject: str) -> list[str]:
        """What stands under a subject, by version."""
        return [self._contents[found] for found in self._subjects[subject].live.values()]

    # ------------------------------------------------------------------ the API

    def answer(self, method: str, target: str, body: dict[str, Any], authorization: str | None) -> tuple[int, Any]:
        """Status and data for one request."""
        path = unquote(urlsplit(target).path)
        if not path.startswith(BASE):
            return 404, {"title": "no such page", "status": 404}
        path = path.removeprefix(BASE)
        with self._lock:
            self.requests.append((method, path))
        self._asked.release()
        self._open.wait(PATIENCE)
        if self._credentials is not None:
            expected = "Basic " + base64.b64encode(self._credentials.encode()).decode()
            if authorization != expected:
                return 401, {"error_code": 401, "message": f"not {authorization}"}
        try:
            with self._lock:
                return 200, self._route(method, path, body)
        except _Refusal as refusal:
            return refusal.status, {"error_code": refusal.code, "message": refusal.message}

    def _route(self, method: str, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401, PLR0911, PLR0912 -- JSON; a line a route
        match method, *path.strip("/").split("/"):
            case "GET", "schemas", "ids", number:
                return self._by_id(int(number))
            case "GET", "subjects":
                return [name for name, subject in self._subjects.items() if subject.live]
            case "POST", "subjects", name:
                return self._lookup(name, body["schema"])
            case "DELETE", "subjects", name:
                subject = self._found(name)
                gone = list(subject.live)
                subject.deleted.update(gone)
                return gone
            case "GET", "subjects", name, "versions":
                return list(self._found(name).live)
            case "GET", "subjects", name, "versions", number:
                return self._version(name, number)
            case "POST", "subjects", name, "versions":
                if reasons := self._objections(name, body["schema"], "all"):
                    raise _Refusal(409, 409, "incompatible: " + "; ".join(reasons))
                return {"id": self._register(name, body["schema"])}
            case "POST", "compatibility", "subjects", name, "versions", *which:
                reasons = self._objections(name, body["schema"], *which or ["all"])
                return {"is_compatible": not reasons, "messages": reasons}
            case "GET", "config":
                return {"compatibilityLevel": self.default_level}
            case "GET", "config", name:
                if (level := self.level(name)) is None:
                    raise _Refusal(404, 40408, f"Subject '{name}' has no level of its own")
                return {"compatibilityLevel": level}
            case "PUT", "config", name:
                self._subjects.setdefault(name, _Subject()).level = body["compatibility"]
                return {"compatibility": body["compatibility"]}
        raise _Refusal(404, 404, "no such page")

    def _by_id(self, schema_id: int) -> dict[str, Any]:
        if schema_id in self.faults.under_id:
            return self.faults.under_id[schema_id]
        if schema_id not in self._contents:
            raise _Refusal(404, 40403, f"Schema {schema_id} not found")
        return {"schema": self._contents[schema_id]}

    def _found(self, name: str) -> _Subject:
        if name not in self._subjects or not self._subjects[name].live:
            raise _Refusal(404, 40401, f"Subject '{name}' not found")
        return self._subjects[name]

    def _lookup(self, name: str, text: str) -> dict[str, Any]:
        for number, found in self._found(name).live.items():
            if self._contents[found] == _canonical(text):
                return {"subject": name, "version": number, "id": found, "schema": text}
        raise _Refusal(404, 40403, "Schema not found")

    def _version(self, name: str, number: str) -> dict[str, Any]:
        live = self._found(name).live
        wanted = max(live) if number == "latest" else int(number)
        if wanted not in live:
            raise _Refusal(404, 40402, f"Version {number} not found")
        return {"subject": name, "version": wanted, "id": live[wanted], "schema": self._contents[live[wanted]]}

    def _register(self, name: str, text: str) -> int:
        content = _canonical(text)
        subject = self._subjects.setdefault(name, _Subject())
        found = next((known for known, kept in self._contents.items() if kept == content), None)
        if found is None:
            found, self._next_id = self._next_id, self._next_id + 1
            self._contents[found] = content
        if found not in subject.live.values():
            subject.versions[max(subject.versions, default=0) + 1] = found
        return found

    def _objections(self, name: str, text: str, which: str) -> list[str]:
        subject = self._subjects.get(name, _Subject())
        level = subject.level or self.default_level
        live = list(subject.live.values())
        if which == "latest" or not level.endswith("_TRANSITIVE"):
            live = live[-1:]
        reasons = []
        for found in live:
            if level.startswith(("FULL", "BACKWARD")):
                reasons += rules.compatibility_faults(self._contents[found], text)
            if level.startswith(("FULL", "FORWARD")):
                reasons += rules.compatibility_faults(text, self._contents[found])
        return reasons


def _canonical(text: str) -> str:
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError:
        raise _Refusal(422, 42201, "Invalid schema") from None


class _Handler(BaseHTTPRequestHandler):
    registry: RegistryStub
    timeout = PATIENCE

    def _serve(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        status, data = self.registry.answer(self.command, self.path, body, self.headers.get("Authorization"))
        faults = self.registry.faults
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if faults.noise:
                self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            elif faults.drip:
                self._drip()
            elif faults.page or faults.status is not None:
                self._reply(faults.status or 200, b"<html><body>Welcome</body></html>", "text/html")
            else:
                self._reply(status, json.dumps(data).encode(), "application/vnd.schemaregistry.v1+json")

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 -- names of the standard library

    def _reply(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        tick = threading.Event()
        while self.registry.faults.drip:
            self.wfile.write(b" ")
            self.wfile.flush()
            tick.wait(0.02)

    def log_message(self, *_: object) -> None:
        """Tests read ``requests``."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):
            super().handle()
