"""``ordering config show``: the settings table, filled in."""

import os
from collections.abc import Iterator
from typing import Literal

from ordering.entrypoints.cli import output as out
from ordering.entrypoints.settings import CONFIG, OPTIONS, load


def show(output: Literal["table", "json", "markdown"]) -> int:
    """Print every setting with its value and source."""
    if output == "markdown":
        print(markdown())
        return 0
    loaded = load(os.environ)
    found = [
        {
            "name": option.name,
            "value": option.shown(getattr(loaded.settings, attribute)),
            "source": loaded.sources[attribute],
            "default": option.shown(option.default),
            "meaning": option.meaning,
        }
        for attribute, option in OPTIONS.items()
    ]
    out.rows(found, ("name", "value", "source"), output, empty="")
    return 0


def markdown() -> str:
    """The README's table: name, type, default, meaning."""
    return "\n".join(["| setting | type | default | meaning |", "|---|---|---|---|", *_markdown_rows()])


def _markdown_rows() -> Iterator[str]:
    for option in OPTIONS.values():
        default = option.shown(option.default)
        yield f"| `{option.name}` | {option.kind.label} | {f'`{default}`' if default else ''} | {option.meaning} |"
    yield f"| `{CONFIG}` | path |  | a TOML file with these names as keys; the environment wins over it |"
