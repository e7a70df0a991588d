"""Bytes made to hurt: each gives an event or a verdict, in bounded time and memory."""

import asyncio
import random
import tracemalloc

import attrs
import pytest

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.application import framing
from ordering.application.messages import DeadReason, DecodedEvent, Record, Undecodable
from tests.cost import cost
from tests.unit.adapters.avro.samples import EVENT, inherited_record, our_record

CODEC = OrderCodec()
BODY = CODEC.encode(EVENT).body
MIB = 1024 * 1024
SEED = 20260301
HUGE = [
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\x0f",
]


def mutated(rng: random.Random, value: bytes) -> bytes:
    """The value after one to three random injuries; its prefix stays whole nine times in ten."""
    start = 5 if rng.random() < 0.9 else 0
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(start, len(value)) if len(value) > start else len(value)
        match rng.randrange(6):
            case 0:
                value = (
                    value[:at] + bytes((value[at] ^ 1 << rng.randrange(8),)) + value[at + 1 :] if value[at:] else value
                )
            case 1:
                value = value[:at]
            case 2:
                value = value[:at] + rng.choice(HUGE) + value[at + rng.randrange(2) :]
            case 3:
                value = value[:at] + value[rng.randrange(len(value) + 1) :]
            case 4:
                value = value[:at] + rng.randbytes(rng.randrange(20)) + value[at:]
            case _:
                value = value[:at] + value[at : at + 8] * rng.randrange(2, 200) + value[at + 8 :]
    return value


async def test_ten_thousand_mutants_are_events_or_dead_letters_in_little_memory() -> None:
    """Bit flips, truncations, huge counts and lengths, splices, insertions and repetitions; printed seed."""
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    samples = [our_record(BODY), inherited_record()]
    mutants = [attrs.evolve(s, value=mutated(rng, s.value or b"")) for s in rng.choices(samples, k=10_000)]
    decoder = OrderEventDecoder(BuiltInRegistry(), CODEC)
    reasons = {reason.value for reason in DeadReason}
    verdicts = 0
    tracemalloc.start()
    try:
        for first in range(0, len(mutants), 100):
            for answer in await decoder.decode(mutants[first : first + 100]):
                if isinstance(answer, Undecodable):
                    assert answer.reason in reasons
                    verdicts += 1
                else:
                    assert isinstance(answer, DecodedEvent)
                    CODEC.decode(answer.encoded)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 8_000 < verdicts < 10_000
    assert peak < 4 * MIB


def bomb(record: Record, count: bytes, item: bytes) -> Record:
    """The record with its items replaced by ``count`` and as many items as the cap on bodies allows."""
    value = record.value or b""
    at = value.index(b"ITEM-") - 2
    return attrs.evolve(record, value=value[:at] + count + item * ((256 * 1024 - at - len(count)) // len(item)))


@pytest.mark.parametrize("count", HUGE)
@pytest.mark.parametrize(
    ("record", "item"),
    [(our_record(BODY), b"\0\2\0"), (inherited_record(), b"\0\2" + bytes(8))],
    ids=["own", "inherited"],
)
def test_a_bomb_of_items_costs_no_more_than_the_cap_allows(record: Record, item: bytes, count: bytes) -> None:
    """The worst body of 256 KiB stays below 40 MiB and a second."""

    def decoded() -> object:
        [answer] = asyncio.run(OrderEventDecoder(BuiltInRegistry(), CODEC).decode([bomb(record, count, item)]))
        return answer

    assert cost(decoded) < 100
    tracemalloc.start()
    try:
        answer = decoded()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(answer, Undecodable)
    assert answer.reason == "corrupt"
    assert peak < 40 * MIB


@pytest.mark.parametrize("length", HUGE)
async def test_a_text_that_claims_to_be_huge_is_corrupt_without_being_allocated(length: bytes) -> None:
    """Lengths beyond the body, and negative ones, at every place where a length stands."""
    for at in (0, len(BODY) - 8):
        [answer] = await OrderEventDecoder(BuiltInRegistry(), CODEC).decode(
            [our_record(BODY[:at] + length + BODY[at + 1 :])]
        )
        assert isinstance(answer, Undecodable)
        assert answer.reason == "corrupt"


async def test_a_poisoned_neighbour_changes_nothing_for_the_rest_of_the_batch() -> None:
    """Answers stand in the order of the records."""
    good = our_record(BODY)
    poison = attrs.evolve(good, value=framing.frame(1, b"\xff" * 50))
    first, second, third = await OrderEventDecoder(BuiltInRegistry(), CODEC).decode([good, poison, good])
    assert isinstance(second, Undecodable)
    assert first == third
    assert isinstance(first, DecodedEvent)
