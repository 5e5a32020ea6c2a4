"""Every object that is made of a study, from files through the program's own code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset

from chestx.analysis import judge_image
from chestx.domain import Failure, Limits, Prediction, Result
from chestx.export.dicom_common import encode_object
from chestx.export.dicom_source import DicomImage, read_dicom_image
from chestx.export.key_object import WithdrawalReason, make_key_object, make_withdrawal
from chestx.export.presentation_state import NoPresentationStateError, make_presentation_state
from chestx.export.secondary_capture import make_secondary_capture
from chestx.export.structured_report import make_structured_report
from chestx.images.preparation import Preparation, PreparationError, prepare_image
from chestx.models.classifier import Classifier
from chestx.terminology import decide_image, interpret

ASSESSED_AT = datetime(2026, 3, 2, 14, 5, 6, 250000, tzinfo=UTC)

PROBABILITIES: Mapping[str, tuple[float, float]] = {
    "positive": (0.97, 0.01),
    "negative": (0.01, 0.01),
}
"""Answer -> probability of the first finding and of every other."""

Objects = dict[str, Dataset]


@dataclass(frozen=True, slots=True)
class Answerer:
    """Answers for files with numbers that are made up: everything else is the program's.

    Attributes:
        classifier: whose card and thresholds are used; its network is not run.
    """

    classifier: Classifier
    preview_size: int = 512

    def answer(self, data: bytes, answer: str = "positive") -> Result:
        """The result for a file.

        Args:
            data: a file.
            answer: ``positive``, ``uncertain``, ``negative``; or ``by scope`` for a positive
                one unless the image is out of scope.
        """
        preparation = Preparation(
            input=self.classifier.card.input,
            preview_size=self.preview_size,
            limits=Limits(),
            pixel_digest=True,
        )
        try:
            image = prepare_image(data, preparation)
        except PreparationError as error:
            return Failure(source="", reason=str(error), sha256=error.sha256, header=error.header)
        prediction = self._predict("positive" if answer == "by scope" else answer)
        report = judge_image(image, prediction, classifier=self.classifier)
        if answer == "by scope" or not report.scope_reasons:
            return report
        # What is proved are the objects; the scope rules have tests of their own.
        findings = report.findings
        return replace(
            report,
            decision=decide_image(findings, report.any_finding),
            scope_reasons=(),
            interpretation=interpret(findings, report.any_finding),
            shown_label=findings[0].key,
        )

    def read(self, data: bytes, answer: str = "positive") -> DicomImage:
        """A file with its result."""
        return read_dicom_image(
            self.answer(data, answer), model=self.classifier.identity, assessed_at=ASSESSED_AT
        )

    def _predict(self, answer: str) -> Prediction:
        """Numbers of a given answer, and evidence in one cell right of and above the middle."""
        labels = self.classifier.card.labels
        size = len(labels)
        first = next(i for i, label in enumerate(labels) if label.operating_point)
        if answer == "uncertain":
            point = labels[first].operating_point
            assert point is not None
            high, low = (point.uncertain_low + point.uncertain_high) / 2, 0.01
        else:
            high, low = PROBABILITIES[answer]
        probabilities = np.full(size, low, np.float32)
        probabilities[first] = high
        rest = [i for i, label in enumerate(labels) if label.operating_point is None]
        if rest:
            probabilities[rest[0]] = 1 - probabilities.sum() + probabilities[rest[0]]
        maps = np.zeros((size, 7, 7), np.float32)
        maps[:, 2, 4] = [label.map_scale for label in labels]
        embedding = np.zeros(self.classifier.card.embedding_size, np.float32)
        return Prediction(np.log(probabilities), probabilities, embedding, maps)


def make_objects(
    images: Sequence[DicomImage], *, with_withdrawal: bool = False, is_3d: bool = True
) -> Objects:
    """Name -> object: all that is made of the images of one study."""
    objects: Objects = {"sr": make_structured_report(images, is_3d=is_3d)}
    captures: dict[str, Dataset] = {}
    for number, image in enumerate(images, start=1):
        if image.report is None:
            continue
        capture = make_secondary_capture(image)
        captures[str(image.attributes.SOPInstanceUID)] = capture
        objects[f"sc{number}"] = capture
        # An image in colour has none: the state is one of grey values.
        with suppress(NoPresentationStateError):
            objects[f"gsps{number}"] = make_presentation_state(image)
    key_object = make_key_object(images, captures)
    if key_object is not None:
        objects["kos"] = key_object
    if with_withdrawal:
        made = list(objects.values())
        objects["withdrawal"] = make_withdrawal(
            made, reason=WithdrawalReason.SUPERSEDED, at=ASSESSED_AT
        )
    return objects


def encode_objects(objects: Objects) -> dict[str, bytes]:
    """Name -> the whole file."""
    return {name: encode_object(data_set) for name, data_set in objects.items()}
