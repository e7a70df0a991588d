"""Broken builds of the rebuild: what is compared, and what may be exchanged."""

import attrs

from tests.mutants.patching import Sound, mutant

REBUILD = "ordering.application.rebuild:Rebuild"
UNIT = "tests/unit/application/test_rebuild.py"
RESUMED = "tests/unit/application/test_rebuild_resumed.py"
DECISIONS = "tests/unit/application/test_rebuild_decisions.py"
CONTRACT = "tests/contract/read_model/test_projection_store.py"
FLIPS = "tests/contract/read_model/test_generations.py"


@mutant(
    "forgetful-registry-hides-orders",
    "H23",
    at=f"{REBUILD}._require_nothing_hidden",
    by=f"{UNIT}::test_a_registry_that_has_forgotten_a_schema_takes_no_order_out_of_sight",
)
def _(_sound: Sound) -> Sound:
    """Exchanges the generations although registry or database refuse what the live one shows."""
    return _nothing


@mutant(
    "resumes-what-another-log-filled",
    "H22",
    at="ordering.application.rebuild:is_same_log",
    by=f"{RESUMED}::test_a_generation_begun_from_another_log_is_begun_again",
)
def _(_sound: Sound) -> Sound:
    """Goes on with a generation that was begun before the topic was made anew."""
    return lambda _begun, _found: True


@mutant(
    "late-records-are-hidden",
    "H23",
    at=f"{REBUILD}._require_readable",
    by=f"{UNIT}::test_what_comes_while_a_forgetful_registry_is_asked_is_not_taken_out_of_sight_either",
)
def _(_sound: Sound) -> Sound:
    """Exchanges them with last records of which nobody has asked whether the live one could read them."""
    return lambda _changes: None


@mutant(
    "figures-without-decisions",
    at="ordering.application.compare_generations:Comparison._compare_figures",
    by=f"{RESUMED}::test_what_people_decide_while_a_rebuild_is_at_work_is_no_difference",
)
def _(sound: Sound) -> Sound:
    """Calls the figures different that people have just changed."""

    async def compare(self: Sound) -> None:
        self._pair = attrs.evolve(self._pair, settle_all=_nothing)
        await sound(self)

    return compare


async def _nothing(*_: object) -> None:
    """Nothing is asked, and nothing decided again."""


@mutant(
    "discards-whatever-blocks",
    "H20",
    at="ordering.application.dead_letters:HeldRecords.discard",
    by=f"{RESUMED}::test_a_discard_done_again_whose_end_was_unknown_takes_no_other_record_with_it",
)
def _(sound: Sound) -> Sound:
    """Drops the first held record, whichever was meant: one that is asked for twice takes the next with it."""

    async def discard(self: Sound, key: str, _place: object = None, *, dry_run: bool = False) -> Sound:
        return await sound(self, key, dry_run=dry_run)

    return discard


@mutant(
    "late-decisions-are-lost",
    "H20",
    at="ordering.application.settle_held:HeldDecisions.is_undone",
    by=f"{RESUMED}::test_what_people_decide_while_the_pointer_moves_is_not_lost",
)
def _(_sound: Sound) -> Sound:
    """What people discarded while the generations were exchanged is held again."""

    async def is_undone(_self: Sound) -> bool:
        return False

    return is_undone


@mutant(
    "discarded-too-late",
    "H20",
    at="ordering.application.settle_held:HeldDecisions.overlooks",
    by=f"{DECISIONS}::test_what_is_discarded_while_a_rebuild_has_it_applied_stays_discarded",
)
def _(_sound: Sound) -> Sound:
    """What people discarded after the new generation had applied it comes back with the exchange."""

    async def overlooks(_self: Sound, _floors: object) -> bool:
        return False

    return overlooks


@mutant(
    "lost-records-are-overlooked",
    at=f"{REBUILD}._decisions_of",
    by=f"{DECISIONS}::test_a_discarded_record_that_the_log_has_lost_does_not_keep_a_rebuild_from_its_end",
)
def _(sound: Sound) -> Sound:
    """Takes what people discarded, and the log has lost since, for applied: no rebuild comes to its end any more."""
    return lambda self, store, _honoured=(): sound(self, store)


@mutant(
    "flips-at-unequal-offsets",
    at="ordering.adapters.memory.generations:require_equal",
    by=f"{FLIPS}::test_no_flip_at_unequal_positions[memory-behind]",
)
def _(_sound: Sound) -> Sound:
    """The rebuilt generation becomes the live one wherever it stands."""
    return lambda _live, _new, _floors: None


@mutant(
    "sqlite-flips-at-unequal-offsets",
    at="ordering.adapters.sqlite.generations:require_equal",
    by=f"{FLIPS}::test_no_flip_at_unequal_positions[sqlite-ahead]",
)
def _(_sound: Sound) -> Sound:
    """The same in the file."""
    return lambda _live, _new, _floors: None


@mutant(
    "pointer-never-read",
    at="ordering.adapters.sqlite.projection:SqliteProjection._require_open",
    by=f"{CONTRACT}::test_a_stale_writers_batch_rolls_back_whole[sqlite-other_generation]",
)
def _(_sound: Sound) -> Sound:
    """A consumer goes on with the generation that it began with."""
    return lambda _self, _connection, _generation: None
