"""The page of an evaluation: what a reader must know first, then every figure and plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chestx.domain import ANY_FINDING
from chestx.evaluation.figures import FORCED, REFUSED_WRONG
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.page_discrimination import write_discrimination
from chestx.evaluation.page_figures import (
    BY_MODEL,
    FigureBook,
    Rank,
    is_matched_without_lungs,
    join_words,
    list_shown_questions,
    name_question,
    write_figure,
)
from chestx.evaluation.page_sections import (
    write_accounting,
    write_calibration,
    write_confusions,
    write_decisions,
    write_overall,
    write_predictive_values,
    write_subgroups,
)
from chestx.evaluation.probe_result import ProbeResult
from chestx.evaluation.result import Evaluation, Slice
from chestx.rendering.document import Block, Document, Paragraph, Section, Table

_MOST_COLUMNS = 6
_MOST_ROWS = 60
_MOST_LEADING, _MOST_SHORT = 4, 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PageMaterial:
    """Everything that the page is made of.

    Attributes:
        evaluation: the figures.
        outcomes: what they were measured from.
        probes: empty where they were not run.
        gallery: the worst answers.
        comparison: with another model; None without.
        claim: the checklist.
    """

    evaluation: Evaluation
    outcomes: Outcomes
    probes: Sequence[ProbeResult]
    gallery: Section
    comparison: Section | None
    claim: Section


def build_page(material: PageMaterial) -> Document:
    """The page, to be rendered."""
    book = FigureBook(material.evaluation, material.outcomes)
    sections = [
        *([material.comparison] if material.comparison else []),
        write_accounting(book),
        write_discrimination(book),
        write_decisions(book),
        write_predictive_values(book),
        write_calibration(book),
        write_subgroups(book),
        write_confusions(book),
        write_overall(book),
        material.gallery,
        write_probes(material.probes),
        material.claim,
        write_settings(material.evaluation),
    ]
    model = material.evaluation.model
    return Document(
        title=f"Evaluation of {model.name} {model.version}",
        summary=write_summary(book),
        speaker=(
            f"model {model.name} {model.version}, checksum {model.checksum}, {model.precision}; "
            f"{material.evaluation.created}"
        ),
        sections=sections,
    )


def write_summary(book: FigureBook) -> list[Paragraph]:
    """The answer and what a reader must know of it, before any table."""
    evaluation = book.evaluation
    whole = evaluation.slices[0]
    paragraphs = [Paragraph(describe_images(evaluation, whole))]
    paragraphs += [Paragraph(note, "warning") for note in evaluation.notes]
    shown = list_shown_questions(book.outcomes)
    leading = shown[:1] if shown and shown[0].key == ANY_FINDING else shown[:_MOST_LEADING]
    for question in leading:
        paragraphs += summarise_question(book, question.key)
    others = [_say_shortly(book, x.key) for x in shown[len(leading) : len(leading) + _MOST_SHORT]]
    paragraphs += [Paragraph("\n".join(filter(None, others)))] if any(others) else []
    return paragraphs


def describe_images(evaluation: Evaluation, whole: Slice) -> str:
    """What was measured, on how many, from where, and what became of each image."""
    sources = [x for x in evaluation.slices if x.column == "source"]
    where = ""
    if sources:
        named = ", ".join(f"{x.value} {x.images:,}" for x in sources[:8])
        rest = f" and {len(sources) - 8} more" if len(sources) > 8 else ""
        where = f" from {_count(len(sources), 'source')} ({named}{rest})"
    left = sum(evaluation.left_out.values())
    text = (
        f"{evaluation.data}: {_count(whole.images, 'image')} of "
        f"{_count(whole.groups, 'patient or duplicate group')}{where}. {whole.assessed:,} were "
        f"assessed, {whole.out_of_scope:,} were out of the model's scope, {whole.failed:,} failed."
    )
    if left:
        text += f" {_count(left, 'row')} of the manifest were left out."
    return text


def summarise_question(book: FigureBook, question: str) -> list[Paragraph]:
    """The leading figures of a question in sentences; the pooled AUROC never stands alone."""
    answer = book.find_answer(question)
    if answer is None:
        return []
    ranks = book.list_ranks(question)
    texts = [
        f"{name_question(question).capitalize()} ({answer.score}), {answer.n:,} assessed images "
        f"with a known answer, {answer.positives:,} of them positive."
    ]
    texts += [_say_rank(rank) for rank in _choose_ranks(ranks)]
    if not ranks:
        texts.append("No AUROC: too few images of one of the two kinds.")
    texts += _say_decisions(book, question)
    is_weak = any(is_matched_without_lungs(rank) for rank in ranks)
    paragraphs = [Paragraph("\n".join(texts))]
    if is_weak:
        places = join_words([x.place for x in ranks if is_matched_without_lungs(x)])
        paragraphs.append(
            Paragraph(
                f"{name_question(question).capitalize()}: a guess without lungs comes up to the "
                f"model's interval {places}. There the figure does not show that the model reads "
                "lungs.",
                "bad",
            )
        )
    return paragraphs


def _say_shortly(book: FigureBook, question: str) -> str:
    """One line for a question that does not lead: how many, within sources, at the threshold."""
    answer = book.find_answer(question)
    if answer is None:
        return ""
    parts = [f"{answer.positives:,} of {answer.n:,} positive"]
    ranks = book.list_ranks(question)
    parts += [
        f"AUROC {rank.place} {write_figure(rank.aurocs[BY_MODEL])}"
        for rank in _choose_ranks(ranks)
        if BY_MODEL in rank.aurocs
    ] or ["no AUROC"]
    parts += [
        f"{name} {write_figure(figure)}"
        for name in ("sensitivity", "specificity")
        if (figure := book.find(question, name, side=FORCED))
    ]
    if any(is_matched_without_lungs(rank) for rank in ranks):
        parts.append("a guess without lungs comes up to it, see below")
    return f"{name_question(question)}: {'; '.join(parts)}."


def write_probes(probes: Sequence[ProbeResult]) -> Section:
    """What was asked of altered images and of the embedding."""
    if not probes:
        return Section("Probes", [Paragraph("The probes were not run.", "warning")])
    blocks: list[Block] = [
        Paragraph(
            "Does the model look at lungs, and does its answer stand when the image is altered? "
            "Each probe says what it found, and what it cannot show."
        )
    ]
    for probe in probes:
        blocks += [
            Paragraph(f"{probe.name.replace('_', ' ').capitalize()}. {probe.verdict}"),
            *_tabulate_probe(probe),
        ]
    return Section("Probes", blocks)


def write_settings(evaluation: Evaluation) -> Section:
    """How it was done."""
    rows = [
        ("created", evaluation.created),
        ("data", evaluation.data),
        ("sha256 of the manifest", evaluation.manifest_sha256 or "not known"),
        ("model", f"{evaluation.model.name} {evaluation.model.version}"),
        ("checksum", evaluation.model.checksum),
        ("precision", evaluation.model.precision),
        *((key, str(value)) for key, value in evaluation.settings.items()),
    ]
    table = Table(caption="How it was done", columns=("setting", "value"), rows=rows)
    return Section("Settings", [table])


def _tabulate_probe(probe: ProbeResult) -> list[Block]:
    """A table of what was done by what was measured, where a probe measures several things."""
    if not probe.figures:
        return [Paragraph(f"{probe.what} {probe.note}".strip())]
    measures = {figure.name.partition(", ")[0] for figure in probe.figures}
    if len(measures) == 1 or len(probe.figures) <= _MOST_ROWS:
        return [_tabulate_places(probe)]
    subjects = dict.fromkeys(x.subject for x in probe.figures if x.data == "all")
    tables: list[Block] = [Paragraph(probe.what)]
    tables += [_tabulate_subject(probe, subject) for subject in subjects]
    note = "Figures within each source are in figures.csv."
    return [*tables, Paragraph(f"{probe.note} {note}".strip())]


def _tabulate_places(probe: ProbeResult) -> Table:
    """A row a name, a column a subject and part; parts that do not fit are in figures.csv."""
    places = list(dict.fromkeys((x.subject, x.data) for x in probe.figures))
    # All images first; the sources follow while there is room.
    places = sorted(places, key=lambda place: place[1] != "all")
    shown, names = places[:_MOST_COLUMNS], dict.fromkeys(x.name for x in probe.figures)
    cells = {(x.name, x.subject, x.data): write_figure(x) for x in probe.figures}
    note = probe.note
    if len(places) > len(shown):
        note += f" {_count(len(places) - len(shown), 'more column')} in figures.csv."
    return Table(
        caption=probe.what,
        columns=("figure", *(f"{subject}; {data}" for subject, data in shown)),
        rows=[(name, *(cells.get((name, *place), "") for place in shown)) for name in names],
        note=note.strip(),
    )


def _tabulate_subject(probe: ProbeResult, subject: str) -> Table:
    """A row an alteration, a column a measure, on all images."""
    cells = {}
    for figure in probe.figures:
        if figure.subject == subject and figure.data == "all":
            measure, _, alteration = figure.name.partition(", ")
            cells[alteration, measure] = write_figure(figure)
    measures = dict.fromkeys(measure for _, measure in cells)
    return Table(
        caption=f"{probe.name.replace('_', ' ').capitalize()}, {subject}",
        columns=("altered", *measures),
        rows=[
            (name, *(cells.get((name, measure), "") for measure in measures))
            for name in dict.fromkeys(alteration for alteration, _ in cells)
        ],
    )


def _choose_ranks(ranks: Sequence[Rank]) -> list[Rank]:
    """Within the sources first: their mean where there are several, then all together."""
    mean = [rank for rank in ranks if rank.place == "mean within sources"]
    within = [rank for rank in ranks if not rank.is_whole and rank not in mean]
    return (mean or within[:1]) + [rank for rank in ranks if rank.is_whole]


def _say_rank(rank: Rank) -> str:
    model = rank.aurocs.get(BY_MODEL)
    guesses = {what: x for what, x in rank.aurocs.items() if what != BY_MODEL}
    text = f"AUROC {rank.place}: {write_figure(model)}"
    if guesses:
        best = max(guesses, key=lambda what: guesses[what].value)
        named = "a 16 x 16 thumbnail"
        if named in guesses and named != best:
            text += f"; a linear guess from {named}: {write_figure(guesses[named])}"
        text += f"; the best guess without lungs, from {best}: {write_figure(guesses[best])}"
    if rank.is_whole:
        text += ". All sources together also rewards guessing the source"
    return f"{text}."


def _say_decisions(book: FigureBook, question: str) -> list[str]:
    texts = []
    for side, words in (
        (FORCED, "uncertain answers counted by their nearer side"),
        (REFUSED_WRONG, "images out of scope or failed counted as wrong too"),
    ):
        found = [
            f"{name} {write_figure(figure)}"
            for name in ("sensitivity", "specificity")
            if (figure := book.find(question, name, side=side))
        ]
        if found:
            texts.append(f"At the card's threshold: {join_words(found)}, {words}.")
    return texts


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"
