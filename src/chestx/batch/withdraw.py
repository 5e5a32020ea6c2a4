"""Results of chestx on disk -> the documents that take them back, one a patient and study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import Dataset

from chestx.batch.inputs import collect_inputs
from chestx.domain import ChestxError, Limits, UnreadableImageError, UsageError
from chestx.export.dicom_common import encode_object
from chestx.export.dicom_elements import read_elements
from chestx.export.key_object import WithdrawalReason, is_withdrawable, make_withdrawal
from chestx.files import write_whole
from chestx.images.dicom_attributes import write_attributes
from chestx.images.dicom_dataset import DataSet, Tag
from chestx.images.dicom_elements import read_dicom_file
from chestx.images.reading import load_bytes

MAX_OBJECTS = 10_000
"""That are withdrawn at once."""

_LIMITS = Limits(max_bytes=64 * 1024 * 1024)
_CONTRIBUTING_EQUIPMENT, _PURPOSE, _CODE_VALUE = 0x0018A001, 0x0040A170, 0x00080100
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_SUFFIX = ".dcm"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A document that was written.

    Attributes:
        path: of the file.
        objects: how many results it takes back.
    """

    path: Path
    objects: int


def withdraw_results(
    inputs: Sequence[str],
    output: Path,
    *,
    reason: WithdrawalReason,
    at: datetime,
    overwrite: bool = False,
) -> list[Withdrawal]:
    """Writes a Key Object Selection for each patient and study of results; all or nothing is read.

    Nothing is written unless every file is a result of chestx. The results themselves stay
    where they are; the documents go to the archive that holds them.

    Args:
        inputs: files, folders, patterns or lists.
        output: a name that ends in ``.dcm`` for the results of one study, else a folder.
        reason: why.
        at: when, with its time zone.
        overwrite: whether files that are there may be replaced.

    Raises:
        UsageError: an input that is no result of chestx, too many of them, or an output that
            does not fit or is there already.
        ChestxError: a file cannot be read or written.
    """
    paths = collect_inputs(inputs, standard_input=b"", take_objects=True).paths
    if len(paths) > MAX_OBJECTS:
        raise UsageError(
            f"expected at most {MAX_OBJECTS:,} results at once, got {len(paths):,}; "
            "withdraw them in parts"
        )
    studies: dict[tuple[str, str], list[Dataset]] = {}
    for path in paths:
        item = _read_result(path)
        key = (str(item.StudyInstanceUID), str(item.get("PatientID", "")))
        studies.setdefault(key, []).append(item)
    documents = [make_withdrawal(items, reason=reason, at=at) for items in studies.values()]
    targets = _name_targets(documents, output)
    _check_targets(targets, overwrite=overwrite)
    for document, target in zip(documents, targets, strict=True):
        _write_document(document, target)
    return [
        Withdrawal(target, len({str(item.SOPInstanceUID) for item in items}))
        for target, items in zip(targets, studies.values(), strict=True)
    ]


def _read_result(path: str) -> Dataset:
    """Whose a result is and what names it; its pixels and content are not decoded.

    The file may come from anywhere: it is walked by the reader that trusts no length.
    """
    try:
        file = read_dicom_file(load_bytes(path, limits=_LIMITS), limits=_LIMITS)
    except UnreadableImageError as error:
        raise ChestxError(f"{path!r}: {error}") from error
    if file.fault:
        raise ChestxError(f"{path!r}: {file.fault}")
    result = read_elements(write_attributes(file.data_set)).attributes
    result.ContributingEquipmentSequence = _read_equipment(file.data_set)
    if not is_withdrawable(result) or not all(keyword in result for keyword in _NEEDED):
        raise UsageError(
            f"{path!r}: expected a result that chestx made (picture, report, marks or key images), "
            "got another file; name results alone, nothing is withdrawn"
        )
    return result


def _read_equipment(data_set: DataSet) -> list[Dataset]:
    """Of each device that took part: who made it, and in which part it was."""
    equipment = []
    for item in _list_items(data_set, _CONTRIBUTING_EQUIPMENT):
        device = Dataset()
        device.Manufacturer = item.read_text(Tag.Manufacturer)[:64]
        device.PurposeOfReferenceCodeSequence = []
        for purpose in _list_items(item, _PURPOSE):
            code = purpose.elements.get(_CODE_VALUE)
            text = bytes(code.value[:16]).decode("ascii", "replace") if code else ""
            coded = Dataset()
            coded.CodeValue = text.strip(" \0")
            device.PurposeOfReferenceCodeSequence.append(coded)
        equipment.append(device)
    return equipment


def _list_items(data_set: DataSet, tag: int) -> tuple[DataSet, ...]:
    element = data_set.elements.get(tag)
    return element.items if element else ()


def _name_targets(documents: Sequence[Dataset], output: Path) -> list[Path]:
    """Named after their own UIDs, which are made of digits, never after what a file says."""
    if output.suffix.lower() != _SUFFIX or output.is_dir():
        return [output / f"withdrawal-{item.SOPInstanceUID}{_SUFFIX}" for item in documents]
    if len(documents) > 1:
        raise UsageError(
            f"{str(output)!r}: expected a folder for the withdrawals of {len(documents)} studies, "
            "got the name of a file"
        )
    return [output]


def _check_targets(targets: Sequence[Path], *, overwrite: bool) -> None:
    for target in targets:
        if target.is_dir():
            raise UsageError(f"{str(target)!r} is a folder; name another place")
        if not overwrite and (target.exists() or target.is_symlink()):
            raise UsageError(f"{str(target)!r} is there already; give --overwrite to replace it")


def _write_document(document: Dataset, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(target) as file:
            file.write(encode_object(document))
    except OSError as error:
        raise ChestxError(f"{str(target)!r} cannot be written: {error.strerror}") from error
