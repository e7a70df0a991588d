"""The cluster's own parts: the topic at its brokers, and the schema registry."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ordering.entrypoints import container
from ordering.entrypoints.doctor.findings import Finding, Level
from ordering.entrypoints.settings import Settings

if TYPE_CHECKING:
    from ordering.entrypoints.container import TopicState

_ENSURE: Final = "`ordering topics ensure --dry-run` tells what it would do"
_SCHEMAS: Final = "`ordering schemas diff` shows all of it, `ordering schemas register` adds what is missing"
FOR_EVER: Final = "-1"


async def kafka(settings: Settings) -> Sequence[Finding]:
    """Whether brokers answer and the topic is fit for a log that is never lost."""
    async with container.inspection(settings) as look:
        topic = await look.topic()
    brokers = Finding(Level.OK, "kafka", f"{settings.kafka_bootstrap_servers} answers")
    if topic is None:
        return [brokers, Finding(Level.FAIL, "topic", f"{settings.topic} does not exist", "`ordering topics ensure`")]
    found = list(topic_findings(topic, settings))
    if all(finding.level is Level.OK for finding in found):
        told = f"{settings.topic}: {topic.partitions} partitions, {topic.replication} copies, kept for ever"
        found.insert(0, Finding(Level.OK, "topic", told))
    return [brokers, *found]


def topic_findings(topic: "TopicState", settings: Settings) -> Iterator[Finding]:
    """What is wrong with the topic as it is; nothing, if all is well."""
    name, set_to = settings.topic, topic.settings
    if "compact" in set_to.get("cleanup.policy", ""):
        message = f"{name} is compacted: earlier events of an order are deleted"
        yield Finding(Level.FAIL, "topic", message, _ENSURE)
    for limit in ("retention.ms", "retention.bytes"):
        if set_to.get(limit, FOR_EVER) != FOR_EVER:
            message = f"{name} has {limit}={set_to[limit]}: old events are deleted, and no read model can be built anew"
            yield Finding(Level.WARN, "topic", message, _ENSURE)
    if topic.partitions != settings.partitions:
        message = f"{name} has {topic.partitions} partitions, ORDERING_PARTITIONS says {settings.partitions}"
        yield Finding(Level.WARN, "topic", message, "keys keep their partitions; set it to what there is")
    yield from _copies(name, topic.replication, int(set_to.get("min.insync.replicas", "1")))


def _copies(name: str, copies: int, needed: int) -> Iterator[Finding]:
    if needed > copies:
        message = (
            f"{name} has {copies} copies and min.insync.replicas={needed}: more than there can be, nothing may be taken"
        )
        yield Finding(Level.FAIL, "topic", message, "lower min.insync.replicas, or add replicas")
    elif copies == 1:
        message = f"{name} is kept once: the loss of one broker's disk loses it"
        yield Finding(Level.WARN, "topic", message, "KAFKA_REPLICATION=3, with three brokers")
    elif needed == copies:
        message = f"{name} needs all of its {copies} copies: one broker that is away stops every write"
        yield Finding(Level.WARN, "topic", message, f"min.insync.replicas={copies - 1}")
    elif needed == 1:
        message = f"{name} takes a write that only one of its {copies} copies has"
        yield Finding(Level.WARN, "topic", message, _ENSURE)


async def registry(settings: Settings) -> Sequence[Finding]:
    """Whether the registry answers and has what we write with."""
    async with container.inspection(settings) as look:
        found = await look.schemas()
    bad = set(found.blocks)
    ours = f"{settings.topic}-value"
    if found.lacks(ours) and not settings.schema_registry_auto_register:
        bad |= {fault for report in found.subjects if report.subject == ours for fault in report.faults}
    findings = [
        Finding(Level.FAIL if fault in bad else Level.WARN, "registry", fault, _SCHEMAS) for fault in found.faults
    ]
    told = f"every released schema is registered for {settings.topic}, and nothing else"
    return findings or [Finding(Level.OK, "registry", told)]


async def contracts(_settings: Settings) -> Sequence[Finding]:
    """The released schemas of this installation."""
    verdict = container.check_schemas()
    hint = "the installation is damaged or was changed: install it anew"
    found = [Finding(Level.FAIL, "schemas", fault, hint) for fault in verdict.faults]
    return found or [
        Finding(
            Level.OK, "schemas", f"{len(verdict.checked)} released schemas are as they were released, and fit together"
        )
    ]
