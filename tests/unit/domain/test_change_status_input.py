"""The body of update-order: every rule, and all faults at once."""

import pytest

from ordering.domain.errors import Code, InvalidInput
from ordering.domain.fields import HugeInteger, NotFinite
from ordering.domain.inputs import ChangeStatusInput, read_change_status
from ordering.domain.status import OrderStatus


def codes_in(document: object) -> list[tuple[str, Code]]:
    """Field and code of all faults of a document that must have some."""
    with pytest.raises(InvalidInput) as refusal:
        read_change_status(document)
    return [(fault.field, fault.code) for fault in refusal.value.faults]


@pytest.mark.parametrize("status", OrderStatus)
def test_each_of_the_five_statuses_is_read(status: OrderStatus) -> None:
    """Id and status are trimmed, other fields ignored."""
    document = {"orderId": " order-1 ", "status": f" {status}\n", "note": [1]}

    assert read_change_status(document) == ChangeStatusInput("order-1", status)


@pytest.mark.parametrize(
    "status", ["", "  ", "Pending", "SHIPPED", "lost", "not found", "pending\x00", "x" * 9000, "\ud800"]
)
def test_any_other_status_is_a_fault_that_names_the_five(status: str) -> None:
    """Case matters; the message is short whatever was sent."""
    with pytest.raises(InvalidInput) as refusal:
        read_change_status({"orderId": "order-1", "status": status})

    (fault,) = refusal.value.faults
    assert (fault.field, fault.code) == ("status", Code.UNKNOWN_STATUS)
    assert fault.message.startswith("must be one of pending, confirmed, shipped, delivered, cancelled, not '")
    assert len(fault.message.encode()) < 200


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (None, Code.REQUIRED),
        (1, Code.INVALID_TYPE),
        (True, Code.INVALID_TYPE),
        (["shipped"], Code.INVALID_TYPE),
        (NotFinite("NaN"), Code.INVALID_TYPE),
        (HugeInteger("1" * 99), Code.INVALID_TYPE),
    ],
)
def test_a_status_that_is_no_text_is_a_fault(status: object, code: Code) -> None:
    """Missing, or of another type."""
    assert codes_in({"orderId": "order-1", "status": status}) == [("status", code)]


@pytest.mark.parametrize("document", [None, [], "shipped", 1, HugeInteger("1" * 99)])
def test_a_body_that_is_no_object_is_one_fault(document: object) -> None:
    """At the body, for its type."""
    assert codes_in(document) == [("body", Code.INVALID_TYPE)]


def test_all_faults_are_told_at_once() -> None:
    """An empty object lacks both fields."""
    assert codes_in({}) == [("orderId", Code.REQUIRED), ("status", Code.REQUIRED)]


def test_ill_formed_values_in_unknown_fields_are_refused() -> None:
    """NaN and lone surrogates are no part of any order's story."""
    document = {"orderId": "a b", "status": "shipped", "note": [NotFinite("NaN"), "\ud800"]}

    assert codes_in(document) == [
        ("orderId", Code.INVALID_CHARACTERS),
        ("note[0]", Code.NOT_FINITE),
        ("note[1]", Code.INVALID_CHARACTERS),
    ]
