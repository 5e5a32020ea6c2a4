"""One place in the body is one place in every picture and object: left stays left.

A marker is burnt into an image that is not square, away from its middle, and the map's one hot
cell lies on it. Where it is found in each output must agree within one cell of the map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from chestx.domain import Report
from chestx.export.dicom_common import encode_object
from chestx.export.dicom_source import DicomImage
from chestx.export.presentation_state import make_presentation_state
from chestx.export.secondary_capture import make_secondary_capture
from chestx.export.structured_report import make_structured_report
from chestx.rendering.capture import RADIOGRAPH_SIZE
from chestx.rendering.contours import find_regions
from chestx.rendering.overlay import draw_radiograph

ROWS, COLUMNS = 420, 660
GRID = (7, 9)
HOT = (1, 7)  # Row and column: upper right of the picture.
CELL = np.array([1 / GRID[1], 1 / GRID[0]])

Locate = Callable[["Case"], np.ndarray]


@dataclass(frozen=True)
class Case:
    """An image with a marker on its hot cell, and the same without marker or evidence."""

    marked: DicomImage
    unmarked: DicomImage
    cold: DicomImage


def draw_source(*, with_marker: bool) -> np.ndarray:
    stored = np.tile(np.linspace(400, 1200, COLUMNS).round(), (ROWS, 1))
    if with_marker:
        x, y = int((HOT[1] + 0.5) * COLUMNS / GRID[1]), int((HOT[0] + 0.5) * ROWS / GRID[0])
        stored[y - 6 : y + 6, x - 6 : x + 6] = 3500
    return stored


@pytest.fixture(autouse=True)
def forget_pictures() -> Iterator[None]:
    """Pictures are drawn once a test."""
    yield
    overlay_of.cache_clear()
    capture_of.cache_clear()


@pytest.fixture
def make_case(make_source: Any, make_dicom_image: Any) -> Callable[..., Case]:
    def make(photometric: str = "MONOCHROME2", **elements: Any) -> Case:
        images = []
        for with_marker, hot in ((True, HOT), (False, HOT), (True, None)):
            stored = draw_source(with_marker=with_marker)
            stored = 4095 - stored if photometric == "MONOCHROME1" else stored
            data = make_source(
                stored, photometric=photometric, WindowCenter=2048, WindowWidth=4096, **elements
            )
            images.append(make_dicom_image(data, hot=hot, grid=GRID, preview_size=RADIOGRAPH_SIZE))
        return Case(*images)

    return make


def centre_of_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """x and y as shares of the picture's width and height."""
    weight = cv2.absdiff(first, second).sum(axis=2)
    shares = []
    for axis in (0, 1):
        along = weight.sum(axis=axis)
        shares.append(along @ (np.arange(len(along)) + 0.5) / len(along) / along.sum())
    return np.array(shares)


@cache
def overlay_of(image: DicomImage) -> np.ndarray:
    assert image.report is not None
    return draw_radiograph(image.report, size=RADIOGRAPH_SIZE)


@cache
def capture_of(image: DicomImage) -> np.ndarray:
    """The radiograph in a Secondary Capture as another reader decodes it: from its top left."""
    pixels = dcmread(BytesIO(encode_object(make_secondary_capture(image)))).pixel_array
    scale = RADIOGRAPH_SIZE / max(ROWS, COLUMNS)
    return np.ascontiguousarray(pixels[: round(ROWS * scale), : round(COLUMNS * scale)])


def centre_of_points(points: np.ndarray) -> np.ndarray:
    """Of a polygon's bounding box, as shares of the image's width and height."""
    return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2 / (COLUMNS, ROWS))


def read_back(dataset: Dataset) -> Dataset:
    return dcmread(BytesIO(encode_object(dataset)))


def walk(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from walk(item)


def points_of_regions(case: Case) -> np.ndarray:
    report = case.marked.report
    assert report is not None
    return find_regions(report, key="PNEUMONIA")[0].points


def points_of_report(case: Case) -> np.ndarray:
    items = walk(read_back(make_structured_report([case.marked])))
    data = next(item.GraphicData for item in items if item.ValueType == "SCOORD")
    return np.array(data).reshape(-1, 2)


def points_of_marks(case: Case) -> np.ndarray:
    state = read_back(make_presentation_state(case.marked))
    annotations = [x for x in state.GraphicAnnotationSequence if "GraphicObjectSequence" in x]
    graphic = annotations[0].GraphicObjectSequence[0]
    assert graphic.GraphicAnnotationUnits == "PIXEL"
    return np.array(graphic.GraphicData).reshape(-1, 2)


PLACES: dict[str, Locate] = {
    "marker in the overlay": lambda case: centre_of_difference(
        overlay_of(case.marked), overlay_of(case.unmarked)
    ),
    "map in the overlay": lambda case: centre_of_difference(
        overlay_of(case.marked), overlay_of(case.cold)
    ),
    "marker in the Secondary Capture": lambda case: centre_of_difference(
        capture_of(case.marked), capture_of(case.unmarked)
    ),
    "map in the Secondary Capture": lambda case: centre_of_difference(
        capture_of(case.marked), capture_of(case.cold)
    ),
    "outline": lambda case: centre_of_points(points_of_regions(case)),
    "outline in the structured report": lambda case: centre_of_points(points_of_report(case)),
    "outline in the presentation state": lambda case: centre_of_points(points_of_marks(case)),
}


def find_misplaced(case: Case, places: dict[str, Locate] = PLACES) -> list[str]:
    """The outputs in which the place is another by a cell or more."""
    expected = (np.array(HOT[::-1]) + 0.5) * CELL
    return [
        name for name, locate in places.items() if (np.abs(locate(case) - expected) >= CELL).any()
    ]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_marker_and_the_evidence_on_it_are_in_one_place_everywhere(
    photometric: str, make_case: Callable[..., Case]
) -> None:
    case = make_case(photometric)
    expected = (np.array(HOT[::-1]) + 0.5) * CELL
    for name, locate in PLACES.items():
        # Sharper than the cell that is allowed: nothing here is off by half a one.
        assert (np.abs(locate(case) - expected) < 0.15 * CELL).all(), name


@pytest.mark.parametrize("orientation", [["R", "F"], ["F", "L"], None])
def test_what_a_file_says_of_its_orientation_turns_nothing(
    orientation: list[str] | None, make_case: Callable[..., Case]
) -> None:
    case = make_case(PatientOrientation=orientation)
    assert find_misplaced(case) == []
    stated = make_secondary_capture(case.marked).get("PatientOrientation")
    assert list(stated or []) == list(orientation or [])


def test_a_mirrored_map_or_radiograph_would_be_found(
    make_case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()
    true_map = Report.map_of

    def mirror_map(report: Report, key: str) -> np.ndarray | None:
        cells = true_map(report, key)
        return None if cells is None else np.ascontiguousarray(cells[:, ::-1])

    with monkeypatch.context() as patch:
        patch.setattr(Report, "map_of", mirror_map)
        overlay_of.cache_clear()
        capture_of.cache_clear()
        assert find_misplaced(case) == [name for name in PLACES if not name.startswith("marker")]
    mirrored = Case(*(mirror_preview(x) for x in (case.marked, case.unmarked, case.cold)))
    assert find_misplaced(mirrored) == [name for name in PLACES if name.startswith("marker")]


def mirror_preview(image: DicomImage) -> DicomImage:
    report = image.report
    assert report is not None
    assert report.preview is not None
    return replace(image, result=replace(report, preview=report.preview[:, ::-1].copy()))


def test_no_side_is_written_on_the_radiograph(make_case: Callable[..., Case]) -> None:
    case = make_case()
    report = case.cold.report
    assert report is not None
    assert report.preview is not None
    assert (capture_of(case.cold) == draw_radiograph(report, size=RADIOGRAPH_SIZE)).all()
    assert (np.ptp(capture_of(case.cold).astype(int), axis=2) == 0).all()
