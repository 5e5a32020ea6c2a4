"""``card.json`` to ModelCard and back, and the card as a page for a person.

Reading is strict: a key that is missing or unknown is named and refused, because a
setting that is silently ignored changes what a model says of a patient.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from chestx.domain import (
    CAVEAT,
    Figure,
    InvalidModelError,
    Label,
    ModelCard,
    OperatingPoint,
    PrecisionVariant,
    ScopeSpec,
)
from chestx.models.records import build_record, parse_json

_HEATMAPS = {
    "occlusion": "occlusion; parts of the image are hidden in turn and the network is asked again"
}

_PRECISIONS = "precisions"

FORMAT_VERSION = 1
"""Layout of the model folder that this version reads and writes."""


def card_from_json(text: str) -> ModelCard:
    """Reads a model card.

    Raises:
        InvalidModelError: not JSON, a key missing, unknown or twice, a value of the
            wrong type or out of range, or a format newer than FORMAT_VERSION.
    """
    document = parse_json(text, where="card.json")
    _check_format_version(document)
    if isinstance(document, dict):
        # A card without is of a model whose variants nobody tried.
        document.setdefault(_PRECISIONS, [])
    card = build_record(ModelCard, document, where="card.json")
    _check_ranges(card)
    return card


def card_to_json(card: ModelCard) -> str:
    """Writes a model card; equal cards give equal text, so its checksum is stable."""
    document = dataclasses.asdict(card)
    if not card.precisions:
        del document[_PRECISIONS]
    return (
        json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )


def _check_format_version(document: object) -> None:
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise InvalidModelError(
            f"this model folder was made by a newer chestx: it has format {version}, "
            f"this version reads up to {FORMAT_VERSION}; update chestx"
        )
    if type(version) is int and version < 1:
        raise InvalidModelError(f"card.json.format_version: expected 1 or more, got {version}")


def _check_ranges(card: ModelCard) -> None:
    """What the types alone do not say."""
    if card.embedding_size < 1:
        raise InvalidModelError(
            f"card.json.embedding_size: expected 1 or more, got {card.embedding_size}"
        )
    low, high = card.scope.min_age_years or 0.0, card.scope.max_age_years
    if low < 0 or (high is not None and high < low):
        raise InvalidModelError(
            f"card.json.scope: expected 0 <= min_age_years <= max_age_years, got {low} and {high}"
        )
    if card.scope.max_distance is not None and card.scope.max_distance <= 0:
        raise InvalidModelError(
            "card.json.scope.max_distance: expected a positive number, "
            f"got {card.scope.max_distance}"
        )


def render_card(card: ModelCard, *, checksum: str = "") -> str:
    """The model card as Markdown.

    Args:
        card: what is rendered, nothing else.
        checksum: of the folder; empty for the README.md inside it, which cannot
            hold the checksum of the card that holds the README's.
    """
    identity = f"`{checksum}`" if checksum else "the sha256 of `card.json` beside this file"
    sections = [
        f"# {card.name} {card.version}",
        f"**{CAVEAT}**",
        card.summary,
        f"Checksum: {identity}.",
        f"## Intended use\n\n{card.intended_use}",
        f"## What it looks for\n\n{_label_table(card)}",
        f"## What it does not look for\n\n{card.not_looked_for}",
        f"## Which images it answers for\n\n{_scope_list(card.scope)}",
        f"## Input and heatmap\n\n{_input_sentence(card)}",
        f"## Measured performance\n\n{_figure_table(card.performance)}",
        *([f"## Precision\n\n{_precision_text(card)}"] if card.precisions else []),
        f"## Limitations\n\n{_bullets(card.limitations)}",
        f"## Training\n\n{_nested(card.training)}",
        f"## Licence of the weights\n\n{card.licence}",
    ]
    return "\n\n".join(sections) + "\n"


def _label_table(card: ModelCard) -> str:
    rows = [
        "| label | meaning | positive from | uncertain | note |",
        "|---|---|---|---|---|",
        *(_label_row(label) for label in card.labels),
    ]
    if card.any_finding is not None:
        rows.append(f"| any finding | 1 - P(no finding) | {_point_cells(card.any_finding)} | |")
    return "\n".join(rows) + f"\n\n{_temperature_sentence(card)}"


def _temperature_sentence(card: ModelCard) -> str:
    # No calibration ends at exactly 1.
    if card.temperature == 1:
        return (
            f"Probabilities are the {card.activation.value} of the network's own logits; "
            "they were not calibrated."
        )
    return (
        f"Probabilities are calibrated: logits are divided by {card.temperature:.4g} "
        f"before the {card.activation.value}."
    )


def _label_row(label: Label) -> str:
    point = "never decided on | " if label.operating_point is None else ""
    cells = _point_cells(label.operating_point) if label.operating_point else point
    return f"| {_cell(label.key)} | {_cell(label.display)} | {cells} | {_cell(label.caveat)} |"


def _point_cells(point: OperatingPoint) -> str:
    if point.uncertain_low == point.uncertain_high:
        return f"{point.threshold:.3f} | no band"
    return f"{point.threshold:.3f} | {point.uncertain_low:.3f} to {point.uncertain_high:.3f}"


def _scope_list(scope: ScopeSpec) -> str:
    ages = "any"
    if scope.min_age_years is not None or scope.max_age_years is not None:
        low = f"from {scope.min_age_years or 0:g}"
        ages = low if scope.max_age_years is None else f"{low} to {scope.max_age_years:g}"
    distance = (
        "not checked"
        if scope.max_distance is None
        else f"refused when further than {scope.max_distance:.4g} from the training images"
    )
    return _bullets(
        (
            f"DICOM Modality: {', '.join(scope.modalities) or 'any'}",
            f"Body part: {', '.join(scope.body_parts) or 'any'}",
            f"View: {', '.join(scope.views) or 'any'}",
            f"Age in years: {ages}; an unknown age is flagged, not refused",
            f"Likeness: {distance}",
        )
    )


def _input_sentence(card: ModelCard) -> str:
    spec = card.input
    clahe = f"CLAHE with clip limit {spec.clahe_clip_limit:g}" if spec.clahe_clip_limit else "none"
    return (
        f"The radiograph as a reader sees it, grey, stretched to {spec.size} x {spec.size} pixels; "
        f"denoising: {spec.denoise.value}; contrast equalisation: {clahe}. "
        f"Heatmap: {_HEATMAPS.get(card.heatmap, card.heatmap)}."
    )


def _figure_table(figures: tuple[Figure, ...]) -> str:
    if not figures:
        return "Nothing was measured."
    rows = [
        "| figure | of | on | n | value | 95 % interval | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        interval = "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
        cells = (figure.name, figure.subject, figure.data, str(figure.n), f"{figure.value:.3f}")
        rows.append("| " + " | ".join(map(_cell, (*cells, interval, figure.note))) + " |")
    return "\n".join(rows)


def _precision_text(card: ModelCard) -> str:
    tried = [_describe_variant(variant) for variant in card.precisions]
    return "\n\n".join(
        ("It computes in single precision (f32) unless another one is asked for.", *tried)
    )


def _describe_variant(variant: PrecisionVariant) -> str:
    worst = "\n".join(f"- {figure}" for figure in variant.failed[:5])
    verdict = (
        f"kept; all {len(variant.figures)} figures are within their limits."
        if variant.kept
        else f"**refused; it cannot be run.** {len(variant.failed)} of {len(variant.figures)} "
        f"figures are beyond their limits, these the furthest:\n\n{worst}"
    )
    return (
        f"**{variant.precision.value}** ({variant.speed:.2f} times as fast on one thread; "
        f"{variant.made_by}), compared with f32 on {variant.images} images ({variant.data}): "
        f"{verdict}"
    )


def _nested(value: Any, *, indent: int = 0) -> str:
    """Plain JSON values as nested bullets, keys sorted as in the file.

    In a list, an item of several values is headed by its number: a bullet of its own without
    words would be drawn as two bullets in one line.
    """
    margin = "  " * indent + "-"
    named = sorted(value.items()) if isinstance(value, dict) else enumerate(value, start=1)
    lines = []
    for key, item in named:
        if isinstance(item, dict | list):
            lines += [f"{margin} {key}:", _nested(item, indent=indent + 1)]
        else:
            lines.append(
                f"{margin} {key}: {item}" if isinstance(value, dict) else f"{margin} {item}"
            )
    return "\n".join(lines)


def _bullets(sentences: tuple[str, ...]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
