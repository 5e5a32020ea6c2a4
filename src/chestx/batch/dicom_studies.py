"""The DICOM objects of a whole study, made at the end of a run from the parts of its images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from pydicom import Dataset

from chestx.batch.dicom_folder import show_object, stage_object
from chestx.batch.dicom_parts import Part, read_part
from chestx.batch.options import PARTS, BatchOptions, name_image_file
from chestx.domain import ChestxError, ModelIdentity
from chestx.export.dicom_common import encode_object
from chestx.export.dicom_source import DicomImage, read_dicom_image
from chestx.export.key_object import make_key_object
from chestx.export.structured_report import make_structured_report

log = logging.getLogger(__name__)

MAX_STUDY_IMAGES = 500
"""A study of more images is none: somebody gave many patients one UID."""

MAX_REASONS = 20
"""Different reasons for which objects could not be made that are told apart."""

_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")

T = TypeVar("T")


@dataclass(slots=True)
class Tally:
    """Counts of a run's objects."""

    written: Counter[str] = field(default_factory=Counter)
    without_source: Counter[str] = field(default_factory=Counter)
    not_made: Counter[str] = field(default_factory=Counter)
    repeated: int = 0

    def count_fault(self, kind: str, reason: str) -> None:
        """Reasons may hold numbers of an image: only the first ones are told apart."""
        told = f"{kind}: {reason}"
        is_known = told in self.not_made or len(self.not_made) < MAX_REASONS
        self.not_made[told if is_known else f"{kind}: other reasons"] += 1


class NotMadeError(Exception):
    """An object could not be made; the text says why."""


class StudyWriter:
    """Writes the objects of studies.

    Args:
        output: the run's folder, in which the parts wait.
        options: with the folder of the objects.
        model: who spoke.
        heatmap: how its maps are made, from its card.
    """

    def __init__(
        self, output: Path, *, options: BatchOptions, model: ModelIdentity, heatmap: str
    ) -> None:
        self._folder = Path(options.dicom)
        self._parts = output / PARTS
        self._kinds = options.objects
        self._is_3d = options.sr == "comprehensive-3d"
        self._model = model
        self._heatmap = heatmap

    def write(self, positions: Sequence[int], tally: Tally) -> None:
        """Writes them.

        Args:
            positions: of the rows of its images, from 0.
            tally: counts them.

        Raises:
            ChestxError: a part is gone or damaged.
        """
        makers: dict[str, Callable[[_StudyImages], Dataset | None]] = {
            "sr": lambda study: make_structured_report(
                study.images, is_3d=self._is_3d, heatmap=self._heatmap
            ),
            "kos": lambda study: make_key_object(study.images, study.captures),
        }
        asked = [kind for kind in self._kinds if kind in makers]
        if len(positions) > MAX_STUDY_IMAGES:
            for kind in asked:
                tally.count_fault(kind, f"a study of more than {MAX_STUDY_IMAGES} images is none")
            return
        study = self._load_study(positions)
        for kind in asked:
            try:
                data = make_file(makers[kind], study, position=positions[0]).data
            except NotMadeError as error:
                tally.count_fault(kind, str(error))
                continue
            if data:
                name = f"study-{positions[0] + 1:06d}.{kind}.dcm"
                stage_object(self._folder, name, data)
                show_object(self._folder, name)
                tally.written[kind] += 1

    def _load_study(self, positions: Sequence[int]) -> _StudyImages:
        study = _StudyImages()
        for position in positions:
            part = read_part(self._parts, position, model=self._model)
            assert part.result is not None
            image = read_dicom_image(part.result, model=self._model, assessed_at=part.assessed_at)
            study.images.append(image)
            if part.capture:
                study.captures[str(image.attributes.SOPInstanceUID)] = _rebuild(part.capture)
        return study


@dataclass(slots=True)
class _StudyImages:
    """The images of a study, and what names each one's Secondary Capture by the image's UID."""

    images: list[DicomImage] = field(default_factory=list)
    captures: dict[str, Dataset] = field(default_factory=dict)


def _rebuild(capture: Mapping[str, str]) -> Dataset:
    """As much of a Secondary Capture as a reference to it needs."""
    dataset = Dataset()
    for keyword, uid in capture.items():
        setattr(dataset, keyword, uid)
    return dataset


def name_objects(position: int, part: Part) -> dict[str, str]:
    """Kind -> name of the image's own objects."""
    return {
        kind: name_image_file(position, part.result.source, suffix=f"{kind}.dcm")
        for kind in part.objects
        if part.result is not None
    }


@dataclass(frozen=True, slots=True)
class MadeFile:
    """An object as it is written.

    Attributes:
        data: the file; empty where there was nothing to say.
        uids: by which others refer to it, by their keywords.
    """

    data: bytes = b""
    uids: Mapping[str, str] = field(default_factory=dict)


def make_file(make: Callable[[T], Dataset | None], of: T, *, position: int) -> MadeFile:
    """An object and its file, empty where there is nothing to say.

    The answer is there; that it could not be put into DICOM must not cost it, nor the others'.

    Raises:
        NotMadeError: it could not be made.
    """
    try:
        dataset = make(of)
        if dataset is None:
            return MadeFile()
        data = encode_object(dataset)
        return MadeFile(data, {keyword: str(dataset[keyword].value) for keyword in _UIDS})
    except ChestxError as error:
        raise NotMadeError(str(error)) from error
    except Exception as error:
        # The error's text is not told: it may quote the header and so the patient.
        kind = type(error).__name__
        frames = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
        log.error(
            "a DICOM object met an error that nobody foresaw: %s in %s",
            kind,
            " > ".join(frames),
            extra={"fields": {"row": position + 1}},
        )
        raise NotMadeError(f"internal error: {kind}") from error
