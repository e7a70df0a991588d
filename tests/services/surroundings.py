"""What the user's environment may not decide: a test means the same on every machine, whoever has set whatever."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

OURS = ("ORDERING_", "KAFKA_", "API_", "CART_", "ORDER_", "DATABASE_", "SCHEMA_", "BROKER_", "DEFAULT_CURRENCY")
"""How the names of our settings begin."""
OTHERS = ("PG", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "CLICOLOR", "TTY_", "JAVA_TOOL_OPTIONS", "all_", "ALL_")
"""Of variables that PostgreSQL's programs, whoever prints for people, Java, or (``all_proxy``) an HTTP client without
a package for it would follow."""
KEPT = frozenset({"PG_BIN"})
"""Which PostgreSQL the tests start is the user's to say."""
NEAR = "127.0.0.1,localhost"


def clear(environ: MutableMapping[str, str], *, ours: bool) -> None:
    """Forget what would change a test's meaning, and ask no proxy for what is on this machine.

    A proxy for everything else stays: packages and jars may have to come through it. ``ours``: our settings, too,
    which are kept only where they say what somebody else has started for the tests.
    """
    names = (*OURS, *OTHERS) if ours else OTHERS
    for name in [name for name in environ if name.startswith(names) and name not in KEPT]:
        del environ[name]
    for name in ("no_proxy", "NO_PROXY"):
        environ[name] = ",".join(filter(None, [NEAR, environ.get(name, "")]))


def composed() -> bool:
    """Whether this run uses what docker-compose.yml has started."""
    return os.environ.get("INTEGRATION") == "compose"
