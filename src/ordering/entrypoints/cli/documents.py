"""The commands that hand out documents, as cyclopts knows them."""
# ruff: noqa: PLC0415 -- `ordering --help` must not load what one of the commands needs

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

openapi = App(name="openapi", help="The HTTP interfaces as OpenAPI documents.")
asyncapi = App(name="asyncapi", help="The topic's events as an AsyncAPI document.")
lifecycle = App(name="lifecycle", help="The life cycle of an order.")

To = Annotated[Path | None, Parameter(help="Write the file into this folder; without it, print it.")]
Check = Annotated[
    bool, Parameter(negative="", help="Write nothing: tell whether the file in that folder is the present one.")
]


@openapi.command(name="export")
def openapi_export(
    part: Annotated[Literal["cart", "order"] | None, Parameter(help="Only this service's document.")] = None,
    *,
    to: To = None,
    check: Check = False,
) -> int:
    """Print a service's OpenAPI document, or write cart-openapi.json and order-openapi.json into a folder."""
    from ordering.entrypoints.cli.export import openapi as export

    return export(part, to, check=check)


@asyncapi.command(name="export")
def asyncapi_export(*, to: To = None, check: Check = False) -> int:
    """Print the AsyncAPI document, or write it into a folder as asyncapi.json."""
    from ordering.entrypoints.cli.export import asyncapi as export

    return export(to, check=check)


@lifecycle.command(name="export")
def lifecycle_export(*, to: To = None, check: Check = False) -> int:
    """Print the life cycle of an order as Markdown with a diagram, or write it into a folder as lifecycle.md."""
    from ordering.entrypoints.cli.export import lifecycle as export

    return export(to, check=check)
