"""Report -> DICOM Grayscale Softcopy Presentation State: outlines and words over the original.

The image itself stays untouched: a viewer draws the outlines where the heatmap is strong and
the words at the upper and lower edge, and takes both away again when it is told to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from chestx.domain import (
    CAVEAT,
    Decision,
    Finding,
    FindingDecision,
    ImageHeader,
    Report,
    UsageError,
)
from chestx.export.content_items import to_plain_text
from chestx.export.dicom_common import ObjectKind, complete_object, make_reference, to_line
from chestx.export.dicom_source import DicomImage
from chestx.export.presentation_grayscale import NoPresentationStateError, add_grayscale
from chestx.rendering.contours import Region, find_regions
from chestx.terminology import add_mark, format_probability, write_headline

__all__ = ["NoPresentationStateError", "make_presentation_state"]

_TITLE = "AI result, not for diagnosis"
_OUTLINE = "{name} {number}: outline of the heatmap, not a boundary"

_TEXT_LAYER = "AI TEXT"
_FINDING_LAYER = "AI FINDING {number}"

# Yellow, sky blue, orange, reddish purple (Okabe and Ito, told apart by every eye) in CIELab
# as PS3.3 C.10.7.1.1 scales it; then white for words.
_COLOURS = (
    (58402, 29471, 52288),
    (45759, 29805, 23962),
    (46275, 37131, 52088),
    (40009, 42797, 30173),
)
_WHITE = (65535, 32896, 32896)

_MOST_OF_TEXT = 1000
"""Characters of a text object (value representation ST: 1,024), line ends aside."""

_MOST_LABELS = 3
"""Findings that are named at the upper edge; more would come down over the lungs."""

# Shares of the displayed area, so that words stay at the edge however the picture is zoomed.
_LEFT, _RIGHT = 0.01, 0.99
_TOP, _LINE, _BOTTOM = 0.01, 0.03, 0.9


def make_presentation_state(image: DicomImage) -> Dataset:
    """The answer as lines and words that a viewer lays over the original.

    Outlines are drawn for the positive findings of an assessed image alone; words always.

    Args:
        image: one that could be read, in grey.

    Raises:
        UsageError: the image could not be read.
        NoPresentationStateError: the image is in colour, or shown by a lookup table that is
            not at hand.

    Source: PS3.3 A.33.1 (Grayscale Softcopy Presentation State IOD).
    """
    report = image.report
    if report is None:
        raise UsageError(
            "a presentation state: expected an image that was read, got one that could not be; "
            "name it in the structured report"
        )
    dataset = Dataset()
    dataset.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    _add_identification(dataset)
    _add_relationship(dataset, image)
    _add_displayed_area(dataset, report.header, image.attributes)
    _add_annotations(dataset, report)
    rescale_type = str(image.attributes.get("RescaleType") or "")
    add_grayscale(dataset, header=report.header, rescale_type=rescale_type)
    complete_object(dataset, [image], kind=ObjectKind.GSPS)
    return dataset


def _add_identification(dataset: Dataset) -> None:
    dataset.ContentLabel = "CHESTX AI"
    dataset.ContentDescription = _TITLE
    dataset.ContentCreatorName = "chestx^AI"


def _add_relationship(dataset: Dataset, image: DicomImage) -> None:
    series = Dataset()
    series.SeriesInstanceUID = image.attributes.SeriesInstanceUID
    series.ReferencedImageSequence = [make_reference(image.attributes)]
    dataset.ReferencedSeriesSequence = [series]


def _add_displayed_area(dataset: Dataset, header: ImageHeader, attributes: Dataset) -> None:
    """The whole image; its corners are pixels counted from 1 (PS3.3 C.10.4)."""
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [header.columns, header.rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    spacing = attributes.get("PixelSpacing")
    if spacing is not None and len(spacing) == 2 and min(spacing) > 0:
        area.PresentationPixelSpacing = list(spacing)
    else:
        area.PresentationPixelAspectRatio = [1, 1]
    dataset.DisplayedAreaSelectionSequence = [area]


def _add_annotations(dataset: Dataset, report: Report) -> None:
    """A layer with the words, and one a positive finding with its outlines in a colour."""
    layers = [_make_layer(_TEXT_LAYER, _TITLE, order=1, colour=_WHITE)]
    annotations = [_make_annotation(_TEXT_LAYER, texts=_write_texts(report))]
    for finding in _list_outlined(report):
        regions = find_regions(report, key=finding.key)
        if not regions:
            continue
        number = len(layers)
        name = _FINDING_LAYER.format(number=number)
        label = _name_outline(finding)
        colour = _COLOURS[(number - 1) % len(_COLOURS)]
        layers.append(_make_layer(name, label, order=number + 1, colour=colour))
        # Below the title and the answer.
        top = _TOP + (number + 1) * _LINE
        texts = [_make_text(label, top=top)] if number <= _MOST_LABELS else []
        annotations.append(_make_annotation(name, texts=texts, regions=regions))
    dataset.GraphicAnnotationSequence = annotations
    dataset.GraphicLayerSequence = layers


def _list_outlined(report: Report) -> list[Finding]:
    """Positive findings of an assessed image, most probable first."""
    if not report.decision.is_assessed:
        return []
    positive = [x for x in report.findings if x.decision is FindingDecision.POSITIVE]
    return sorted(positive, key=lambda finding: -finding.probability)


def _name_outline(finding: Finding) -> str:
    number = format_probability(finding.probability, operating_point=finding.operating_point)
    return _OUTLINE.format(name=add_mark(finding.display, finding.caveat), number=number)


def _write_texts(report: Report) -> list[Dataset]:
    """The answer at the upper edge; the caveat and who spoke at the lower one."""
    if report.decision.is_assessed:
        answer = write_headline(report.decision, report.findings, report.any_finding)
    else:
        answer = report.interpretation
    if report.decision is Decision.NEGATIVE:
        # The word alone over a radiograph would read as a normal one.
        answer = f"{answer}\n{report.interpretation}"
    # Not every viewer wraps a line, and the last words of this one must not fall off.
    caveat = CAVEAT.replace(". A ", ".\nA ")
    return [
        _make_text(f"{_TITLE}\n{answer}", top=_TOP),
        _make_text(f"{caveat}\n{report.model}", top=_BOTTOM),
    ]


def _make_layer(
    name: str, description: str, *, order: int, colour: tuple[int, int, int]
) -> Dataset:
    layer = Dataset()
    layer.GraphicLayer = name
    layer.GraphicLayerOrder = order
    layer.GraphicLayerRecommendedDisplayCIELabValue = list(colour)
    layer.GraphicLayerDescription = to_line(to_plain_text(description))
    return layer


def _make_annotation(
    layer: str, *, texts: Sequence[Dataset] = (), regions: Iterable[Region] = ()
) -> Dataset:
    annotation = Dataset()
    annotation.GraphicLayer = layer
    if texts:
        annotation.TextObjectSequence = texts
    if lines := [_make_outline(region) for region in regions]:
        annotation.GraphicObjectSequence = lines
    return annotation


def _make_text(text: str, *, top: float) -> Dataset:
    """Lines from the left edge of the displayed area, as wide as it is."""
    item = Dataset()
    item.BoundingBoxAnnotationUnits = "DISPLAY"
    item.UnformattedTextValue = to_plain_text(text)[:_MOST_OF_TEXT].replace("\n", "\r\n")
    item.BoundingBoxTopLeftHandCorner = [_LEFT, top]
    height = _LINE * (text.count("\n") + 1)
    item.BoundingBoxBottomRightHandCorner = [_RIGHT, top + height]
    item.BoundingBoxTextHorizontalJustification = "LEFT"
    return item


def _make_outline(region: Region) -> Dataset:
    """A closed line; PIXEL counts from 0, 0 at the corner of the image, as regions do.

    Source: PS3.3 table C.10-5: the lower right corner of the first pixel is 1.0\\1.0.
    """
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = len(region.points)
    item.GraphicData = region.points.astype(np.float32).ravel().tolist()
    item.GraphicType = "POLYLINE"
    item.GraphicFilled = "N"
    return item
