"""Which objects of a study to look at first, and which no longer to look at (DICOM Key Object).

A Key Object Selection points at objects and says why. One names the radiographs with a
positive answer; the other takes back results of chestx, after which archives by IHE Imaging
Object Change Management hide or mark what it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from chestx import __version__
from chestx.domain import (
    CAVEAT,
    MANUFACTURER,
    Decision,
    Failure,
    ImageHeader,
    ModelIdentity,
    UsageError,
)
from chestx.export import structured_report_codes as rows
from chestx.export.content_items import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    Item,
    make_choice,
    make_object,
    make_text,
    make_uid,
    put_document,
    refer_to,
)
from chestx.export.dicom_common import (
    PROCESSING_EQUIPMENT,
    ObjectKind,
    complete_object,
    list_evidence,
)
from chestx.export.dicom_identity import derive_device_uid, is_derived_uid
from chestx.export.dicom_source import DicomImage
from chestx.terminology import Code, describe_thresholds, write_headline

# Source: PS3.16 TID 2010, CID 7010, CID 7011.
OF_INTEREST = Code("113000", "DCM", "Of Interest")
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
TITLE_MODIFIER = Code("113011", "DCM", "Document Title Modifier")
KEY_OBJECT_DESCRIPTION = Code("113012", "DCM", "Key Object Description")
SUPERSEDED = Code("SUPERSEDED", "99CHESTX", "Superseded by a newer result")

_TEMPLATE = "2010"
_TITLE = "AI result, not for diagnosis."
_POSITIVE = "{positive} of {count} images of this study: {answers}."
_WITHDRAWN = "Results of chestx withdrawn: {reason}."
_WITHDRAWAL = "Withdrawal of results"


class WithdrawalReason(StrEnum):
    """Why results are taken back."""

    QUALITY = "quality"
    SUPERSEDED = "superseded"

    @property
    def sentence(self) -> str:
        """For a person."""
        return _SENTENCES[self]


_SENTENCES = {
    WithdrawalReason.QUALITY: "they are not to be relied on",
    WithdrawalReason.SUPERSEDED: "a newer result takes their place",
}

# The codes of CID 7011 name a cause, most of them of a radiograph that went wrong. Here nobody
# stated one, and the modifier is optional.
_MODIFIERS: dict[WithdrawalReason, tuple[Code, ...]] = {
    WithdrawalReason.QUALITY: (),
    WithdrawalReason.SUPERSEDED: (SUPERSEDED,),
}


def make_key_object(
    images: Sequence[DicomImage], captures: Mapping[str, Dataset]
) -> Dataset | None:
    """Points at the radiographs with a positive answer, and at their result pictures.

    Args:
        images: of one study.
        captures: SOPInstanceUID of a radiograph -> its Secondary Capture, where one was made.

    Returns:
        A Key Object Selection "Of Interest"; None where no image is positive.

    Raises:
        UsageError: the images are of several studies.
    """
    positive = [x for x in images if x.report and x.report.decision is Decision.POSITIVE]
    if not positive:
        return None
    pictures = [
        captures[uid] for x in positive if (uid := str(x.attributes.SOPInstanceUID)) in captures
    ]
    named = [*(image.attributes for image in positive), *pictures]
    content = [
        *_make_context(positive[0], name=str(positive[0].model)),
        make_text(CONTAINS, KEY_OBJECT_DESCRIPTION, _describe_positive(images, positive)),
        *(make_object(CONTAINS, None, refer_to(item, was_read=True)) for item in named),
    ]
    dataset = _make_key_object(named)
    # With and without pictures it names other objects, so it is another object.
    variant = f" with {len(pictures)} pictures" if pictures else ""
    complete_object(dataset, images, kind=ObjectKind.KOS, variant=variant)
    put_document(dataset, OF_INTEREST, content, template=_TEMPLATE)
    return dataset


def make_withdrawal(
    objects: Sequence[Dataset], *, reason: WithdrawalReason, at: datetime
) -> Dataset:
    """Takes back objects that chestx made, as IHE Imaging Object Change Management has it.

    Args:
        objects: of one patient and study, made by chestx; pixels and content are not looked at.
        reason: why.
        at: when, with its time zone.

    Returns:
        A Key Object Selection "Rejected for Quality Reasons". The same objects and reason
        give the same SOPInstanceUID.

    Raises:
        UsageError: there is no object, one is none of chestx or a withdrawal itself, or they
            are of several patients or studies.

    Source: IHE Radiology, Imaging Object Change Management, Rejection Note Stored (RAD-66).
    """
    for item in objects:
        if not is_withdrawable(item):
            raise UsageError(
                "a withdrawal: expected results that chestx made, got another object; "
                "withdraw others with the system that made them"
            )
    named = list({str(item.SOPInstanceUID): item for item in objects}.values())
    named.sort(key=lambda item: str(item.SOPInstanceUID))
    if len({str(item.get("PatientID", "")) for item in named}) > 1:
        raise UsageError(
            "a withdrawal: expected results of one patient, got results of several; "
            "make one a patient and study"
        )
    withdrawn = [_describe_withdrawn(item, reason=reason, at=at) for item in named]
    if not withdrawn:
        raise UsageError("a withdrawal: expected results of chestx, got none; name some")
    content = [
        *(make_choice(HAS_CONCEPT_MOD, TITLE_MODIFIER, code) for code in _MODIFIERS[reason]),
        *_make_context(withdrawn[0], name=f"{MANUFACTURER} {__version__}"),
        make_text(CONTAINS, KEY_OBJECT_DESCRIPTION, _WITHDRAWN.format(reason=reason.sentence)),
        *(make_object(CONTAINS, None, refer_to(item)) for item in named),
    ]
    dataset = _make_key_object(named)
    complete_object(dataset, withdrawn, kind=ObjectKind.WITHDRAWAL)
    _name_program(dataset)
    put_document(dataset, REJECTED_FOR_QUALITY, content, template=_TEMPLATE)
    return dataset


def is_withdrawable(dataset: Dataset) -> bool:
    """Whether chestx made an object of a result: by its equipment, number of series and UID.

    The equipment alone does not tell: a derived object of another maker carries it on, and
    anybody may write it into a radiograph, which a withdrawal would then hide.
    """
    if not is_derived_uid(str(dataset.get("SOPInstanceUID", ""))):
        return False
    numbers = {kind.series_number for kind in ObjectKind if kind is not ObjectKind.WITHDRAWAL}
    if str(dataset.get("SeriesNumber", "")) not in map(str, numbers):
        return False
    return any(
        str(item.get("Manufacturer", "")) == MANUFACTURER
        and any(
            str(purpose.get("CodeValue", "")) == PROCESSING_EQUIPMENT.value
            for purpose in item.get("PurposeOfReferenceCodeSequence") or ()
        )
        for item in dataset.get("ContributingEquipmentSequence") or ()
    )


def _describe_positive(images: Sequence[DicomImage], positive: Sequence[DicomImage]) -> str:
    answers = [
        write_headline(report.decision, report.findings, report.any_finding)
        for image in positive
        if (report := image.report)
    ]
    found = _POSITIVE.format(
        positive=len(positive), count=len(images), answers="; ".join(dict.fromkeys(answers))
    )
    model = positive[0].model
    return " ".join([_TITLE, found, CAVEAT, f"{model}.", describe_thresholds(model)])


def _describe_withdrawn(item: Dataset, *, reason: WithdrawalReason, at: datetime) -> DicomImage:
    """An object in the place of an image that an object is made of; its answer is the reason."""
    header = ImageHeader(
        format="DICOM",
        rows=0,
        columns=0,
        sop_instance_uid=str(item.SOPInstanceUID),
        # One result may be filed under two patients, before and after its patient was corrected.
        dicom_attributes=f"{item.StudyInstanceUID}\\{item.get('PatientID', '')}".encode(),
    )
    return DicomImage(
        result=Failure(source="", reason=reason.value, header=header),
        attributes=item,
        model=ModelIdentity(name=MANUFACTURER, version=__version__, checksum=""),
        assessed_at=at,
    )


def _name_program(dataset: Dataset) -> None:
    """A withdrawal is made by the program, on somebody's word; no model spoke."""
    for item in (dataset, *dataset.ContributingEquipmentSequence):
        item.pop("DeviceSerialNumber", None)
        item.SoftwareVersions = __version__
    dataset.ContributingEquipmentSequence[0].ContributionDescription = _WITHDRAWAL


def _make_key_object(named: Sequence[Dataset]) -> Dataset:
    """An object with all that it refers to. Source: PS3.3 A.35.4, C.17.6."""
    dataset = Dataset()
    dataset.SOPClassUID = KeyObjectSelectionDocumentStorage
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = list_evidence(named)
    return dataset


def _make_context(image: DicomImage, *, name: str) -> list[Item]:
    """In which language, and who speaks: a device (TID 1204, TID 1002, TID 1004)."""
    return [
        make_choice(HAS_CONCEPT_MOD, rows.LANGUAGE_OF_CONTENT, rows.ENGLISH),
        make_choice(HAS_OBS_CONTEXT, rows.OBSERVER_TYPE, rows.DEVICE),
        make_uid(HAS_OBS_CONTEXT, rows.DEVICE_UID, derive_device_uid(image)),
        make_text(HAS_OBS_CONTEXT, rows.DEVICE_NAME, name),
        make_text(HAS_OBS_CONTEXT, rows.DEVICE_MANUFACTURER, MANUFACTURER),
        make_text(HAS_OBS_CONTEXT, rows.DEVICE_MODEL, image.model.name),
    ]
