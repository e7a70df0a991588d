"""Everything the cluster mode needs, set up as a user would: real parts of its own, tables, topic and schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.running import carried_out, environment
from tests.services.fixtures import real
from tests.services.kafka import UNFENCED, Kafka
from tests.services.postgres import Postgres
from tests.services.registry import Registry

STEPS = (("migrate", "up"), ("topics", "ensure"), ("schemas", "register"))


def set_up(settings: Mapping[str, str]) -> None:
    """Tables, topic and schemas, by the commands that people use."""
    with TemporaryDirectory() as folder:
        for step in STEPS:
            carried_out(*step, env=environment(Path(folder), **settings))


@contextmanager
def deployed() -> Iterator[Mapping[str, str]]:
    """The settings of a cluster of one's own, whose topic has the default name; skips or fails where it cannot run."""
    with real(lambda: Kafka(extra=UNFENCED)) as kafka, real(Registry) as registry, real(Postgres) as postgres:
        settings = {
            "ORDERING_MODE": "cluster",
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "SCHEMA_REGISTRY_URL": registry.url,
            "DATABASE_URL": postgres.url(),
        }
        set_up(settings)
        yield settings
