"""The DICOM objects of ``chestx predict --dicom``: of each image at once, of a study at the end.

An image's own objects are made in its thread and appear in the order of the rows. What its
study's objects need is kept on disk until the last row is written (``batch.dicom_parts``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import Dataset

from chestx.batch.dicom_folder import drop_object, remove_objects, show_object, stage_object
from chestx.batch.dicom_parts import Part, read_part, write_part
from chestx.batch.dicom_studies import (
    MadeFile,
    NotMadeError,
    StudyWriter,
    Tally,
    make_file,
    name_objects,
)
from chestx.batch.options import OBJECT_KINDS, PARTS, BatchOptions, ObjectSummary
from chestx.domain import ChestxError, Decision, ModelIdentity, Result, group_studies
from chestx.export.dicom_source import DicomImage, NoDicomSourceError, read_dicom_image
from chestx.export.presentation_state import make_presentation_state
from chestx.export.secondary_capture import make_secondary_capture

log = logging.getLogger(__name__)

_OF_IMAGE: dict[str, Callable[[DicomImage], Dataset]] = {
    "sc": make_secondary_capture,
    "gsps": make_presentation_state,
}

ImageKey = tuple[str, str, str, bool]
"""Patient, study and UID of an image: what is given twice has its objects once."""


@dataclass(frozen=True, slots=True)
class MadeObjects:
    """The objects of one image, on the disk and not yet shown.

    Attributes:
        key: of the DICOM image; None where there is none.
        names: of the objects.
    """

    key: ImageKey | None
    names: tuple[str, ...]


class ObjectWriter:
    """Writes the objects of one run.

    Args:
        output: the run's folder, in which the parts wait.
        options: with the folder of the objects.
        model: who speaks.
        heatmap: how its maps are made, from its card.
    """

    def __init__(
        self, output: Path, *, options: BatchOptions, model: ModelIdentity, heatmap: str
    ) -> None:
        self._folder = Path(options.dicom)
        self._parts = output / PARTS
        self._kinds = options.objects
        self._model = model
        self._studies = StudyWriter(output, options=options, model=model, heatmap=heatmap)
        self._checked: set[ImageKey] = set()
        self._shown: set[ImageKey] = set()

    def is_whole(self, position: int) -> bool:
        """Whether the part and the objects of a row are there; to be asked in order, from 0."""
        try:
            part = read_part(self._parts, position, model=self._model)
        except ChestxError:
            return False
        if _is_repeated(part, self._checked):
            return True
        return all(
            _has_size(self._folder / name, part.objects[kind])
            for kind, name in name_objects(position, part).items()
        )

    def begin(self, done: int) -> None:
        """Takes away what is not of the rows that are taken over.

        Args:
            done: how many rows are, from the first.

        Raises:
            ChestxError: something cannot be taken away.
        """
        self._parts.mkdir(exist_ok=True)
        keep: set[str] = set()
        for position, part in self._read_parts(done):
            if not _is_repeated(part, self._shown):
                keep.update(name_objects(position, part).values())
        remove_objects(self._folder, keep=keep)

    def make(self, position: int, result: Result) -> MadeObjects:
        """Makes the objects of one image; several threads may at once.

        Args:
            position: of its row, from 0.
            result: with its preview.
        """
        # As it is read again from the part, so that study and image objects agree.
        assessed_at = datetime.fromisoformat(datetime.now().astimezone().isoformat())
        try:
            image = read_dicom_image(result, model=self._model, assessed_at=assessed_at)
        except NoDicomSourceError as error:
            part = Part(assessed_at=assessed_at, without_source=str(error))
            write_part(self._parts, position, part)
            return MadeObjects(None, ())
        if image.repairs:
            fields = {"row": position + 1, "repairs": list(image.repairs)}
            log.info("a header was repaired", extra={"fields": fields})
        files: dict[str, MadeFile] = {}
        not_made: dict[str, str] = {}
        for kind in self._kinds:
            if kind in _OF_IMAGE and image.report is not None:
                try:
                    files[kind] = make_file(_OF_IMAGE[kind], image, position=position)
                except NotMadeError as error:
                    not_made[kind] = str(error)
        part = Part(
            assessed_at=assessed_at,
            result=result,
            objects={kind: len(file.data) for kind, file in files.items()},
            not_made=not_made,
            capture=dict(files["sc"].uids) if "sc" in files else {},
        )
        names = name_objects(position, part)
        for kind, file in files.items():
            stage_object(self._folder, names[kind], file.data)
        write_part(self._parts, position, part)
        return MadeObjects(_identify(result), tuple(names.values()))

    def show(self, made: MadeObjects) -> None:
        """Gives the objects of an image their names; to be called in the order of the rows.

        An image that was given before has its objects already.
        """
        is_repeated = made.key in self._shown
        if made.key is not None:
            self._shown.add(made.key)
        for name in made.names:
            if is_repeated:
                drop_object(self._folder, name)
            else:
                show_object(self._folder, name)

    def finish(self, images: int) -> ObjectSummary:
        """Makes the objects of the studies from the parts of all rows, and counts.

        Args:
            images: how many rows there are.

        Raises:
            ChestxError: a part is gone or damaged.
        """
        tally = Tally()
        members: list[_Member] = []
        seen: set[ImageKey] = set()
        for position, part in self._read_parts(images):
            if part.result is None:
                tally.without_source[part.without_source] += 1
            elif _is_repeated(part, seen):
                tally.repeated += 1
            else:
                tally.written.update(part.objects.keys())
                for kind, reason in part.not_made.items():
                    tally.count_fault(kind, reason)
                members.append(_Member.from_result(position, part.result))
        answered = [member for member in members if not _is_answered_by_a_copy(member.key, seen)]
        tally.repeated += len(members) - len(answered)
        members = answered
        if "sr" in self._kinds or "kos" in self._kinds:
            for study in group_studies(members):
                self._studies.write([member.position for member in study.answers], tally)
        return ObjectSummary(
            written={kind: tally.written[kind] for kind in OBJECT_KINDS if kind in self._kinds},
            without_source=dict(sorted(tally.without_source.items())),
            repeated=tally.repeated,
            not_made=dict(sorted(tally.not_made.items())),
        )

    def _read_parts(self, count: int) -> Iterator[tuple[int, Part]]:
        for position in range(count):
            yield position, read_part(self._parts, position, model=self._model)


@dataclass(frozen=True, slots=True)
class _Member:
    """What grouping needs of an image, so that a hundred thousand fit into memory."""

    position: int
    key: ImageKey
    source: str
    decision: Decision
    study_instance_uid: str
    patient_id: str

    @classmethod
    def from_result(cls, position: int, result: Result) -> _Member:
        return cls(
            position,
            _identify(result),
            result.source,
            result.decision,
            result.study_instance_uid,
            result.patient_id,
        )


def _identify(result: Result) -> ImageKey:
    assert result.header is not None
    uid = result.header.sop_instance_uid
    # A damaged copy must not stand in the way of a whole one.
    return result.patient_id, result.study_instance_uid, uid, result.decision is Decision.FAILED


def _is_answered_by_a_copy(key: ImageKey, seen: Collection[ImageKey]) -> bool:
    """Whether this image failed while another copy of it could be read."""
    *image, has_failed = key
    return has_failed and (*image, False) in seen


def _is_repeated(part: Part, seen: set[ImageKey]) -> bool:
    """Whether the DICOM image of a part was seen before; it is from now on."""
    if part.result is None:
        return False
    key = _identify(part.result)
    is_repeated = key in seen
    seen.add(key)
    return is_repeated


def _has_size(path: Path, size: int) -> bool:
    try:
        return os.stat(path, follow_symlinks=False).st_size == size
    except OSError:
        return False
