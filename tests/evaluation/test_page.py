from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chestx.domain import Figure, ModelIdentity
from chestx.evaluation.compare import compare
from chestx.evaluation.compare_page import write_comparison
from chestx.evaluation.measure import measure
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.page import PageMaterial, build_page, write_probes, write_summary
from chestx.evaluation.page_figures import FigureBook, list_shown_questions, write_figure
from chestx.evaluation.probe_result import ProbeResult
from chestx.evaluation.result import Evaluation
from chestx.evaluation.summary import summarise
from chestx.rendering.document import Block, Paragraph, Section, Table, render_document

if TYPE_CHECKING:
    from tests.evaluation.conftest import MakeOutcomes

HOSTILE = "<script>alert(1)</script> $x$ =1"


def evaluate(outcomes: Outcomes, *, columns: Sequence[str] = ("source",)) -> Evaluation:
    return measure(
        outcomes,
        data="made up",
        manifest_sha256="0" * 64,
        left_out={},
        repeats=8,
        columns=columns,
    )


@pytest.fixture(scope="module")
def outcomes(single_label_outcomes: MakeOutcomes) -> Outcomes:
    """Of validation images, some from a source with a name of ill will."""
    splits = {"split": ["validation"] * 120}
    return single_label_outcomes(120, sources=(HOSTILE, "south"), attributes=splits)


@pytest.fixture(scope="module")
def book(outcomes: Outcomes) -> FigureBook:
    return FigureBook(evaluate(outcomes, columns=("source", "sex")), outcomes)


@pytest.fixture(scope="module")
def page(book: FigureBook) -> str:
    return make_page(book.outcomes, evaluation=book.evaluation)


def make_page(
    outcomes: Outcomes, *, comparison: Section | None = None, evaluation: Evaluation | None = None
) -> str:
    material = PageMaterial(
        evaluation=evaluation or evaluate(outcomes),
        outcomes=outcomes,
        probes=(),
        gallery=Section("Worst answers", []),
        comparison=comparison,
        claim=Section("CLAIM checklist", []),
    )
    return render_document(build_page(material))


def list_texts(blocks: list[Block]) -> str:
    return " ".join(block.text for block in blocks if isinstance(block, Paragraph))


def test_the_page_has_its_parts_in_order(page: str) -> None:
    titles = [
        *("What became of every image", "Discrimination", "Decisions", "Predictive values"),
        *("Calibration and abstention", "By source, view", "Confusion", "Over all labels"),
        *("Worst answers", "Probes", "CLAIM checklist", "Settings"),
    ]
    places = [page.index(f"<h2>{title}") for title in titles]
    assert places == sorted(places)
    assert page.count("data:image/svg+xml") >= 10


def test_the_pooled_auroc_never_stands_alone(outcomes: Outcomes, book: FigureBook) -> None:
    for question in list_shown_questions(outcomes):
        ranks = book.list_ranks(question.key)
        assert not ranks[0].is_whole
        assert ranks[-1].is_whole
        assert all("a 16 x 16 thumbnail" in rank.aurocs for rank in ranks)
    text = " ".join(paragraph.text for paragraph in write_summary(book))
    assert text.index("mean within sources") < text.index("AUROC all together")
    assert "16 x 16 thumbnail" in text


def test_model_and_table_by_source_tell_the_same_figure(book: FigureBook) -> None:
    for rank, key in zip(book.list_ranks("PNEUMONIA")[1::2], ("source=south", "all"), strict=True):
        figure = book.find("PNEUMONIA", "AUROC", slice_key=key)
        beside = rank.aurocs["by the model"]
        assert figure is not None
        assert (beside.value, beside.low, beside.high) == (figure.value, figure.low, figure.high)


def test_a_model_that_knows_nothing_is_called_out(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(120, strength=0.0)
    book = FigureBook(evaluate(outcomes), outcomes)
    bad = [x.text for x in write_summary(book) if x.tone == "bad"]
    assert any("does not show that the model reads lungs" in text for text in bad)


def test_a_mirrored_label_is_not_told_twice(outcomes: Outcomes) -> None:
    keys = [question.key for question in list_shown_questions(outcomes)]
    assert keys == ["any_finding", "PNEUMONIA", "COVID19"]


def test_several_labels_and_unknown_answers_make_a_page(multi_label_outcomes: MakeOutcomes) -> None:
    page = make_page(multi_label_outcomes(100))
    assert "these labels do not exclude each other" in page


def test_few_images_of_one_kind_make_a_page_without_an_auroc(
    single_label_outcomes: MakeOutcomes,
) -> None:
    page = make_page(single_label_outcomes(14, failed=1, out_of_scope=1))
    assert "no AUROC" in page


def test_names_of_ill_will_stay_text(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_what_could_mislead_stands_in_the_summary(book: FigureBook) -> None:
    texts = [x.text for x in write_summary(book)]
    assert all(note in texts for note in book.evaluation.notes)
    assert any("too good" in text for text in texts)


def test_every_finding_has_its_line_in_the_summary(book: FigureBook) -> None:
    lines = "\n".join(x.text for x in write_summary(book)).splitlines()
    for key in ("PNEUMONIA", "COVID19"):
        (line,) = [line for line in lines if line.startswith(f"{key}: ") and "positive;" in line]
        for words in ("AUROC mean within sources", "AUROC all together", "sensitivity", "specific"):
            assert words in line


def test_the_lines_for_a_terminal_warn_of_the_split(book: FigureBook) -> None:
    lines = summarise(book.evaluation, book.outcomes)
    assert lines[0].startswith("120 images of 60 patient or duplicate groups: 110 assessed, 6 out")
    assert lines[1].startswith("WARNING: 120 of these images")
    within = next(i for i, line in enumerate(lines) if "AUROC within" in line)
    pooled = next(i for i, line in enumerate(lines) if "AUROC all together" in line)
    assert within < pooled
    assert "guessed from a 16 x 16 thumbnail" in lines[pooled]


def test_a_figure_without_an_interval_says_so() -> None:
    figure = Figure(name="PPV", subject="x", data="y", value=1.0, n=4)
    assert write_figure(figure) == "1.000 (no interval)"
    assert write_figure(replace(figure, low=0.5, high=1.0)) == "1.000 (0.500 to 1.000)"
    assert write_figure(None) == ""


def test_probes_say_their_verdict_before_their_numbers() -> None:
    figures = tuple(
        Figure(name="AUROC, flipped", subject=f"P({i})", data="all", value=0.5, n=9)
        for i in range(9)
    )
    probe = ProbeResult(name="flip", what="Turned.", figures=figures, verdict="It holds.", note="n")
    section = write_probes([probe])
    assert "Flip. It holds." in list_texts(list(section.blocks))
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert len(table.columns) == 7
    assert "3 more columns in figures.csv" in table.note
    assert "not run" in list_texts(list(write_probes([]).blocks))


def test_a_probe_of_many_measures_has_a_table_for_each_question() -> None:
    figures = tuple(
        Figure(name=f"{measure}, turned by {degrees}", subject=subject, data=data, value=0.5, n=9)
        for degrees in range(10)
        for measure in ("AUROC", "sensitivity")
        for subject in ("P(X)", "P(Y)")
        for data in ("all", "source=north")
    )
    section = write_probes([ProbeResult(name="robustness", what="w", figures=figures, verdict="v")])
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [table.caption for table in tables] == ["Robustness, P(X)", "Robustness, P(Y)"]
    assert tables[0].columns == ("altered", "AUROC", "sensitivity")
    assert len(tables[0].rows) == 10
    assert "within each source are in figures.csv" in list_texts(list(section.blocks))


def test_a_probe_that_could_not_be_measured_says_why() -> None:
    probe = ProbeResult(name="flip", what="Turned.", figures=(), verdict="Not measured: too few.")
    section = write_probes([probe])
    assert "Not measured: too few." in list_texts(list(section.blocks))
    assert not any(isinstance(block, Table) for block in section.blocks)


def test_a_comparison_says_its_verdicts_in_words_first(
    single_label_outcomes: MakeOutcomes,
) -> None:
    first = replace(
        single_label_outcomes(120, strength=0.5), identity=ModelIdentity("old", "1", "1" * 64)
    )
    second = single_label_outcomes(120, strength=3.0)
    comparison = compare(first, second, generator=np.random.default_rng(0), repeats=20)
    section = write_comparison(comparison)
    assert comparison.summary[0] in list_texts(list(section.blocks))
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert tables[0].caption == "All images together"
    assert "good" in tables[0].tones
    page = make_page(single_label_outcomes(14), comparison=section)
    assert page.index("<h2>Comparison</h2>") < page.index("<h2>What became of every image</h2>")
