"""DeadLetters: what people see of the held records."""

from ordering.application.messages import DeadReason
from tests.contract.read_model.conftest import Views
from tests.contract.read_model.samples import changes, letter


async def test_letters_come_oldest_first_without_what_is_parked_behind_them(views: Views) -> None:
    """Oldest by when they were held."""
    await views.commit(
        changes(
            held=(
                letter("a", 1, held_at=30),
                letter("a", 2, DeadReason.PARKED, held_at=5),
                letter("b", 3, held_at=10),
                letter(None, 4, held_at=20),
            )
        )
    )
    assert [one.record.offset for one in await views.letters(99)] == [3, 4, 1]
    assert [one.record.offset for one in await views.letters(2)] == [3, 4]


async def test_one_keys_letters_include_the_parked_ones(views: Views) -> None:
    """In the log's order, in which they would be released."""
    await views.commit(
        changes(held=(letter("a", 7, DeadReason.PARKED, held_at=2), letter("a", 6, held_at=9), letter("b", 1)))
    )
    assert [one.record.offset for one in await views.letters(99, key="a")] == [6, 7]
    assert [one.record.offset for one in await views.letters(1, key="a")] == [6]
    assert await views.letters(99, key="absent") == []
