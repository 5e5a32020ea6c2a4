"""The pages about data sets say what the sources do."""

from __future__ import annotations

from pathlib import Path

import pytest

from chestx.datasets.sources.padchest_words import WORDS as PADCHEST_WORDS
from chestx.datasets.sources.registry import SOURCES
from chestx.datasets.sources.vindr_cxr import WORDS as VINDR_WORDS
from chestx.datasets.vocabulary import TERMS


@pytest.fixture
def pages(repository: Path) -> Path:
    return repository / "docs" / "datasets"


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_a_page_with_its_command(pages: Path, source: str) -> None:
    assert f"chestx data scan {source} " in (pages / f"{source}.md").read_text(encoding="utf-8")
    assert f"[`{source}`]({source}.md)" in (pages / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("term", TERMS)
def test_every_term_is_explained(pages: Path, term: str) -> None:
    assert f"| `{term}` | {TERMS[term]} |" in (pages / "README.md").read_text(encoding="utf-8")


def test_every_word_that_means_a_term_is_listed(pages: Path) -> None:
    padchest = (pages / "padchest.md").read_text(encoding="utf-8")
    for word, terms in PADCHEST_WORDS.items():
        for term in terms:
            line = next(line for line in padchest.splitlines() if line.startswith(f"| `{term}`"))
            assert word in line or term == "OTHER_FINDING"
    vindr = (pages / "vindr-cxr.md").read_text(encoding="utf-8")
    assert all(word in vindr for word in VINDR_WORDS)
