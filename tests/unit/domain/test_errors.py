"""The errors: what their texts hold."""

from ordering.domain.errors import FAULTS_IN_TEXT_MAX, Code, Fault, InvalidInput


def faults(number: int) -> list[Fault]:
    """That many different faults."""
    return [Fault(f"items[{index}]", Code.REQUIRED, "is required") for index in range(number)]


def test_an_invalid_input_names_its_faults() -> None:
    """Field and rule of each, in order."""
    assert str(InvalidInput(faults(2))) == "items[0]: is required; items[1]: is required"


def test_an_invalid_input_with_thousands_of_faults_has_a_short_text_and_all_faults() -> None:
    """The text names the first ten and counts the rest."""
    error = InvalidInput(faults(3000))

    assert (str(error).count("is required"), str(error).endswith("; and 2990 more")) == (FAULTS_IN_TEXT_MAX, True)
    assert error.faults == tuple(faults(3000))


def test_codes_are_unique_lower_case_words() -> None:
    """A code never changes its spelling style, so clients can compare it as text."""
    assert [code for code in Code if not all(word.isalnum() and word == word.lower() for word in code.split("-"))] == []
