"""Outlines and words over the untouched original."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from chestx.domain import CAVEAT, UsageError
from chestx.export.dicom_common import encode_object
from chestx.export.presentation_state import NoPresentationStateError, make_presentation_state
from chestx.images.reading import decode_radiograph

Maker = Callable[..., Any]
FindErrors = Callable[[bytes], list[str]]


def make_table(first: int, count: int, bits: int, vr: str = "US") -> Dataset:
    """A lookup table that bends, in the manner of film."""
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [count & 0xFFFF, first, bits])
    entries = np.linspace(0, 1, count) ** 0.5 * ((1 << bits) - 1)
    item.add_new("LUTData", "OW", np.round(entries).astype("<u2").tobytes())
    return item


def make_modality_table() -> Dataset:
    item = make_table(0, 4096, 16)
    item.ModalityLUTType = "US"
    return item


_WINDOW = {"WindowCenter": 2000, "WindowWidth": 1500}
LOOKS: dict[str, dict[str, Any]] = {
    "no window": {},
    "8 bit without window": {"bits": 8},
    "16 bit without window": {"bits": 16},
    "a window": _WINDOW,
    "the first of several windows": {"WindowCenter": [2000, 100], "WindowWidth": [1500, 50]},
    "exact": _WINDOW | {"VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": _WINDOW | {"VOILUTFunction": "SIGMOID"},
    "an unusable window": {"WindowCenter": 60000, "WindowWidth": 10},
    "a rescaled one": {
        "RescaleSlope": "-0.5",
        "RescaleIntercept": "100",
        "WindowCenter": -900,
        "WindowWidth": 1500,
    },
    "signed": {"is_signed": True, "WindowCenter": -100, "WindowWidth": 900},
    "MONOCHROME1": _WINDOW | {"photometric": "MONOCHROME1"},
    "INVERSE": _WINDOW | {"PresentationLUTShape": "INVERSE"},
    "VOI table": {"VOILUTSequence": [make_table(500, 3000, 12)]},
    "VOI table, signed": {"is_signed": True, "VOILUTSequence": [make_table(-1000, 2000, 16, "SS")]},
    "VOI table of all values": {"bits": 16, "VOILUTSequence": [make_table(0, 65536, 10)]},
    "modality table": {
        "ModalityLUTSequence": [make_modality_table()],
        "WindowCenter": 30000,
        "WindowWidth": 40000,
    },
}


def read_back(dataset: Dataset) -> Dataset:
    return dcmread(io.BytesIO(encode_object(dataset)))


def apply_state(state: Dataset, stored: np.ndarray) -> np.ndarray:
    """What a viewer shows that follows the state and nothing else (PS3.4 N.2)."""
    values = stored.astype(np.float64)
    if "ModalityLUTSequence" in state:
        values = look_up(state.ModalityLUTSequence[0], values)
    else:
        values = values * state.get("RescaleSlope", 1) + state.get("RescaleIntercept", 0)
    (voi,) = state.SoftcopyVOILUTSequence
    if "VOILUTSequence" in voi:
        grey = look_up(voi.VOILUTSequence[0], values) / 65535
    else:
        centre, width = float(voi.WindowCenter), float(voi.WindowWidth)
        function = voi.get("VOILUTFunction", "LINEAR")
        if function == "SIGMOID":
            grey = 1 / (1 + np.exp(-4 * (values - centre) / width))
        elif function == "LINEAR_EXACT":
            grey = (values - centre) / width + 0.5
        else:
            grey = (values - (centre - 0.5)) / (width - 1) + 0.5
    grey = np.clip(grey, 0, 1) * 255
    return 255 - grey if state.PresentationLUTShape == "INVERSE" else grey


def look_up(item: Dataset, values: np.ndarray) -> np.ndarray:
    count, first, bits = item.LUTDescriptor
    entries = np.frombuffer(item.LUTData, "<u2" if bits == 16 else "u1")
    assert len(entries) == ((count & 0xFFFF) or 65536)
    index = np.clip(values - first, 0, len(entries) - 1).astype(int)
    return np.asarray(entries[index], dtype=np.float64)


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_picture_under_a_state_looks_as_the_original_does(
    look: str, make_dicom_image: Maker, make_source: Maker, find_errors: FindErrors
) -> None:
    source = make_source(**LOOKS[look])
    data = encode_object(make_presentation_state(make_dicom_image(source)))
    shown = decode_radiograph(source).pixels
    seen = apply_state(dcmread(io.BytesIO(data)), dcmread(io.BytesIO(source)).pixel_array)
    assert np.abs(seen - shown).max() <= 0.51
    assert find_errors(data) == []


@pytest.mark.skipif(shutil.which("dcmp2pgm") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize("look", ["MONOCHROME1", "VOI table", "an unusable window"])
def test_dcmtk_shows_the_same_picture_under_the_state(
    look: str, make_dicom_image: Maker, make_source: Maker, tmp_path: Path
) -> None:
    source = make_source(**LOOKS[look])
    (tmp_path / "image.dcm").write_bytes(source)
    state = encode_object(make_presentation_state(make_dicom_image(source)))
    (tmp_path / "state.dcm").write_bytes(state)
    command = ["dcmp2pgm", "-p", "state.dcm", "image.dcm", "seen.pgm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = cv2.imread(str(tmp_path / "seen.pgm"), cv2.IMREAD_UNCHANGED)
    assert seen is not None
    assert np.abs(seen.astype(int) - decode_radiograph(source).pixels).max() <= 1
    check = subprocess.run(["dcmpschk", "state.dcm"], cwd=tmp_path, capture_output=True, text=True)
    assert "Test passed" in check.stdout + check.stderr


def list_outlines(state: Dataset) -> list[np.ndarray]:
    return [
        np.array(item.GraphicData).reshape(-1, 2)
        for annotation in state.GraphicAnnotationSequence
        for item in annotation.get("GraphicObjectSequence", [])
    ]


def list_texts(state: Dataset) -> list[str]:
    return [
        item.UnformattedTextValue
        for annotation in state.GraphicAnnotationSequence
        for item in annotation.get("TextObjectSequence", [])
    ]


def test_an_outline_lies_where_the_evidence_does_to_half_a_pixel(make_dicom_image: Maker) -> None:
    # The hot cell of seven by seven is the third row and second column of cells.
    image = make_dicom_image(rows=700, columns=350, hot=(2, 1))
    (line,) = list_outlines(read_back(make_presentation_state(image)))
    assert (line[0] == line[-1]).all()
    middle = (line.min(axis=0) + line.max(axis=0)) / 2
    assert middle == pytest.approx([1.5 * 50, 2.5 * 100], abs=0.5)


@pytest.mark.parametrize(("rows", "columns"), [(96, 80), (300, 500)])
def test_an_outline_at_the_corner_ends_at_the_border_of_the_image(
    rows: int, columns: int, make_dicom_image: Maker
) -> None:
    image = make_dicom_image(rows=rows, columns=columns, hot=(6, 6))
    (line,) = list_outlines(read_back(make_presentation_state(image)))
    # PIXEL runs from 0, 0 to columns, rows: PS3.3 table C.10-5.
    assert line.max(axis=0) == pytest.approx([columns, rows])


@pytest.mark.parametrize("answer", ["uncertain", "negative", "out_of_scope"])
def test_nothing_is_outlined_without_a_positive_answer(
    answer: str, make_dicom_image: Maker, find_errors: FindErrors
) -> None:
    data = encode_object(make_presentation_state(make_dicom_image(answer=answer)))
    assert list_outlines(dcmread(io.BytesIO(data))) == []
    assert find_errors(data) == []


@pytest.mark.parametrize("answer", ["positive", "uncertain", "negative", "out_of_scope"])
def test_the_words_stand_at_the_edges_with_caveat_and_model(
    answer: str, make_dicom_image: Maker
) -> None:
    image = make_dicom_image(answer=answer)
    state = read_back(make_presentation_state(image))
    head, foot = list_texts(state)[0], list_texts(state)[1]
    assert head.startswith("AI result, not for diagnosis\r\n")
    expected = {
        "positive": "positive: features of pneumonia 0.90",
        "uncertain": "uncertain: features of pneumonia 0.45",
        "negative": "No features of pneumonia or COVID-19 found; other disease not assessed.",
        "out_of_scope": "Not assessed: A lateral view (LL) is stated.",
    }
    assert expected[answer] in head
    assert CAVEAT in " ".join(foot.split())
    assert str(image.model) in foot
    for annotation in state.GraphicAnnotationSequence:
        for text in annotation.TextObjectSequence:
            assert text.BoundingBoxAnnotationUnits == "DISPLAY"
            top, bottom = (
                text.BoundingBoxTopLeftHandCorner[1],
                text.BoundingBoxBottomRightHandCorner[1],
            )
            assert bottom <= 0.15 or top >= 0.85
            assert bottom <= 1


def test_a_label_names_its_outline_with_the_mark_of_its_caveat(make_dicom_image: Maker) -> None:
    state = read_back(make_presentation_state(make_dicom_image(answer="covid")))
    label = list_texts(state)[2]
    assert label == "COVID-19 (experimental) 0.90: outline of the heatmap, not a boundary"
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == [
        "AI TEXT",
        "AI FINDING 1",
    ]
    assert state.GraphicLayerSequence[1].GraphicLayerDescription == label[:64].strip()


def test_long_texts_keep_to_their_value_representations(
    make_dicom_image: Maker, find_errors: FindErrors
) -> None:
    from dataclasses import replace

    image = make_dicom_image(answer="out_of_scope")
    long = replace(image.result, interpretation="Not assessed: " + "x\u2013y\u2026 " * 400)
    data = encode_object(make_presentation_state(replace(image, result=long)))
    text = list_texts(dcmread(io.BytesIO(data)))[0]
    assert len(text) <= 1024
    assert text.isascii()
    assert find_errors(data) == []


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [([0.2, 0.1], [0.2, 0.1]), ([0, 0], None), (b"0.1\\x", None), (None, None)],
)
def test_the_whole_image_is_displayed_with_its_spacing_where_that_is_valid(
    spacing: Any, expected: list[float] | None, make_dicom_image: Maker, find_errors: FindErrors
) -> None:
    data = encode_object(make_presentation_state(make_dicom_image(PixelSpacing=spacing)))
    (area,) = dcmread(io.BytesIO(data)).DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [80, 96]
    assert area.PresentationSizeMode == "SCALE TO FIT"
    if expected is None:
        assert "PresentationPixelSpacing" not in area
        assert list(area.PresentationPixelAspectRatio) == [1, 1]
    else:
        assert list(area.PresentationPixelSpacing) == expected
    assert find_errors(data) == []


def test_a_state_is_of_its_image_and_of_this_result(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    state = read_back(make_presentation_state(image))
    (series,) = state.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.attributes.SeriesInstanceUID
    (reference,) = series.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == image.attributes.SOPInstanceUID
    assert state.Modality == "PR"
    assert state.PresentationCreationDate == "20261121"
    assert encode_object(make_presentation_state(make_dicom_image())) == encode_object(
        make_presentation_state(image)
    )


@pytest.mark.parametrize("body_part", ["CHEST", "LUNG", None])
def test_any_part_of_the_body_gives_a_valid_state(
    body_part: str | None, make_dicom_image: Maker, find_errors: FindErrors
) -> None:
    image = make_dicom_image(BodyPartExamined=body_part)
    assert find_errors(encode_object(make_presentation_state(image))) == []


def test_a_colour_image_has_no_grayscale_state(make_dicom_image: Maker) -> None:
    image = make_dicom_image(photometric="RGB", bits=8)
    with pytest.raises(NoPresentationStateError, match=r"expected an image in grey .* in RGB"):
        make_presentation_state(image)


def test_a_table_that_was_not_kept_is_said(make_dicom_image: Maker) -> None:
    item = make_table(0, 65536, 16)
    item.LUTData = item.LUTData + b"\0\0" * 8
    image = make_dicom_image(bits=16, VOILUTSequence=[item])
    with pytest.raises(NoPresentationStateError, match="expected the VOILUTSequence"):
        make_presentation_state(image)


def test_a_failed_image_has_no_state(make_dicom_image: Maker) -> None:
    with pytest.raises(UsageError, match="expected an image that was read"):
        make_presentation_state(make_dicom_image(answer="failed"))
