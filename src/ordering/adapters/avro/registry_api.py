"""The Confluent Schema Registry's HTTP API, as far as we use it: one bounded request a call, one border for errors.

The client of confluent-kafka would do the same requests. Ours are our own because it keeps a wrong answer for ever,
gives back the text that was asked instead of the one that was answered, drops the reasons of a refusal, and builds a
TLS context on the event loop.
"""

import asyncio
import contextlib
import importlib
import json
import ssl
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import attrs
import httpx

from ordering.application.failures import Refused, RegistryUnavailable

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""More than any schema can have in a registry that keeps schemas in Kafka."""
MAX_ID: Final = 2**31 - 1
AVRO: Final = "AVRO"
_REASON_LENGTH: Final = 600


class RegistryUnreachable(RegistryUnavailable):
    """There was no answer at all, so that asking something else now is no use either."""


class SchemaRefused(Exception):
    """The registry does not take a schema under a subject; the text is the registry's own reason."""


@attrs.frozen
class Stored:
    """What stands under an id. ``type`` is AVRO, JSON or PROTOBUF; ``text`` may refer to other schemas."""

    text: str
    type: str = AVRO
    refers: bool = False


@attrs.frozen
class Registered:
    """A version of a subject."""

    id: int
    version: int
    schema: Stored


@attrs.frozen
class _Answer:
    """A status and the parsed body. ``code`` is the API's own error code, which no proxy or other service gives."""

    status: int
    data: Any

    @property
    def code(self) -> int | None:
        found = self.data.get("error_code") if isinstance(self.data, dict) else None
        return found if isinstance(found, int) else None

    @property
    def message(self) -> str:
        found = self.data.get("message") if isinstance(self.data, dict) else None
        return _one_line(found) if isinstance(found, str) else "it gives no reason"

    @property
    def absent(self) -> bool:
        """Whether the registry itself says that there is no such thing (40401 to 40403, 40408)."""
        return self.status == 404 and self.code is not None and self.code // 100 == 404


# What we tell about each error. The library's own text stays in ``__cause__``, for logs only.
_UNREACHABLE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, "does not answer in time"),
    (httpx.TimeoutException, "does not answer in time"),
    (ssl.SSLCertVerificationError, "shows a certificate that is not trusted"),
    (ssl.SSLError, "cannot be spoken to over TLS (does it want a client certificate, or plain HTTP?)"),
    (httpx.ConnectError, "cannot be reached"),
    (httpx.ProxyError, "cannot be reached through the proxy"),
    (httpx.ProtocolError, "does not answer in HTTP"),
    (httpx.HTTPError, "broke the connection"),
    (httpx.InvalidURL, "has an address that cannot be used"),
    (UnicodeError, "has a host name that cannot be used"),
    (OSError, "cannot be reached"),
)
_TLS_FILES: Final = "cannot be asked: the files for TLS (CA, certificate, key) cannot be read"
_PROXY: Final = (
    "cannot be asked through the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names: only http:// and https:// work"
)
_STATUSES: Final = {
    401: "does not accept our user or password",
    403: "does not allow this to our user",
    404: "answers 404 to its own API: is the path in its address right?",
    407: "is behind a proxy that does not let us through",
    429: "asks us to slow down",
}


class RegistryApi:
    """One registry. Nothing is opened before the first call; ``close`` when done.

    A call takes at most ``timeout_seconds``, connecting included, and is never repeated here. Each raises
    RegistryUnavailable with a reason that holds neither address nor credentials; it may be shown to anybody.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        ca: str | None = None,
        certificate: str | None = None,
        key: str | None = None,
        timeout_seconds: float = 2.0,
    ) -> None:
        """``url`` may have a base path and, unless ``user`` is given, user and password. ``ca``, ``certificate`` and
        ``key`` are paths of PEM files; without ``ca`` the usual authorities are trusted. Raises
        Refused."""
        self.address, auth = _split(url)
        """Where the registry is, without credentials."""
        self._auth = auth if user is None else (user, password or "")
        self._ca, self._certificate, self._key = ca, certificate, key
        self.timeout_seconds: Final = timeout_seconds
        self._opening = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None
        self._closed = False

    async def close(self) -> None:
        """Close what was opened; calls made afterwards raise RegistryUnavailable."""
        self._closed = True
        async with self._opening:
            if self._client is not None:
                await self._client.aclose()

    # ------------------------------------------------------------------ the endpoints

    async def schema(self, schema_id: int) -> Stored | None:
        """What stands under an id (soft-deleted or not), None if nothing does."""
        answer = await self._ask("GET", f"/schemas/ids/{schema_id}")
        return None if answer.absent else _stored(_good(answer))

    async def lookup(self, subject: str, text: str) -> int | None:
        """The id of this very schema under a subject, None if it is not registered there. Some registries overlook
        docs, and answer with the text they were asked for: only ``schema`` tells what really stands there."""
        answer = await self._ask("POST", f"/subjects/{quote(subject, safe='')}", _body(text))
        return None if answer.absent else _id(_good(answer))

    async def register(self, subject: str, text: str) -> int:
        """Register a schema under a subject, or find it there; its id. Raises SchemaRefused."""
        answer = await self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", _body(text))
        if answer.status in (409, 422):
            raise SchemaRefused(answer.message)
        return _id(_good(answer))

    async def versions(self, subject: str) -> list[Registered]:
        """Every version of a subject that is not deleted, ascending; empty if there is no such subject."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = await self._ask("GET", path)
        if answer.absent:
            return []
        numbers = _good(answer)
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise _strange()
        found = []
        for number in sorted(numbers):
            data = _good(await self._ask("GET", f"{path}/{number}"))
            found.append(Registered(_id(data), number, _stored(data)))
        return found

    async def compatibility(self, subject: str) -> str | None:
        """The subject's own compatibility level, None if it goes by the registry's default."""
        answer = await self._ask("GET", f"/config/{quote(subject, safe='')}")
        if answer.absent:
            return None
        data = _good(answer)
        level = data.get("compatibilityLevel") if isinstance(data, dict) else None
        if not isinstance(level, str):
            raise _strange()
        return level

    async def set_compatibility(self, subject: str, level: str) -> None:
        """Set the subject's compatibility level; the subject need not exist yet."""
        _good(await self._ask("PUT", f"/config/{quote(subject, safe='')}", {"compatibility": level}))

    async def objections(self, subject: str, text: str) -> tuple[str, ...]:
        """Why the registry would not take a schema under a subject by its present level; empty if it would."""
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
        answer = await self._ask("POST", path, _body(text))
        if answer.absent:
            return ()
        if answer.status in (409, 422):
            return (answer.message,)
        data = _good(answer)
        if not isinstance(data, dict) or not isinstance(data.get("is_compatible"), bool):
            raise _strange()
        if data["is_compatible"]:
            return ()
        told = data.get("messages")
        reasons = [_one_line(reason) for reason in told if isinstance(reason, str)] if isinstance(told, list) else []
        return tuple(reasons) or ("the registry says that it is incompatible, without a reason",)

    # ------------------------------------------------------------------ one request

    async def _ask(self, method: str, path: str, body: object = None) -> _Answer:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                client = await self._opened()
                request = client.build_request(method, self.address + path, json=body)
                return await _exchange(client, request)
        except tuple(kind for kind, _ in _UNREACHABLE) as error:
            raise RegistryUnreachable(f"the schema registry {_reason(error)}") from error

    async def _opened(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._closed:
                raise RegistryUnavailable("the schema registry's client is closed")
            if self._client is None:
                # Reading certificates and loading the transport takes tens of milliseconds: not on the event loop.
                try:
                    self._client = await asyncio.to_thread(self._open)
                except OSError as error:  # also ssl.SSLError
                    raise RegistryUnreachable(f"the schema registry {_TLS_FILES}") from error
                except (ImportError, ValueError):  # its text shows the proxy's address, which may hold a password
                    raise RegistryUnreachable(f"the schema registry {_PROXY}") from None
            return self._client

    def _open(self) -> httpx.AsyncClient:
        with contextlib.suppress(ImportError):
            # httpx would load it with the first request, on the event loop.
            importlib.import_module("anyio._backends._asyncio")
        verify: ssl.SSLContext | bool = False  # plain HTTP: no context is built
        if self.address.startswith("https:"):
            verify = ssl.create_default_context(cafile=self._ca) if self._ca else httpx.create_ssl_context()
            if self._certificate:
                verify.load_cert_chain(self._certificate, self._key)
        return httpx.AsyncClient(
            auth=self._auth,
            verify=verify,
            timeout=self.timeout_seconds,
            # Requests are rare: a connection kept between them would mostly be found closed by the other side.
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"Accept": f"{MEDIA_TYPE}, application/json", "Accept-Encoding": "identity"},
        )


async def _exchange(client: httpx.AsyncClient, request: httpx.Request) -> _Answer:
    response = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise RegistryUnavailable("the schema registry's answer is too long")
    finally:
        await response.aclose()
    try:
        return _Answer(response.status_code, json.loads(body))
    except (ValueError, RecursionError):
        return _Answer(response.status_code, None)


def _body(text: str) -> dict[str, str]:
    return {"schema": text}


# ------------------------------------------------------------------------------------------------ the border


def _split(url: str) -> tuple[str, tuple[str, str] | None]:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
        if not usable or parts.query or parts.fragment or " " in url:
            raise ValueError
    except ValueError:
        raise Refused("the schema registry's address must be http://host:port/path or https://host:port/path") from None
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    return address, auth


def _reason(error: BaseException) -> str:
    """The most telling row of the table for an error or what caused it (TLS errors come wrapped)."""
    chain = list(_causes(error))
    verdict = next((cause for cause in chain if isinstance(cause, ssl.SSLCertVerificationError)), None)
    for kind, reason in _UNREACHABLE:
        if any(isinstance(cause, kind) for cause in chain):
            return f"{reason}: {_one_line(verdict.verify_message)}" if verdict else reason
    return "cannot be asked"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _good(answer: _Answer) -> Any:  # noqa: ANN401 -- parsed JSON
    """The data of a success. Raises RegistryUnavailable for every other answer."""
    if 200 <= answer.status < 300 and answer.data is not None:
        return answer.data
    if 200 <= answer.status < 300:
        raise _strange()
    raise RegistryUnavailable(
        f"the schema registry {_STATUSES.get(answer.status, f'answers with status {answer.status}')}"
    )


def _strange() -> RegistryUnavailable:
    return RegistryUnavailable("what answers at the schema registry's address is not a schema registry")


def _id(data: Any) -> int:  # noqa: ANN401 -- parsed JSON
    found = data.get("id") if isinstance(data, dict) else None
    if type(found) is not int or not 0 <= found <= MAX_ID:
        raise _strange()
    return found


def _stored(data: Any) -> Stored:  # noqa: ANN401 -- parsed JSON
    text = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(text, str):
        raise _strange()
    return Stored(text, str(data.get("schemaType") or AVRO), bool(data.get("references")))


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:_REASON_LENGTH]
