"""Which checks there are for these settings, and what they found."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from ordering.entrypoints.doctor import cluster, machine, stores
from ordering.entrypoints.doctor.configured import settings_of
from ordering.entrypoints.doctor.findings import Check, Finding, examine
from ordering.entrypoints.settings import Mode, Settings
from ordering.entrypoints.settings_values import mask

SECONDS: Final = 15.0
"""How long one check may take; all run at the same time."""


def findings(environ: Mapping[str, str], seconds: float = SECONDS) -> list[Finding]:
    """Look at everything that the settings name."""
    settings, found = settings_of(environ)
    return [*found, *(examine(checks_for(settings), seconds) if settings is not None else ())]


def checks_for(settings: Settings) -> Sequence[Check]:
    """The checks that these settings make sense for, in the report's order."""
    checks = [
        Check("schemas", partial(cluster.contracts, settings)),
        Check("cart service", partial(machine.port, settings, "cart"), "API_HOST and CART_API_PORT name it"),
        Check("order service", partial(machine.port, settings, "order"), "API_HOST and ORDER_API_PORT name it"),
    ]
    if settings.uses_files:
        checks += [
            Check("sqlite", partial(machine.sqlite, settings), "install the package's own build of apsw"),
            Check("data folder", partial(machine.data_folders, settings), "ORDERING_DATA_DIR names it"),
            Check("disk", partial(machine.disk, settings), "ORDERING_DATA_DIR names the place"),
        ]
    if settings.effective_mode is Mode.CLUSTER:
        checks += [
            Check(
                "kafka",
                partial(cluster.kafka, settings),
                f"KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers} and KAFKA_... say how to reach it",
            ),
            Check(
                "registry",
                partial(cluster.registry, settings),
                f"SCHEMA_REGISTRY_URL={mask(settings.schema_registry_url)} and SCHEMA_REGISTRY_... say how to reach it",
            ),
        ]
    else:
        checks.append(Check("event log", partial(stores.event_log, settings), _FILES))
    return [
        *checks,
        Check("order store", partial(stores.order_store, settings), _store_hint(settings.cart_database)),
        Check("history", partial(stores.history, settings), "it needs the order store and the log: see their lines"),
        Check("read model", partial(stores.read_model, settings), _store_hint(settings.order_database)),
        Check("lag", partial(stores.lag, settings), "it needs the read model and the log: see their lines"),
    ]


_FILES: Final = "docs/operations.md tells how to restore a file"


def _store_hint(url: str | None) -> str:
    return _FILES if url is None else f"DATABASE_URL, or CART_ and ORDER_DATABASE_URL, named {mask(url)}"
