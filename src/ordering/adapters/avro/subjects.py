"""The released schemas and a registry's subjects, compared and brought together: ``ordering schemas diff|register``.

Everything handed out is plain data, and everything a person should act on is among ``faults``.
"""

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from importlib.resources.abc import Traversable
from importlib.util import find_spec

import attrs

from ordering.adapters.avro import released, rules
from ordering.adapters.avro.confluent import LEVEL, is_same
from ordering.adapters.avro.decoder import INHERITED_RECORD
from ordering.adapters.avro.registry_api import AVRO, Registered, RegistryApi, SchemaRefused
from ordering.adapters.avro.released import Released
from ordering.adapters.avro.safety import hazard


class State(StrEnum):
    """How a schema and a subject stand to each other."""

    REGISTERED = "registered"
    MISSING = "missing"
    DIFFERENT = "different"
    """The registry gives an id, and another schema stands under it."""
    FOREIGN = "foreign"
    """It stands under our subject and is not among the released ones."""


@attrs.frozen
class SchemaReport:
    """One schema under one subject. ``name`` is the released schema's, or a foreign record's full name; ``version``
    is the registry's number."""

    subject: str
    name: str
    state: State
    id: int | None
    version: int | None


@attrs.frozen
class SubjectReport:
    """One subject: its own compatibility level (None: the registry's default holds), its schemas, what is wrong.

    ``faults`` are differences; ``blocks`` those among them that registering would not mend.
    """

    subject: str
    compatibility: str | None
    schemas: tuple[SchemaReport, ...]
    faults: tuple[str, ...]
    blocks: tuple[str, ...]


@attrs.frozen
class Comparison:
    """All subjects, and the faults of the released schemas themselves."""

    subjects: tuple[SubjectReport, ...]
    offline: rules.Verdict

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that is not as it should be; empty if registry and repository agree."""
        return self.offline.faults + tuple(fault for report in self.subjects for fault in report.faults)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Why nothing may be registered."""
        return self.offline.faults + tuple(fault for report in self.subjects for fault in report.blocks)

    def lacks(self, subject: str) -> bool:
        """Whether a released schema of this subject is not registered."""
        states = [schema.state for report in self.subjects if report.subject == subject for schema in report.schemas]
        return State.MISSING in states


@attrs.frozen
class Registration:
    """What was done (or, of a dry run, would be), one line a step, and why it could not be done."""

    steps: tuple[str, ...]
    faults: tuple[str, ...]


class SchemaSubjects:
    """The subjects of one topic in one registry, against the released schemas. Raises RegistryUnavailable."""

    def __init__(self, api: RegistryApi, topic: str, root: Traversable | None = None) -> None:
        """``root`` is this installation's ``schemas/`` unless a test says otherwise. Closing closes ``api``."""
        self._api, self._topic, self._root = api, topic, root

    async def close(self) -> None:
        """Close the registry's client."""
        await self._api.close()

    async def compare(self) -> Comparison:
        """Look at everything, change nothing."""
        offline = rules.check(self._root)
        groups: dict[str, list[Released]] = {}
        for schema in self._load():
            groups.setdefault(schema.entry.subject_for(self._topic), []).append(schema)
        reports = [await self._compare(subject, group) for subject, group in groups.items()]
        return Comparison(tuple(reports), offline)

    async def register(self, *, dry_run: bool) -> Registration:
        """Set every subject to FULL_TRANSITIVE, then register what is missing, in order; repeating it changes nothing.

        Refuses as a whole, before it changes anything, for whatever ``compare`` finds that this would not mend. The
        registry has the last word: at its first refusal nothing more is registered.
        """
        found = await self.compare()
        if found.blocks:
            return Registration((), found.blocks)
        by_name = {schema.entry.name: schema for schema in self._load()}
        steps: list[str] = []
        for report in found.subjects:
            if report.compatibility != LEVEL:
                if not dry_run:
                    await self._api.set_compatibility(report.subject, LEVEL)
                steps.append(f"{report.subject}: compatibility {LEVEL}")
            for missing in report.schemas:
                if missing.state is not State.MISSING:
                    continue
                step = f"{report.subject}: schema {missing.name}"
                if not dry_run:
                    outcome = await self._add(report.subject, by_name[missing.name])
                    if isinstance(outcome, str):
                        return Registration(tuple(steps), (outcome,))
                    step += f" has id {outcome}"
                steps.append(step)
        return Registration(tuple(steps), ())

    def _load(self) -> Sequence[Released]:
        try:
            return released.load(self._root)
        except (OSError, ValueError):
            return ()  # the offline check tells why

    # ------------------------------------------------------------------ one subject

    async def _compare(self, subject: str, group: Iterable[Released]) -> SubjectReport:
        level = await self._api.compatibility(subject)
        standing = await self._api.versions(subject)
        numbers = {version.id: version.version for version in standing}
        schemas: list[SchemaReport] = []
        faults: list[str] = []
        blocks: list[str] = []
        if level != LEVEL:
            told = f"is {level}" if level else "is not set, so the registry's default holds"
            faults.append(f"{subject}: its compatibility {told}, it should be {LEVEL}")
        versions = sorted(group, key=lambda schema: schema.entry.version)
        for schema in versions:
            name = schema.entry.name
            found = await self._api.lookup(subject, schema.text)
            if found is None:
                state = State.MISSING
                faults.append(f"{subject}: schema {name} is not registered")
                blocks += await self._objections(subject, schema, standing)
            elif is_same(await self._api.schema(found), schema):
                state = State.REGISTERED
            else:
                state = State.DIFFERENT
                blocks.append(f"{subject}: the registry gives id {found} to schema {name}, another one stands there")
            schemas.append(SchemaReport(subject, name, state, found, numbers.get(found) if found is not None else None))
        ours = {report.id for report in schemas}
        names = {rules.full_name(schema.definition) for schema in versions}
        for version in standing:
            if version.id not in ours:
                record = _record(version)
                schemas.append(SchemaReport(subject, record, State.FOREIGN, version.id, version.version))
                if record in names:
                    faults.append(f"{subject}: version {version.version} of {record} is not in this release")
                else:
                    blocks.append(self._advice(subject, version, record))
        return SubjectReport(subject, level, tuple(schemas), (*faults, *blocks), tuple(blocks))

    def _advice(self, subject: str, version: Registered, record: str) -> str:
        fault = f"{subject}: version {version.version} (id {version.id}) is {record}, which is no version of our event"
        if record == INHERITED_RECORD:
            fault += (
                ", and our schema is incompatible with it: set it aside first. Register its schema under subject"
                f" {self._topic}-inherited-value (it keeps its id), then soft-delete the subject:"
                f" curl -X DELETE {self._api.address}/subjects/{subject} (add your credentials);"
                " records that carry its id stay readable"
            )
        return fault

    async def _objections(self, subject: str, schema: Released, standing: Sequence[Registered]) -> list[str]:
        """Why this schema cannot join the subject: by Apache's checker and our own rules beside each version there,
        and by the registry (whose own level may be laxer still)."""
        found: list[str] = []
        for version in standing:
            if _record(version) == rules.full_name(schema.definition):
                found += [
                    f"{subject}: schema {schema.entry.name} against version {version.version}: {fault}"
                    for fault in _faults_between(version, schema)
                ]
        told = await self._api.objections(subject, schema.text)
        return found + [f"{subject}: the registry will not take {schema.entry.name}: {reason}" for reason in told]

    async def _add(self, subject: str, schema: Released) -> int | str:
        """The new id, or why there is none."""
        name = schema.entry.name
        try:
            found = await self._api.register(subject, schema.text)
        except SchemaRefused as error:
            return f"{subject}: the registry does not take {name}: {error}"
        if not is_same(await self._api.schema(found), schema):
            return f"{subject}: the registry gave id {found} to schema {name}, another one stands there"
        return found


def _record(version: Registered) -> str:
    """The full name of what stands there; only ever printed or compared with a name of ours."""
    if version.schema.type != AVRO:
        return f"a schema of type {version.schema.type}"
    try:
        return rules.full_name(json.loads(version.schema.text))
    except (ValueError, RecursionError):
        return "no schema"


def _faults_between(version: Registered, schema: Released) -> list[str]:
    definition = json.loads(version.schema.text)
    if version.schema.refers:
        return ["that version refers to other schemas"]
    if (danger := hazard(definition)) is not None:
        return [danger]
    faults = rules.meaning_faults(definition, schema.definition)
    if find_spec("avro") is not None:
        for writer, reader in ((version.schema.text, schema.text), (schema.text, version.schema.text)):
            faults += rules.compatibility_faults(writer, reader)
    return list(dict.fromkeys(faults))
