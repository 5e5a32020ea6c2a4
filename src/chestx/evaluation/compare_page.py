"""A comparison of two models as a part of the page: verdicts in words first."""

from __future__ import annotations

from collections.abc import Sequence

from chestx.evaluation.comparison import Agreement, Comparison, Difference
from chestx.evaluation.page_figures import name_question, write_number
from chestx.evaluation.result import ALL
from chestx.evaluation.verdicts import Verdict
from chestx.rendering.document import Block, Paragraph, Section, Table, Tone

_TONES: dict[Verdict, Tone] = {
    Verdict.BETTER: "good",
    Verdict.WORSE: "bad",
    Verdict.INFERIOR: "bad",
}


def write_comparison(comparison: Comparison) -> Section:
    """What the figures of two models on the same images allow to be said."""
    first, second = comparison.first, comparison.second
    blocks: list[Block] = [
        Paragraph(
            f"First: {first}. Second: {second}. Differences are second minus first, on the same "
            f"{comparison.images:,} images of {comparison.groups:,} patient or duplicate groups; "
            f"a loss of up to {comparison.margin:g} counts as none."
        ),
        # The other figures stand in the table.
        *(Paragraph(sentence) for sentence in comparison.summary if ", AUROC on " in sentence),
        Paragraph(comparison.summary[-1]),
        *(Paragraph(note, "warning") for note in comparison.notes),
    ]
    for title, differences in (
        ("All images together", [x for x in comparison.differences if x.is_pooled]),
        ("Within each source", [x for x in comparison.differences if not x.is_pooled]),
    ):
        if differences:
            blocks.append(_tabulate_differences(title, differences, level=comparison.level))
    blocks.append(_tabulate_agreements(comparison.agreements))
    return Section("Comparison", blocks)


def _tabulate_differences(title: str, differences: Sequence[Difference], *, level: float) -> Table:
    return Table(
        caption=title,
        columns=(
            *("images", "question", "figure", "n", "first", "second"),
            *(f"second - first ({level:.0%})".replace("%", " %"), "p", "p, Holm", "verdict"),
        ),
        rows=[_write_difference(difference) for difference in differences],
        tones=[_TONES.get(difference.verdict, "plain") for difference in differences],
        note=(
            "Each interval and verdict is of its row alone. Of many rows some stand out by chance: "
            "p by Holm takes all of them into account. 'Not shown to differ' does not say equal."
        ),
    )


def _write_difference(difference: Difference) -> tuple[str, ...]:
    interval = "no interval"
    if difference.low is not None and difference.high is not None:
        interval = f"{_write_signed(difference.low)} to {_write_signed(difference.high)}"
    return (
        "all" if difference.is_pooled else difference.slice_key,
        name_question(difference.question),
        difference.name,
        f"{difference.n:,}",
        write_number(difference.first),
        write_number(difference.second),
        f"{_write_signed(difference.value)} ({interval})",
        _write_p(difference.p_value),
        _write_p(difference.adjusted_p_value),
        difference.verdict.value,
    )


def _tabulate_agreements(agreements: Sequence[Agreement]) -> Table:
    return Table(
        caption="How alike the two answer, whoever is right",
        columns=(
            *("images", "question", "n", "same answer", "99 % moved by at most", "largest move"),
            *("found: gained / lost", "false alarms: gone / new"),
        ),
        rows=[_write_agreement(agreement) for agreement in agreements],
        note=(
            "Moves are of the probability. The last two columns count images with a known answer "
            "that both assessed, uncertain forced to the nearer side."
        ),
    )


def _write_agreement(agreement: Agreement) -> tuple[str, ...]:
    return (
        "all" if agreement.slice_key == ALL else agreement.slice_key,
        name_question(agreement.question),
        f"{agreement.images:,}",
        _write_interval(agreement.same, agreement.same_low, agreement.same_high),
        _write_interval(agreement.shift_p99, agreement.shift_p99_low, agreement.shift_p99_high),
        "" if agreement.shift_max is None else write_number(agreement.shift_max),
        f"{agreement.true_gained:,} / {agreement.true_lost:,}",
        f"{agreement.false_gained:,} / {agreement.false_lost:,}",
    )


def _write_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    if low is None or high is None:
        return write_number(value)
    return f"{write_number(value)} ({write_number(low)} to {write_number(high)})"


def _write_signed(value: float) -> str:
    return f"{value:+.3f}"


def _write_p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
