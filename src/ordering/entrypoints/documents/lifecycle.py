"""The life cycle of an order as a page for people, drawn from the domain's table."""

from collections.abc import Iterator

from ordering.domain.events import EVENT_OF_STATUS
from ordering.domain.status import TRANSITIONS, life_cycle_diagram


def page() -> str:
    """The page in Markdown, with a Mermaid diagram."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# The life cycle of an order"
    yield ""
    yield "<!-- made by `ordering lifecycle export --to docs` from the table in src/ordering/domain/status.py -->"
    yield ""
    yield "```mermaid"
    yield life_cycle_diagram().rstrip("\n")
    yield "```"
    yield ""
    yield "| status | an order gets there with the event | and can then become |"
    yield "|---|---|---|"
    for status, targets in TRANSITIONS.items():
        following = ", ".join(f"`{target}`" for target in targets) or "nothing else: it is final"
        yield f"| `{status}` | `{EVENT_OF_STATUS[status]}` | {following} |"
    yield ""
    yield "A step that is not in the table is refused with a 409 that names the allowed ones."
    yield "Asking for the present status again is a success without a new event."
    yield ""
