"""docs/guarantees.md and the repository tell the same: every promise, every file, every test, every broken build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARTS = ("How", "Read", "Tests", "Broken builds", "Not promised")
MECHANISM_LINES_MAX = 10
NAME = re.compile(r"[a-z]+(-[a-z]+)+")


def sections() -> dict[str, str]:
    """The text under each heading of a promise, by its number and title."""
    _, *found = re.split(r"^## (\d\. .+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


def parts_of(section: str) -> dict[str, str]:
    """Its parts by their bold names, in their order."""
    _, *found = re.split(r"^\*\*([A-Z][a-z ]+)\.\*\* ", section, flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(found[::2], found[1::2], strict=True)}


SECTIONS = sections()


def test_every_promise_of_the_readme_has_its_section() -> None:
    """Under the same number and the same words."""
    promised = re.search(r"^## What it promises\n(.*?)^Not promised", README, re.MULTILINE | re.DOTALL)
    assert promised is not None
    words = re.findall(r"^(\d\.) \*\*(.+?)\.\*\*", promised[1], re.MULTILINE)
    assert [f"{number} {title}" for number, title in words] == list(SECTIONS)
    assert "docs/guarantees.md" in README


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_is_whole(title: str) -> None:
    """How, where to read it, what holds it, what shows that, and what is not promised; how in a few lines."""
    parts = parts_of(SECTIONS[title])
    assert tuple(parts) == PARTS
    assert all(parts.values())
    assert len(parts["How"].splitlines()) <= MECHANISM_LINES_MAX


@pytest.mark.parametrize("title", SECTIONS)
def test_every_file_and_test_that_is_named_exists(title: str) -> None:
    """Paths from the root of the repository; tests by their names."""
    parts = parts_of(SECTIONS[title])
    named = re.findall(r"`((?:src|tests|docs|benchmarks)/?[^`\s]*)`", SECTIONS[title])
    assert any(name.startswith("tests/") for name in re.findall(r"`([^`]+)`", parts["Tests"]))
    for name in named:
        file, _, test = name.partition("::")
        assert (ROOT / file).exists(), name
        if test:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {re.escape(test)}\(", text, re.MULTILINE), name


@pytest.mark.parametrize("title", SECTIONS)
def test_every_broken_build_that_is_named_is_in_the_table(title: str) -> None:
    """And every promise but the last, which is about them all, has some."""
    named = {word for word in re.findall(r"`([^`]+)`", parts_of(SECTIONS[title])["Broken builds"]) if NAME.match(word)}
    assert named <= MUTANTS.keys()
    assert named or title == list(SECTIONS)[-1]


def test_every_broken_build_shows_that_a_promise_is_held() -> None:
    """Each is under the promise that it breaks."""
    named = {word for section in SECTIONS.values() for word in re.findall(r"`([^`]+)`", section)}
    assert sorted(MUTANTS.keys() - named) == []
