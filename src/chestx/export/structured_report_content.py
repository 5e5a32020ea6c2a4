"""What a structured report says of a study, as the content tree of TID 1500. Source: PS3.16.

The study's answer, the caveat and the calibration stand first; then the image library; then
for each image whether it was assessed and what is said of it, a group for each finding, and
for a positive finding a group for each outline of its heatmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from chestx import __version__
from chestx.domain import (
    ANY_FINDING,
    CAVEAT,
    MANUFACTURER,
    Failure,
    Finding,
    FindingDecision,
    group_studies,
)
from chestx.export import structured_report_codes as rows
from chestx.export.content_items import (
    CONTAINS,
    HAS_ACQ_CONTEXT,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    HAS_PROPERTIES,
    Item,
    ObjectReference,
    make_choice,
    make_container,
    make_number,
    make_object,
    make_polygon,
    make_text,
    make_uid,
    refer_to,
)
from chestx.export.dicom_identity import derive_device_uid, derive_tracking_uid
from chestx.export.dicom_source import DicomImage
from chestx.rendering.contours import Region, find_regions
from chestx.terminology import (
    CERTAINTY_OF_FINDING,
    CHEST,
    DECISION_CODES,
    ENGLISH,
    FAILED,
    HEATMAP_CODES,
    NOT_ATTEMPTED,
    PERCENT,
    PLAIN_CHEST_RADIOGRAPH,
    PLAIN_RADIOGRAPH,
    SUCCEEDED,
    SUMMARY_OF_DETECTIONS,
    VISUAL_EXPLANATION,
    Code,
    describe_certainty,
    describe_identity,
    describe_operating_point,
    describe_thresholds,
    get_concept,
    get_site,
    interpret_result,
    interpret_study,
)


def make_content(images: Sequence[DicomImage], *, heatmap: str) -> list[Item]:
    """What stands under the root of the content tree.

    Args:
        images: of one study.
        heatmap: how the maps were made, a key of ``HEATMAP_CODES``.
    """
    findings = [
        group
        for number, image in enumerate(images, 1)
        for group in _make_image_groups(image, number, heatmap)
    ]
    first = images[0]
    is_assessed = any(image.result.decision.is_assessed for image in images)
    procedure = PLAIN_CHEST_RADIOGRAPH if is_assessed else PLAIN_RADIOGRAPH
    return [
        make_choice(HAS_CONCEPT_MOD, rows.LANGUAGE_OF_CONTENT, rows.ENGLISH),
        *_make_observer(first),
        make_choice(HAS_CONCEPT_MOD, rows.PROCEDURE_REPORTED, procedure),
        _make_evaluations(images),
        _make_library(images),
        make_container(
            CONTAINS,
            rows.IMAGING_MEASUREMENTS,
            [*_make_algorithm(first, describe_identity(first.model)), *findings],
        ),
    ]


def _make_observer(image: DicomImage) -> list[Item]:
    """TID 1002, 1004: who looked; a device, never a person."""
    model = image.model
    texts = (
        (rows.DEVICE_NAME, str(model)),
        (rows.DEVICE_MANUFACTURER, MANUFACTURER),
        (rows.DEVICE_MODEL, model.name),
        (rows.DEVICE_SERIAL_NUMBER, model.checksum),
    )
    return [
        make_choice(HAS_OBS_CONTEXT, rows.OBSERVER_TYPE, rows.DEVICE),
        make_uid(HAS_OBS_CONTEXT, rows.DEVICE_UID, derive_device_uid(image)),
        *(make_text(HAS_OBS_CONTEXT, name, text) for name, text in texts),
    ]


def _make_evaluations(images: Sequence[DicomImage]) -> Item:
    """TID 1500 rows 12 and 14: what is said of the whole study, before any detail."""
    study = group_studies([image.result for image in images])[0]
    summary = interpret_study(interpret_result(study.answering), study)
    return make_container(
        CONTAINS,
        rows.QUALITATIVE_EVALUATIONS,
        [
            make_text(CONTAINS, rows.COMMENT, CAVEAT),
            make_text(CONTAINS, rows.SUMMARY, summary),
            make_text(CONTAINS, rows.COMMENT, describe_thresholds(images[0].model)),
        ],
    )


def _make_library(images: Sequence[DicomImage]) -> Item:
    """TID 1600, 1601: every object that was given as an image of the study."""
    entries = [
        make_object(CONTAINS, None, _refer(image), content=_describe_image(image))
        for image in images
    ]
    group = make_container(CONTAINS, rows.IMAGE_LIBRARY_GROUP, entries)
    return make_container(CONTAINS, rows.IMAGE_LIBRARY, [group], template="1600")


def _describe_image(image: DicomImage) -> list[Item]:
    """TID 1602, 1603: what the image states, where it can be said in a code."""
    stated = image.attributes
    region = {"CHEST": CHEST}
    items = [
        make_choice(HAS_ACQ_CONTEXT, name, codes[word])
        for name, codes, word in (
            (rows.MODALITY, rows.MODALITIES, stated.get("Modality")),
            (rows.TARGET_REGION, region, stated.get("BodyPartExamined")),
            (rows.IMAGE_LATERALITY, rows.LATERALITIES, stated.get("ImageLaterality")),
        )
        if word in codes
    ]
    header = image.result.header
    if image.report and header:
        size = ((rows.PIXEL_ROWS, header.rows), (rows.PIXEL_COLUMNS, header.columns))
        items += [make_number(HAS_ACQ_CONTEXT, name, f"{n}", rows.PIXELS) for name, n in size]
    if stated.get("Modality") in rows.MODALITIES:
        items += _describe_projection(image)
    return items


def _describe_projection(image: DicomImage) -> list[Item]:
    """TID 1603."""
    stated, header = image.attributes, image.result.header
    items = []
    view = str(stated.get("ViewPosition") or "")
    if view in rows.VIEWS:
        items.append(make_choice(HAS_ACQ_CONTEXT, rows.IMAGE_VIEW, rows.VIEWS[view]))
    directions = stated.get("PatientOrientation") or ()
    if len(directions) == 2 and all(directions):
        names = (rows.ORIENTATION_OF_ROW, rows.ORIENTATION_OF_COLUMN)
        items += [
            make_text(HAS_ACQ_CONTEXT, name, str(direction))
            for name, direction in zip(names, directions, strict=True)
        ]
    if header and header.imager_pixel_spacing_mm:
        vertical, horizontal = header.imager_pixel_spacing_mm
        items += [
            make_number(HAS_ACQ_CONTEXT, name, f"{spacing:.6g}", rows.MILLIMETER)
            for name, spacing in (
                (rows.HORIZONTAL_SPACING, horizontal),
                (rows.VERTICAL_SPACING, vertical),
            )
        ]
    return items


def _make_image_groups(image: DicomImage, number: int, heatmap: str) -> list[Item]:
    """All that is said of one image; of one that was not assessed, only that."""
    groups = [_make_status_group(image, number)]
    report = image.report
    if report is None or not report.decision.is_assessed:
        return groups
    for finding in (*report.findings, *([report.any_finding] if report.any_finding else [])):
        groups.append(_make_finding_group(image, number, finding))
        is_drawn = (
            finding.decision is FindingDecision.POSITIVE
            and finding.key != ANY_FINDING
            and heatmap in HEATMAP_CODES
        )
        regions = find_regions(report, key=finding.key) if is_drawn else ()
        groups += [
            _make_region_group(image, (number, index), finding, region, heatmap)
            for index, region in enumerate(regions, 1)
        ]
    return groups


def _make_status_group(image: DicomImage, number: int) -> Item:
    """TID 1501: whether an image was assessed, and what is said of it in words."""
    status = SUCCEEDED
    if not image.result.decision.is_assessed:
        status = FAILED if isinstance(image.result, Failure) else NOT_ATTEMPTED
    return _make_group(
        [
            *_track(image, "image", ENGLISH.tracked_image.format(number=number)),
            make_choice(CONTAINS, SUMMARY_OF_DETECTIONS, status),
            make_text(CONTAINS, rows.SUMMARY, interpret_result(image.result)),
            make_object(CONTAINS, rows.SOURCE_OF_MEASUREMENT, _refer(image)),
        ]
    )


def _make_finding_group(image: DicomImage, number: int, finding: Finding) -> Item:
    """TID 1501: what is said of one finding of one image."""
    concept = get_concept(finding.key, finding.display)
    identifier = ENGLISH.tracked.format(key=finding.key, number=number)
    content = [
        *_track(image, finding.key, identifier),
        make_choice(HAS_CONCEPT_MOD, rows.FINDING_SITE, get_site(finding.key)),
        *_make_algorithm(image, describe_operating_point(finding.operating_point)),
        make_choice(CONTAINS, concept, DECISION_CODES[finding.decision]),
        make_choice(CONTAINS, rows.FINDING, concept),
        _make_certainty(finding),
        make_object(CONTAINS, rows.SOURCE_OF_MEASUREMENT, _refer(image)),
    ]
    if finding.caveat:
        content.append(make_text(CONTAINS, rows.COMMENT, finding.caveat))
    return _make_group(content)


def _make_certainty(finding: Finding) -> Item:
    """TID 300: the probability, and where on it the decision falls.

    The operating point is a place among those that a device has (0 to their number less
    one), not a threshold (PS3.16 D); there is one, so it is 0, and its description says it.
    """
    described = ". ".join(describe_operating_point(finding.operating_point))
    meaning = describe_certainty(finding.key, finding.display)
    # From the four digits of the tables, so that both hold the same number.
    percent = Decimal(f"{finding.probability:.4f}") * 100
    return make_number(
        CONTAINS,
        CERTAINTY_OF_FINDING,
        f"{percent:.2f}",
        PERCENT,
        content=[
            make_text(HAS_CONCEPT_MOD, rows.EQUIVALENT_MEANING, meaning),
            make_number(
                HAS_PROPERTIES,
                rows.OPERATING_POINT,
                "0",
                rows.NO_UNITS,
                content=[make_text(HAS_PROPERTIES, rows.OPERATING_POINT_DESCRIPTION, described)],
            ),
        ],
    )


def _make_region_group(
    image: DicomImage,
    numbers: tuple[int, int],
    finding: Finding,
    region: Region,
    heatmap: str,
) -> Item:
    """TID 1410: one outline of a heatmap; the template has room for one in a group."""
    identifier = ENGLISH.tracked_region.format(
        key=finding.key, number=numbers[0], region=numbers[1]
    )
    return _make_group(
        [
            *_track(image, f"{finding.key} region {numbers[1]}", identifier),
            make_choice(CONTAINS, rows.FINDING, get_concept(finding.key, finding.display)),
            make_polygon(CONTAINS, rows.IMAGE_REGION, region.points, _refer(image)),
            make_choice(CONTAINS, VISUAL_EXPLANATION, HEATMAP_CODES[heatmap]),
            make_text(CONTAINS, rows.COMMENT, ENGLISH.region),
        ],
        template="1410",
    )


def _refer(image: DicomImage) -> ObjectReference:
    return refer_to(image.attributes, was_read=image.report is not None)


def _make_group(content: Sequence[Item], *, template: str = "1501") -> Item:
    return make_container(CONTAINS, rows.MEASUREMENT_GROUP, content, template=template)


def _track(image: DicomImage, name: str, identifier: str) -> list[Item]:
    """TID 1501 rows 2 and 3."""
    uid = derive_tracking_uid(image, name)
    return [
        make_text(HAS_OBS_CONTEXT, rows.TRACKING_IDENTIFIER, identifier),
        make_uid(HAS_OBS_CONTEXT, rows.TRACKING_UID, uid),
    ]


def _make_algorithm(image: DicomImage, parameters: Sequence[str]) -> list[Item]:
    """TID 4019: which algorithm, in which release, with which numbers."""
    model = image.model
    texts: list[tuple[Code, str]] = [
        (rows.ALGORITHM_NAME, model.name),
        (rows.ALGORITHM_VERSION, f"{model.version} (chestx {__version__})"),
        (rows.ALGORITHM_MANUFACTURER, MANUFACTURER),
        *((rows.ALGORITHM_PARAMETERS, text) for text in parameters),
    ]
    return [make_text(HAS_CONCEPT_MOD, name, text) for name, text in texts]
