"""Made-up outcomes: what a model might have said of images that nobody need read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pytest

from chestx.datasets.example import Target, Task
from chestx.domain import (
    Activation,
    Decision,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    ModelIdentity,
    OperatingPoint,
    ScopeSpec,
)
from chestx.evaluation.outcomes import Outcomes
from chestx.models.classifier import apply_temperature, to_findings
from chestx.terminology import decide_image

SINGLE_KEYS = ("NORMAL", "PNEUMONIA", "COVID19")
MULTI_KEYS = ("PNEUMONIA", "EDEMA", "PLEURAL_EFFUSION", "NODULE")
FEATURES = 8


class MakeOutcomes(Protocol):
    """A factory of outcomes; see ``make_outcomes`` for what can be asked."""

    def __call__(
        self,
        images: int = 240,
        *,
        seed: int = 0,
        strength: float = 2.0,
        per_group: int = 2,
        failed: int = 4,
        out_of_scope: int = 6,
        sources: Sequence[str] = ("north", "south"),
        attributes: Mapping[str, Sequence[str]] | None = None,
    ) -> Outcomes: ...


def make_card(keys: Sequence[str], activation: Activation) -> ModelCard:
    """A card with bands around 0.4; NORMAL, where it is there, is the no_finding label."""
    point = OperatingPoint(0.4, 0.25, 0.6)
    labels = tuple(
        Label(key=key, display="nothing found", role=LabelRole.NO_FINDING)
        if key == "NORMAL"
        else Label(key=key, display=key.lower().replace("_", " "), operating_point=point)
        for key in keys
    )
    return ModelCard(
        format_version=1,
        name="made-up",
        version="1.0",
        summary="A model for tests.",
        labels=labels,
        activation=activation,
        temperature=1.0,
        input=InputSpec(size=32),
        heatmap="cam",
        any_finding=OperatingPoint(0.5, 0.3, 0.7) if "NORMAL" in keys else None,
        scope=ScopeSpec(),
        embedding_size=FEATURES,
        intended_use="Tests.",
        not_looked_for="Everything.",
        licence="None.",
        files={},
    )


def make_outcomes(
    targets: np.ndarray,
    card: ModelCard,
    *,
    task: Task,
    generator: np.random.Generator,
    strength: float,
    per_group: int,
    failed: int,
    out_of_scope: int,
    sources: Sequence[str],
    attributes: Mapping[str, Sequence[str]] | None,
) -> Outcomes:
    """Outcomes whose logits are noise plus ``strength`` where the label is present.

    Args:
        targets: values of Target, one row an image.
        card: of the model that is said to have spoken.
        task: of the manifest.
        generator: of the noise.
        strength: 0 makes a model that knows nothing.
        per_group: neighbouring images that share a patient.
        failed: the last images of the table fail.
        out_of_scope: so many before those are out of scope.
        sources: taken in turn.
        attributes: further columns, or others in place of the ones made here.
    """
    images, labels = targets.shape
    present = targets == Target.PRESENT
    noise = generator.normal(size=(images, labels))
    logits = (noise + strength * present).astype(np.float32)
    embeddings = generator.normal(size=(images, FEATURES)).astype(np.float32)
    embeddings[:, :labels] += logits
    probabilities = apply_temperature(logits, card)
    decisions = [decide_image(*to_findings(card, row), scope_reasons=()) for row in probabilities]
    reasons: list[tuple[str, ...]] = [()] * images
    for row in range(images - failed - out_of_scope, images - failed):
        decisions[row], reasons[row] = Decision.OUT_OF_SCOPE, ("lateral",)
    for row in range(images - failed, images):
        decisions[row] = Decision.FAILED
        reasons[row] = ("expected a PNG, JPEG, TIFF, BMP or DICOM file, got none of them",)
        for array in (logits, probabilities, embeddings):
            array[row] = np.nan
    has_failed = np.array([decision is Decision.FAILED for decision in decisions], dtype=bool)
    columns = {
        "source": [sources[row % len(sources)] for row in range(images)],
        "view": ["PA" if row % 3 else "AP" for row in range(images)],
        "age_band": ["40 to 59" if row % 5 else "" for row in range(images)],
        "sex": ["F" if row % 2 else "M" for row in range(images)],
        "population": [""] * images,
        "device": [""] * images,
        "split": ["test"] * images,
        "patient_stated": ["yes"] * images,
        **(attributes or {}),
    }
    sizes = np.stack([200 + 20 * present[:, -1], np.full(images, 300)], axis=1)
    sizes[has_failed] = 0
    thumbnails = generator.integers(0, 200, size=(images, 16, 16))
    thumbnails += 20 * present[:, -1, None, None]
    thumbnails[has_failed] = 0
    return Outcomes(
        card=card,
        identity=ModelIdentity("made-up", "1.0", "0" * 64),
        task=task,
        paths=tuple(f"images/{row:05d}.png" for row in range(images)),
        decisions=tuple(decisions),
        reasons=tuple(reasons),
        targets=targets.astype(np.int8),
        logits=logits,
        probabilities=probabilities,
        embeddings=embeddings,
        groups=np.arange(images) // per_group,
        attributes={name: tuple(column) for name, column in columns.items()},
        boxes=((),) * images,
        image_sizes=sizes.astype(np.int64),
        formats=tuple("" if gone else "PNG" for gone in has_failed),
        thumbnails=thumbnails.astype(np.uint8),
    )


@pytest.fixture(scope="session")
def single_label_outcomes() -> MakeOutcomes:
    """A factory: NORMAL, PNEUMONIA and COVID19 in turn by patient, softmax, with a band."""

    def make(
        images: int = 240,
        *,
        seed: int = 0,
        strength: float = 2.0,
        per_group: int = 2,
        failed: int = 4,
        out_of_scope: int = 6,
        sources: Sequence[str] = ("north", "south"),
        attributes: Mapping[str, Sequence[str]] | None = None,
    ) -> Outcomes:
        label = (np.arange(images) // per_group) % len(SINGLE_KEYS)
        return make_outcomes(
            np.eye(len(SINGLE_KEYS), dtype=np.int8)[label],
            make_card(SINGLE_KEYS, Activation.SOFTMAX),
            task=Task.SINGLE_LABEL,
            generator=np.random.default_rng(seed),
            strength=strength,
            per_group=per_group,
            failed=failed,
            out_of_scope=out_of_scope,
            sources=sources,
            attributes=attributes,
        )

    return make


@pytest.fixture(scope="session")
def multi_label_outcomes() -> MakeOutcomes:
    """A factory: four findings, sigmoid; some targets unknown; NODULE not asked in the last source.

    About one image in three has each finding, one in ten is not settled.
    """

    def make(
        images: int = 240,
        *,
        seed: int = 0,
        strength: float = 2.0,
        per_group: int = 2,
        failed: int = 4,
        out_of_scope: int = 6,
        sources: Sequence[str] = ("north", "south"),
        attributes: Mapping[str, Sequence[str]] | None = None,
    ) -> Outcomes:
        generator = np.random.default_rng(seed)
        shape = (images, len(MULTI_KEYS))
        targets = (generator.random(shape) < 1 / 3).astype(np.int8)
        targets[generator.random(shape) < 0.1] = Target.UNKNOWN
        if len(sources) > 1:
            targets[len(sources) - 1 :: len(sources), -1] = Target.NOT_ASKED
        return make_outcomes(
            targets,
            make_card(MULTI_KEYS, Activation.SIGMOID),
            task=Task.MULTI_LABEL,
            generator=generator,
            strength=strength,
            per_group=per_group,
            failed=failed,
            out_of_scope=out_of_scope,
            sources=sources,
            attributes=attributes,
        )

    return make
