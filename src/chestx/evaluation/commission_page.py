"""What a commissioning writes: the page that a person signs, its numbers, and the profile."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from chestx.domain import ANY_FINDING, ChestxError, ModelCard, OperatingPoint, UsageError
from chestx.evaluation.commission import Commissioning, Judged, Verdict
from chestx.evaluation.page_discrimination import write_discrimination
from chestx.evaluation.page_figures import FigureBook
from chestx.evaluation.page_sections import (
    write_accounting,
    write_calibration,
    write_decisions,
    write_predictive_values,
)
from chestx.evaluation.tables import evaluation_to_json
from chestx.files import write_text
from chestx.models.site import site_profile_to_json
from chestx.rendering.document import (
    Document,
    Paragraph,
    Section,
    Table,
    Tone,
    render_document,
)

PAGE, RESULT, PROFILE = "commission.html", "commission.json", "site-profile.json"
FILES = (PAGE, RESULT, PROFILE)

_TONES: dict[Verdict, Tone] = {
    Verdict.MET: "good",
    Verdict.NOT_SHOWN: "warning",
    Verdict.MISSED: "bad",
}


def write_commissioning(
    result: Commissioning, output: Path, *, card: ModelCard, site: str, signed_by: str
) -> None:
    """Writes FILES into a new folder; the profile only where every criterion is met.

    Args:
        result: of :func:`~chestx.evaluation.commission.commission`.
        output: made if it is not there; holds none of FILES.
        card: of the model as it was.
        site, signed_by: as they stand in the profile.

    Raises:
        UsageError: the folder holds a commissioning already.
        ChestxError: it cannot be written.
    """
    page = render_document(build_page(result, card=card, site=site, signed_by=signed_by))
    extra = {
        "site": site,
        "accepted": result.is_accepted,
        "criteria": [
            {
                "criterion": str(item.criterion),
                "verdict": str(item.verdict),
                "figure": dataclasses.asdict(item.figure),
            }
            for item in result.judged
        ],
        "chosen_on": result.chosen_on,
        "accepted_on": result.accepted_on,
        "before": dataclasses.asdict(result.before),
    }
    texts = {RESULT: evaluation_to_json(result.after, extra, outputs=FILES)}
    if result.profile is not None:
        texts[PROFILE] = site_profile_to_json(result.profile)
    texts[PAGE] = page
    try:
        check_output(output)
        output.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(output / name, text)
    except OSError as error:
        raise ChestxError(f"{str(output)!r} cannot be written: {error.strerror}") from error


def check_output(output: Path) -> None:
    """Raises a UsageError where a commissioning lies already, before anything is measured."""
    held = [name for name in FILES if os.path.lexists(output / name)]
    if held:
        raise UsageError(f"{str(output)!r} holds {held[0]} already; name another folder")


def build_page(result: Commissioning, *, card: ModelCard, site: str, signed_by: str) -> Document:
    """The page, to be rendered: the verdict, the criteria, the settings, the figures."""
    model = result.after.model
    book = FigureBook(result.after, result.accepted_outcomes)
    return Document(
        title=f"Acceptance of {model.name} {model.version} at {site}",
        summary=_write_verdict(result, signed_by),
        speaker=f"model {model}, {model.precision}; {result.after.created}",
        sections=[
            Section("Criteria", [_write_criteria(result.judged)]),
            Section("Settings", _write_settings(result, card)),
            write_accounting(book),
            write_discrimination(book),
            write_decisions(book),
            write_predictive_values(book),
            write_calibration(book),
        ],
    )


def _write_verdict(result: Commissioning, signed_by: str) -> list[Paragraph]:
    if result.profile is not None:
        verdict = Paragraph(
            f"Accepted: all {len(result.judged)} criteria are met. Signed by {signed_by} on "
            f"{result.profile.signed_on}. The settings are in {PROFILE}; they hold for this model "
            "and this site only, and as long as patients, detectors and processing stay alike.",
            "good",
        )
    else:
        failed = [item for item in result.judged if item.verdict is not Verdict.MET]
        verdict = Paragraph(
            f"Not accepted: {len(failed)} of {len(result.judged)} criteria are not met. "
            "No site profile was written. A criterion that is not shown wants more images; one "
            "that is missed wants another model.",
            "bad",
        )
    halves = Paragraph(
        f"Settings were chosen on {result.chosen_on}. Everything below was measured on "
        f"{result.accepted_on}; no patient is in both."
    )
    return [verdict, halves, *(Paragraph(note, "warning") for note in result.after.notes)]


def _write_criteria(judged: tuple[Judged, ...]) -> Table:
    rows = []
    for item in judged:
        figure = item.figure
        interval = "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
        cells = (str(item.criterion), f"{figure.value:.3f}", interval, str(figure.n))
        rows.append((*cells, str(item.verdict), figure.subject))
    return Table(
        caption="What was asked for and what was found",
        columns=("criterion", "found", "95 % interval", "n", "verdict", "of"),
        rows=rows,
        tones=[_TONES[item.verdict] for item in judged],
        note="Met: the whole interval lies on the good side. Not shown: the limit lies inside "
        "it. Missed: the whole interval lies on the other side.",
    )


def _write_settings(result: Commissioning, card: ModelCard) -> list[Table]:
    new = result.accepted_outcomes.card
    rows = [("temperature", f"{card.temperature:.4g}", f"{new.temperature:.4g}")]
    for name, old, chosen in (
        (ANY_FINDING, card.any_finding, new.any_finding),
        *(
            (label.key, label.operating_point, again.operating_point)
            for label, again in zip(card.labels, new.labels, strict=True)
        ),
    ):
        if old is not None and chosen is not None:
            rows.append((name, _say_point(old), _say_point(chosen)))
    return [
        Table(
            caption="Before and after",
            columns=("setting", "in the model's card", "for this site"),
            rows=rows,
        )
    ]


def _say_point(point: OperatingPoint) -> str:
    band = "no band"
    if point.uncertain_high > point.uncertain_low:
        band = f"uncertain from {point.uncertain_low:.3f} to {point.uncertain_high:.3f}"
    return f"positive from {point.threshold:.3f}, {band}"
