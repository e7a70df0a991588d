"""``ordering openapi|asyncapi|lifecycle export``: documents for others, the same bytes at every run."""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ordering.entrypoints import container
from ordering.entrypoints.documents import asyncapi as asyncapi_document
from ordering.entrypoints.documents import lifecycle as lifecycle_page
from ordering.entrypoints.process import CalledWrongly, StartupError


def openapi(part: str | None, to: Path | None, *, check: bool) -> int:
    """Both services' documents, or one; 1 if ``check`` finds another file than the present one."""
    if part is None and to is None:
        raise CalledWrongly("one document at a time is printed: name `cart` or `order`, or a folder with --to")
    documents = {
        f"{name}-openapi.json": _json(document)
        for name, document in container.openapi_documents().items()
        if part in (None, name)
    }
    return _hand_out("openapi", documents, to, check=check)


def asyncapi(to: Path | None, *, check: bool) -> int:
    """The document of the topic."""
    document = asyncapi_document.document(container.published_schemas(), version("ordering"), container.EVENT_SOURCE)
    return _hand_out("asyncapi", {"asyncapi.json": _json(document)}, to, check=check)


def lifecycle(to: Path | None, *, check: bool) -> int:
    """The page with the diagram."""
    return _hand_out("lifecycle", {"lifecycle.md": lifecycle_page.page()}, to, check=check)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _hand_out(group: str, texts: Mapping[str, str], to: Path | None, *, check: bool) -> int:
    """Print, write or compare; raises StartupError for a folder that cannot be used."""
    if to is None:
        if check:
            raise CalledWrongly("--check needs the folder to look into: --to FOLDER")
        sys.stdout.write("".join(texts.values()))
        return 0
    try:
        if check:
            return _compare(group, texts, to)
        to.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (to / name).write_text(text, encoding="utf-8")
            print(f"written  {to / name}")
    except FileExistsError:
        raise StartupError(f"{to} is a file; --to takes a folder") from None
    except OSError as error:
        raise StartupError(f"{error.filename or to} cannot be used: {error.strerror}") from None
    return 0


def _compare(group: str, texts: Mapping[str, str], to: Path) -> int:
    stale = [name for name, text in texts.items() if not _is(to / name, text)]
    for name in stale:
        what = "is stale" if (to / name).exists() else "is not there"
        sys.stderr.write(f"ordering: {to / name} {what}: `ordering {group} export --to {to}` writes it anew\n")
    for name in texts:
        if name not in stale:
            print(f"present  {to / name}")
    return 1 if stale else 0


def _is(file: Path, text: str) -> bool:
    return file.is_file() and file.read_bytes() == text.encode()
