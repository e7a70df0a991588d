"""Who may ask a registry, and who may answer: credentials and TLS, and no secret in any text."""

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ordering.adapters.avro.registry_api import RegistryApi
from ordering.application.errors import RegistryUnavailable
from ordering.application.failures import Refused
from tests.integration.schema_registry.asking import NAME, PATIENCE, SUBJECT, Connect, refusal
from tests.services.certificates import Authority
from tests.services.processes import HOST
from tests.services.registry_stub import RegistryStub
from tests.unit.adapters.avro.samples import OURS

pytestmark = pytest.mark.process


# ------------------------------------------------------------------------------------------------ who may ask


USER, PASSWORD = "us er", "p:s/s@w0rd?"


@pytest.fixture
def guarded() -> Iterator[RegistryStub]:
    """A stand-in that wants to know who asks."""
    running = RegistryStub(user=USER, password=PASSWORD)
    try:
        yield running
    finally:
        running.down()


def with_credentials(url: str, user: str, password: str) -> str:
    """An address with user and password in it."""
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@")


@pytest.mark.parametrize("way", ["in the address", "by setting", "by setting, over the address"])
async def test_credentials_reach_the_registry(guarded: RegistryStub, connect: Connect, way: str) -> None:
    """Basic authentication, whatever characters the password has."""
    given = guarded.put(SUBJECT, OURS.text)
    url, options = guarded.url, {"user": USER, "password": PASSWORD}
    if way == "in the address":
        url, options = with_credentials(url, USER, PASSWORD), {}
    elif way != "by setting":
        url = with_credentials(url, "somebody", "else")
    assert await connect(url, **options).id_of(NAME) == given


@pytest.mark.parametrize("state", ["wrong password", "error page", "down", "silent"])
async def test_no_error_tells_a_secret_or_an_address(guarded: RegistryStub, connect: Connect, state: str) -> None:
    """Not in its text and not in what caused it: reasons reach clients, causes reach logs."""
    url = with_credentials(guarded.url, "account-7", "hunter2-secret")
    if state == "down":
        guarded.down()
    guarded.faults.status = 500 if state == "error page" else None
    client = connect(url, timeout_seconds=1.0 if state == "silent" else PATIENCE)
    for ask in (lambda: client.schema_of(1), lambda: client.id_of(NAME)):
        with guarded.holding() if state == "silent" else nullcontext(), pytest.raises(RegistryUnavailable) as caught:
            await ask()
        assert HOST not in caught.value.reason
        told = "".join(traceback.format_exception(caught.value))
        for secret in ("account-7", "hunter2", "aHVudGVyMi"):
            assert secret not in told


async def test_no_log_and_no_advice_shows_credentials(
    guarded: RegistryStub, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The HTTP library logs every address it asks."""
    guarded.put(SUBJECT, OURS.text)
    url = with_credentials(guarded.url, USER, PASSWORD)
    caplog.set_level(logging.DEBUG)
    await connect(url).id_of(NAME)
    assert guarded.url in caplog.text
    for secret in (USER, PASSWORD, quote(USER, safe=""), quote(PASSWORD, safe="")):
        assert secret not in caplog.text
    assert RegistryApi(url).address == guarded.url


@pytest.mark.parametrize(
    "url", ["", "registry:8081", "ftp://registry", "http://", "http://host:port", "http://h/?a=b", "http://h h/"]
)
async def test_an_address_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    """With one line that shows none of it: it may hold a password."""
    with pytest.raises(
        Refused, match=r"^the schema registry's address must be http://host:port/path or https://"
    ) as no:
        RegistryApi(url)
    assert no.value.__cause__ is None


@pytest.mark.parametrize("proxy", ["socks5://me:hunter2-secret@127.0.0.1:9", "nonsense://me:hunter2-secret@x"])
async def test_a_proxy_that_cannot_be_used_is_told(
    guarded: RegistryStub, connect: Connect, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Whoever has one in his environment for all programs; without its address, which may hold a password."""
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(RegistryUnavailable, match="through the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY") as no:
        await connect(guarded.url).id_of(NAME)
    assert "hunter2" not in "".join(traceback.format_exception(no.value))


# ------------------------------------------------------------------------------------------------ TLS


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("right", None),
        ("another authority", "shows a certificate that is not trusted"),
        ("no authority given", "shows a certificate that is not trusted"),
        ("another host", "shows a certificate that is not trusted: IP address mismatch"),
        ("no such file", "cannot be asked: the files for TLS"),
        ("plain HTTP", "does not answer in HTTP|broke the connection"),
        ("client certificate", None),
        ("client certificate missing", "cannot be spoken to over TLS|broke the connection"),
    ],
)
async def test_tls(tmp_path: Path, connect: Connect, case: str, told: str | None) -> None:
    """The registry proves who it is, and we do where it asks for that; every refusal is one clear line."""
    authority = Authority(tmp_path)
    clients = case.startswith("client")
    host = "192.0.2.1" if case == "another host" else HOST
    server = RegistryStub(tls=authority.server(host, asks_clients=clients))
    try:
        given = server.put(SUBJECT, OURS.text)
        options: dict[str, Any] = {"ca": str(authority.ca)}
        if case == "another authority":
            options["ca"] = str(Authority(tmp_path, "stranger").ca)
        elif case == "no authority given":
            options["ca"] = None
        elif case == "no such file":
            options["ca"] = str(tmp_path / "missing.pem")
        elif case == "client certificate":
            certificate, key = authority.issue("cart-service")
            options |= {"certificate": str(certificate), "key": str(key)}
        url = server.url.replace("https", "http") if case == "plain HTTP" else server.url
        client = connect(url, **options)
        if told is None:
            assert await client.id_of(NAME) == given
        else:
            assert re.search(told, await refusal(client.id_of(NAME)))
    finally:
        server.down()
