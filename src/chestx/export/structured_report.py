"""A structured report of a study: TID 1500 in a Comprehensive 3D SR or a Comprehensive SR.

Source: PS3.3 A.35.13, A.35.3, C.17.1 to C.17.3; PS3.16 TID 1500.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from chestx.domain import UsageError
from chestx.export.dicom_charset import choose_character_set
from chestx.export.dicom_common import (
    ObjectKind,
    complete_object,
    make_code,
    make_image_reference,
)
from chestx.export.dicom_identity import describe_speaker
from chestx.export.dicom_source import DicomImage
from chestx.export.structured_report_codes import REPORT
from chestx.export.structured_report_content import make_content
from chestx.export.structured_report_items import Item, encode_items, list_texts
from chestx.terminology import HEATMAP_CODES

LOCAL_SCHEME = "99CHESTX"
LOCAL_SCHEME_UID = "2.25.3444359847978931288609298972660809145"
"""Of this project's codes: a UUID that was drawn once."""


def make_structured_report(
    images: Sequence[DicomImage], *, is_3d: bool = True, heatmap: str = "cam"
) -> Dataset:
    """The answer for a study, for machines and readers of reports.

    It names every image that was given; one that was not assessed with the reason.

    Args:
        images: of one study, answered by one model.
        is_3d: as a Comprehensive 3D SR, which most receivers of results of machines ask for;
            else as a Comprehensive SR, which older ones know.
        heatmap: how the maps were made, from the model's card: ``cam``, ``occlusion`` or
            ``none``.

    Raises:
        UsageError: there is no image, or the images are of several studies or models.
    """
    _check(images, heatmap)
    dataset = Dataset()
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [make_code(REPORT)]
    dataset.ContentTemplateSequence = [_make_template()]
    dataset.SOPClassUID = Comprehensive3DSRStorage if is_3d else ComprehensiveSRStorage
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY"
    first = images[0].attributes
    dataset.ReferencedPerformedProcedureStepSequence = _copy_items(
        first.get("ReferencedPerformedProcedureStepSequence")
    )
    dataset.PerformedProcedureCodeSequence = _copy_items(first.get("ProcedureCodeSequence"))
    dataset.CurrentRequestedProcedureEvidenceSequence = [_make_evidence(images)]
    if requests := list(_make_requests(images)):
        dataset.ReferencedRequestSequence = requests
    dataset.CodingSchemeIdentificationSequence = [_identify_scheme()]
    variant = "" if is_3d else " comprehensive"
    complete_object(dataset, images, kind=ObjectKind.SR, variant=variant)
    _put_content(dataset, make_content(images, heatmap=heatmap))
    return dataset


def _put_content(dataset: Dataset, content: Sequence[Item]) -> None:
    """Puts the content in as it will be written; pydicom reads it when it is asked for.

    It comes last, since the texts of the rest may have changed the character set.
    """
    stated = dataset.get("SpecificCharacterSet") or ()
    terms = (stated,) if isinstance(stated, str) else tuple(stated)
    probe = Dataset()
    probe.TextValue = "\n".join(text for text in list_texts(content) if not text.isascii())
    if terms != (chosen := choose_character_set(probe, terms)):
        dataset.SpecificCharacterSet = list(chosen) if len(chosen) > 1 else chosen[0]
    encodings = convert_encodings(list(chosen)) if chosen else [default_encoding]
    value = encode_items(content, encodings=encodings)
    tag = Tag("ContentSequence")
    dataset[tag] = RawDataElement(tag, "SQ", len(value), value, 0, False, True)
    # So that pydicom writes the bytes as they are, and does not read and write them again.
    dataset.set_original_encoding(False, True, encodings if chosen else default_encoding)


def _make_template() -> Dataset:
    item = Dataset()
    item.MappingResource = "DCMR"
    item.TemplateIdentifier = "1500"
    return item


def _check(images: Sequence[DicomImage], heatmap: str) -> None:
    speakers = {repr(describe_speaker(image)) for image in images}
    if len(speakers) != 1:
        raise UsageError(
            f"a structured report: expected images that one model answered, got {len(images)} "
            f"images of {len(speakers)}; make one report a model"
        )
    if heatmap not in (*HEATMAP_CODES, "none"):
        raise UsageError(f"heatmap: expected cam, occlusion or none, got {heatmap!r:.80}")


def _copy_items(sequence: Sequence[Dataset] | None) -> list[Dataset]:
    return [deepcopy(item) for item in sequence or ()]


def _make_evidence(images: Sequence[DicomImage]) -> Dataset:
    """Every object that the report refers to, by series. Source: PS3.3 C.17.2.1, Table 10-4."""
    series: dict[str, Dataset] = {}
    for image in images:
        uid = str(image.attributes.SeriesInstanceUID)
        if uid not in series:
            series[uid] = Dataset()
            series[uid].SeriesInstanceUID = uid
            series[uid].ReferencedSOPSequence = []
        series[uid].ReferencedSOPSequence.append(make_image_reference(image))
    item = Dataset()
    item.StudyInstanceUID = images[0].attributes.StudyInstanceUID
    item.ReferencedSeriesSequence = list(series.values())
    return item


def _make_requests(images: Sequence[DicomImage]) -> Iterator[Dataset]:
    """The requests that the images were made for, each once. Source: PS3.3 C.17.2.4."""
    seen: list[Any] = []
    for image in images:
        for stated in image.attributes.get("RequestAttributesSequence") or ():
            request = _make_request(image.attributes, stated)
            if request not in seen:
                seen.append(request)
                yield request


def _make_request(attributes: Dataset, stated: Dataset) -> Dataset:
    request = Dataset()
    request.StudyInstanceUID = attributes.StudyInstanceUID
    request.ReferencedStudySequence = []
    request.AccessionNumber = stated.get("AccessionNumber") or attributes.get("AccessionNumber", "")
    request.PlacerOrderNumberImagingServiceRequest = ""
    request.FillerOrderNumberImagingServiceRequest = ""
    request.RequestedProcedureID = stated.get("RequestedProcedureID", "")
    request.RequestedProcedureDescription = stated.get("RequestedProcedureDescription", "")
    request.RequestedProcedureCodeSequence = _copy_items(
        stated.get("RequestedProcedureCodeSequence")
    )
    return request


def _identify_scheme() -> Dataset:
    """Whose the codes are that no public scheme has. Source: PS3.3 C.12.1.1.4."""
    item = Dataset()
    item.CodingSchemeDesignator = LOCAL_SCHEME
    item.CodingSchemeUID = LOCAL_SCHEME_UID
    item.CodingSchemeName = "chestx local codes"
    item.CodingSchemeResponsibleOrganization = "chestx"
    return item
