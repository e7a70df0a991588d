"""/docs (Swagger UI), /redoc and /openapi.json, working without internet.

The static files are those of the drf-spectacular-sidecar package (extra ``docs``), found without importing it, for
importing it needs Django. They are served by us, so the pages load same-origin files only, and a Content-Security-
Policy holds them to it. Without the package the pages fall back to a public CDN.
"""

import importlib.util
import json
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final

import attrs

from ordering.entrypoints.http.replies import Lines, Reply
from ordering.entrypoints.http.requests import Call
from ordering.entrypoints.http.routing import Route

_PACKAGE: Final = "drf_spectacular_sidecar"
_ASSETS: Final = "/docs/assets"
_CACHE: Final = b"public, max-age=3600"
_SCRIPT: Final = b"text/javascript; charset=utf-8"
_FILES: Final[Mapping[str, tuple[str, bytes]]] = {
    "swagger-ui-bundle.js": ("swagger-ui-dist", _SCRIPT),
    "swagger-ui-standalone-preset.js": ("swagger-ui-dist", _SCRIPT),
    "swagger-ui.css": ("swagger-ui-dist", b"text/css; charset=utf-8"),
    "favicon-32x32.png": ("swagger-ui-dist", b"image/png"),
    "redoc.standalone.js": ("redoc/bundles", _SCRIPT),
}
_CDN: Final = "https://cdn.jsdelivr.net"
_CDN_FILES: Final[Mapping[str, str]] = {
    "swagger-ui-bundle.js": f"{_CDN}/npm/swagger-ui-dist@5/swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js": f"{_CDN}/npm/swagger-ui-dist@5/swagger-ui-standalone-preset.js",
    "swagger-ui.css": f"{_CDN}/npm/swagger-ui-dist@5/swagger-ui.css",
    "favicon-32x32.png": f"{_CDN}/npm/swagger-ui-dist@5/favicon-32x32.png",
    "redoc.standalone.js": f"{_CDN}/npm/redoc@2/bundles/redoc.standalone.js",
}

_SWAGGER_START: Final = """\
window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset], layout: "BaseLayout",
});
"""
_REDOC_START: Final = """\
Redoc.init("/openapi.json", {disableSearch: false}, document.getElementById("docs"));
"""
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{icon}">
{styles}</head>
<body>
<div id="docs"></div>
{scripts}</body>
</html>
"""


@attrs.frozen
class _Page:
    files: tuple[str, ...]
    start: str
    start_name: str


_SWAGGER: Final = _Page(
    ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"), _SWAGGER_START, "start-swagger.js"
)
_REDOC: Final = _Page(("redoc.standalone.js",), _REDOC_START, "start-redoc.js")


def installed_files() -> Path | None:
    """Where the static files are on this machine, if they are."""
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        static = Path(place) / "static" / _PACKAGE
        if all((static / folder / name).is_file() for name, (folder, _) in _FILES.items()):
            return static
    return None


def docs_routes(document: Mapping[str, Any], title: str, static: Path | None) -> list[Route]:
    """The two pages, the document, and the files the pages load."""
    version = sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
    routes = [
        _fixed("openapi_json", "/openapi.json", json.dumps(document).encode(), b"application/json", version),
        _page("docs", "/docs", f"{title} - Swagger UI", _SWAGGER, static),
        _page("redoc", "/redoc", f"{title} - Redoc", _REDOC, static),
    ]
    for page in (_SWAGGER, _REDOC):
        routes.append(_fixed(page.start_name, f"{_ASSETS}/{page.start_name}", page.start.encode(), _SCRIPT))
    if static is not None:
        routes += [_file(name, static / folder / name, media_type) for name, (folder, media_type) in _FILES.items()]
    return routes


def _page(name: str, path: str, title: str, page: _Page, static: Path | None) -> Route:
    urls = {file: f"{_ASSETS}/{file}" if static is not None else _CDN_FILES[file] for file in _FILES}
    html = _PAGE.format(
        title=escape(title),
        icon=urls["favicon-32x32.png"],
        styles="".join(
            f'<link rel="stylesheet" href="{urls[file]}">\n' for file in page.files if file.endswith(".css")
        ),
        scripts="".join(
            f'<script src="{url}"></script>\n'
            for url in [*(urls[file] for file in page.files if file.endswith(".js")), f"{_ASSETS}/{page.start_name}"]
        ),
    ).encode()
    policy = _policy("'self'" if static is not None else f"'self' {_CDN}")
    return _fixed(name, path, html, b"text/html; charset=utf-8", extra=policy)


def _policy(origin: str) -> Lines:
    """Only files of ``origin``; styles inline, images and workers made by the page, as both tools need them."""
    rules = (
        "default-src 'none'",
        f"script-src {origin}",
        f"style-src {origin} 'unsafe-inline'",
        f"img-src {origin} data:",
        f"font-src {origin} data:",
        "connect-src 'self'",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return ((b"content-security-policy", "; ".join(rules).encode("ascii")), (b"referrer-policy", b"no-referrer"))


def _fixed(
    name: str,
    path: str,
    body: bytes,
    media_type: bytes,
    version: str | None = None,
    extra: Lines = (),
) -> Route:
    if version is not None:
        extra = (*extra, (b"etag", f'"{version}"'.encode("ascii")))

    async def answer(call: Call) -> Reply:
        return Reply(200, body, call.request_id, media_type=media_type, extra=extra)

    return Route("GET", path, answer, name)


def _file(name: str, file: Path, media_type: bytes) -> Route:
    kept: list[bytes] = []

    async def answer(call: Call) -> Reply:
        if not kept:  # read once, when somebody looks at the page; at most 3.2 MB for all of them
            kept.append(file.read_bytes())  # noqa: ASYNC240 - a local file, a few milliseconds, once
        return Reply(200, kept[0], call.request_id, media_type=media_type, cache=_CACHE)

    return Route("GET", f"{_ASSETS}/{name}", answer, name)
