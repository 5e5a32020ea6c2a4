"""A structured report of a study: TID 1500 in a Comprehensive 3D SR or a Comprehensive SR.

Source: PS3.3 A.35.13, A.35.3, C.17.1 to C.17.3; PS3.16 TID 1500.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from chestx.domain import UsageError
from chestx.export.content_items import put_document
from chestx.export.dicom_common import ObjectKind, complete_object, list_evidence
from chestx.export.dicom_identity import describe_speaker
from chestx.export.dicom_source import DicomImage
from chestx.export.structured_report_codes import REPORT
from chestx.export.structured_report_content import make_content
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
    dataset.SOPClassUID = Comprehensive3DSRStorage if is_3d else ComprehensiveSRStorage
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY"
    # The step in which the report was made, never that of the images (PS3.3 C.17.1, note 3).
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = _copy_items(
        images[0].attributes.get("ProcedureCodeSequence")
    )
    dataset.CurrentRequestedProcedureEvidenceSequence = list_evidence(
        image.attributes for image in images
    )
    if requests := list(_make_requests(images)):
        dataset.ReferencedRequestSequence = requests
    dataset.CodingSchemeIdentificationSequence = [_identify_scheme()]
    variant = "" if is_3d else " comprehensive"
    complete_object(dataset, images, kind=ObjectKind.SR, variant=variant)
    put_document(dataset, REPORT, make_content(images, heatmap=heatmap), template="1500")
    return dataset


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
