"""Broken builds of the HTTP edge: bad input, too much of it, and what a status says."""

import json

from ordering.domain.errors import Code
from tests.mutants.patching import Sound, mutant

HTTP = "ordering.entrypoints.http"


@mutant(
    "admits-everybody",
    at=f"{HTTP}.admission:Admission._refused",
    by="tests/http/test_admission.py::test_nothing_is_taken_while_the_store_keeps_somebody_waiting",
)
def _(_sound: Sound) -> Sound:
    """Nobody is refused at the door, however long the others have been waiting."""
    return lambda _self, _scope: None


@mutant(
    "repeated-keys-are-taken",
    at=f"{HTTP}.strict_json:_decode",
    by="tests/http/test_strict_json.py::test_a_repeated_key_is_named",
)
def _(sound: Sound) -> Sound:
    """Of an object that names a key twice the last one counts, as the standard library has it."""
    ours = sound.__self__
    numbers = {name: getattr(ours, name) for name in ("parse_int", "parse_float", "parse_constant")}
    return json.JSONDecoder(**numbers).decode


@mutant(
    "one-fault-at-a-time",
    at="ordering.domain.errors:InvalidInput.__init__",
    by="tests/unit/domain/test_place_order_input.py::test_all_faults_are_told_at_once_in_documented_order",
)
def _(sound: Sound) -> Sound:
    """Only the first fault of an input is told."""
    return lambda self, faults: sound(self, faults[:1])


@mutant(
    "unknown-is-a-refusal",
    "H3",
    at=(f"{HTTP}.problems:STATUS_AND_TITLE", "tests.http.test_refusals:STATUS_AND_TITLE"),
    by="tests/http/test_refusals.py::test_only_what_stored_nothing_is_a_503",
)
def _(sound: Sound) -> Sound:
    """An outcome that nobody knows is answered with 503."""
    return {**sound, Code.OUTCOME_UNKNOWN: (503, "Nobody knows")}
