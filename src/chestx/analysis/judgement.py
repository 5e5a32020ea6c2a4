"""From the numbers of the model to the answer for an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chestx.domain import Prediction, Report
from chestx.images.preparation import PreparedImage
from chestx.models.classifier import Classifier, to_findings
from chestx.models.occlusion import SERVED_GRID, Score, compute_occlusion_maps
from chestx.models.scope import assess_scope
from chestx.shapes import UInt8
from chestx.terminology import choose_shown_label, decide_image, interpret


def judge_image(
    image: PreparedImage, prediction: Prediction, *, classifier: Classifier, source: str = ""
) -> Report:
    """Turns the numbers of one forward pass into the answer for its image.

    Args:
        image: as it was prepared.
        prediction: the model's numbers for it.
        classifier: the model that gave them.
        source: the path as it was given.
    """
    card = classifier.card
    distance = classifier.measure_distance(prediction.embedding)
    reasons, flags = assess_scope(card, image.header, image.quality, distance=distance)
    findings, any_finding = to_findings(card, prediction.probabilities)
    decision = decide_image(findings, any_finding, scope_reasons=reasons)
    has_maps = card.heatmap == "cam"
    return Report(
        source=source,
        sha256=image.sha256,
        header=image.header,
        model=classifier.identity,
        decision=decision,
        findings=findings,
        any_finding=any_finding,
        probabilities={
            label.key: float(p)
            for label, p in zip(card.labels, prediction.probabilities, strict=True)
        },
        scope_reasons=reasons,
        flags=flags,
        interpretation=interpret(findings, any_finding, scope_reasons=reasons),
        distance=distance,
        shown_label=choose_shown_label(findings) if decision.is_assessed and has_maps else "",
        map_scales={label.key: label.map_scale for label in card.labels},
        logits=prediction.logits,
        embedding=prediction.embedding,
        maps=prediction.maps if has_maps else None,
        preview=image.preview,
        pixel_sha256=image.pixel_sha256,
    )


def add_occlusion_maps(
    report: Report, pixels: UInt8[np.ndarray, "size size"], *, score: Score
) -> Report:
    """The report with maps that hide parts of the image, and the finding whose map is shown.

    It runs the network SERVED_GRID squared times and once more.

    Args:
        report: of an assessed image.
        pixels: model input.
        score: evidence of the model that made the report.
    """
    return replace(
        report,
        maps=compute_occlusion_maps(score, pixels, grid=SERVED_GRID),
        shown_label=choose_shown_label(report.findings),
    )
