"""The result as a picture in the picture archive."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import dcmread

from chestx.domain import UsageError
from chestx.export import secondary_capture
from chestx.export.dicom_common import encode_object
from chestx.export.secondary_capture import make_secondary_capture
from chestx.rendering.capture import RADIOGRAPH_SIZE, draw_capture

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"

Maker = Callable[..., Any]


def test_it_says_what_it_is_and_what_it_is_made_of(make_dicom_image: Maker) -> None:
    picture = make_secondary_capture(make_dicom_image())
    assert picture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert picture.ConversionType == "WSD"
    assert picture.ImageType == ["DERIVED", "SECONDARY"]
    assert picture.BurnedInAnnotation == "YES"
    assert picture.RecognizableVisualFeatures == "NO"
    assert picture.SeriesDescription.startswith("AI ")
    (source,) = picture.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == "1.2.826.0.1.3680043.8.498.2.1.1"
    (purpose,) = source.PurposeOfReferenceCodeSequence
    assert purpose.CodeValue == "121322"
    assert purpose.CodeMeaning == "Source image for image processing operation"
    assert picture.DerivationDescription == (
        "Radiograph as displayed, resized to 1024 pixels along its longer side, heatmap laid over "
        "it (PNEUMONIA), words of the AI result added beside or below it. A heatmap shows what "
        "moved the score; it is not a boundary."
    )
    assert picture.DerivationCodeSequence[0].CodeMeaning == "Spatial resampling"


def test_patient_study_and_place_are_those_of_the_source(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    picture = make_secondary_capture(image)
    for keyword in (
        *("PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID"),
        *("AccessionNumber", "StudyDescription", "Modality", "BodyPartExamined"),
        *("PatientOrientation", "SpecificCharacterSet", "InstanceNumber"),
    ):
        assert picture[keyword].value == image.attributes[keyword].value, keyword


def test_nothing_can_be_measured_on_it(make_dicom_image: Maker) -> None:
    picture = make_secondary_capture(make_dicom_image())
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        assert keyword not in picture


@pytest.mark.parametrize(
    ("stated", "syntax", "expected"),
    [
        ({}, None, (None, None, None)),
        ({"LossyImageCompression": "00"}, None, ("00", None, None)),
        (
            {
                "LossyImageCompression": "01",
                "LossyImageCompressionRatio": [10, 4],
                "LossyImageCompressionMethod": ["ISO_15444_1", "ISO_10918_1"],
            },
            None,
            ("01", [10, 4], ["ISO_15444_1", "ISO_10918_1"]),
        ),
        ({}, JPEG_BASELINE, ("01", None, "ISO_10918_1")),
        ({"LossyImageCompression": "00"}, JPEG_BASELINE, ("01", None, "ISO_10918_1")),
    ],
)
def test_loss_by_compression_is_never_forgotten(
    stated: dict[str, Any],
    syntax: str | None,
    expected: tuple[Any, ...],
    make_dicom_image: Maker,
    find_errors: Callable[[bytes], list[str]],
) -> None:
    image = make_dicom_image(**stated)
    if syntax:
        object.__setattr__(image.result.header, "transfer_syntax_uid", syntax)
    picture = make_secondary_capture(image)
    for name, value in zip(("", "Ratio", "Method"), expected, strict=True):
        assert picture.get(f"LossyImageCompression{name}") == value
    assert find_errors(encode_object(picture)) == []


@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [(96, 80, (1024, 1365)), (80, 96, None), (3000, 100, (1024, 546)), (17, 3000, None)],
)
@pytest.mark.parametrize("answer", ["positive", "uncertain", "out_of_scope"])
def test_it_is_valid_and_another_reader_shows_the_same_picture(
    rows: int,
    columns: int,
    size: tuple[int, int] | None,
    answer: str,
    make_dicom_image: Maker,
    find_errors: Callable[[bytes], list[str]],
) -> None:
    picture = make_secondary_capture(make_dicom_image(rows=rows, columns=columns, answer=answer))
    data = encode_object(picture)
    assert find_errors(data) == []
    pixels = dcmread(BytesIO(data)).pixel_array
    assert pixels.tobytes() == picture.PixelData[: pixels.size]
    assert size is None or pixels.shape[:2] == size
    assert max(rows, columns) / min(rows, columns) > 10 or min(pixels.shape[:2]) >= RADIOGRAPH_SIZE


@pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="dcmtk is not installed")
def test_dcmtk_shows_the_same_picture(make_dicom_image: Maker, tmp_path: Path) -> None:
    picture = make_secondary_capture(make_dicom_image())
    source, target = tmp_path / "a.dcm", tmp_path / "a.ppm"
    source.write_bytes(encode_object(picture))
    subprocess.run(["dcm2pnm", "--write-raw-pnm", source, target], check=True, timeout=60)
    shown = cv2.imread(str(target))
    assert shown is not None
    shown = shown[..., ::-1]
    assert (shown == np.frombuffer(picture.PixelData, np.uint8).reshape(shown.shape)).all()


def test_the_words_beside_it_are_those_of_the_study(
    make_dicom_image: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def draw(report: Any, facts: Any) -> Any:
        seen.extend(facts)
        return draw_capture(report, facts)

    monkeypatch.setattr(secondary_capture, "draw_capture", draw)
    image = make_dicom_image(
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎",
        StudyDescription="胸部正面",
        TimezoneOffsetFromUTC="+0900",
    )
    picture = make_secondary_capture(image)
    said = dict(seen)
    assert said["Study"] == "胸部正面"
    assert said["Study date"] == "2026-11-20"
    assert said["View"] == "PA"
    assert said["Accession number"] == "A-4711"
    assert said["Model"].startswith("demo-model 1.2 (ab12cd34ab12), f32, chestx ")
    assert said["Assessed"] == "2026-11-22 01:30:05 UTC+0900"
    assert (picture.ContentDate, picture.ContentTime[:6]) == ("20261122", "013005")
    assert said["Thresholds"] == "not calibrated for this site"
    assert not any("Yamada" in value or "山田" in value for value in said.values())


def test_what_a_study_does_not_state_takes_no_room(
    make_dicom_image: Maker, find_errors: Callable[[bytes], list[str]]
) -> None:
    bare = dict.fromkeys(
        ("StudyDescription", "ViewPosition", "AccessionNumber", "PatientOrientation")
    )
    image = make_dicom_image(**bare)
    assert [name for name, _ in secondary_capture._list_facts(image)] == [
        *("Study date", "Model", "Assessed", "Thresholds")
    ]
    picture = make_secondary_capture(image)
    assert picture.PatientOrientation == ""
    assert find_errors(encode_object(picture)) == []


def test_a_date_that_is_none_is_shown_as_it_stands() -> None:
    assert secondary_capture._format_date("2026.11.20") == "2026.11.20"


def test_an_image_out_of_scope_has_no_map_to_speak_of(make_dicom_image: Maker) -> None:
    picture = make_secondary_capture(make_dicom_image(answer="out_of_scope"))
    assert "heatmap laid over" not in picture.DerivationDescription


def test_an_image_of_the_very_size_was_not_resampled(make_dicom_image: Maker) -> None:
    picture = make_secondary_capture(make_dicom_image(rows=1024, columns=16, preview_size=1024))
    assert "DerivationCodeSequence" not in picture
    assert "resized" not in picture.DerivationDescription


def test_the_same_result_gives_the_same_bytes(make_dicom_image: Maker) -> None:
    first, second = (encode_object(make_secondary_capture(make_dicom_image())) for _ in range(2))
    assert first == second


def test_a_failed_image_or_one_without_preview_has_no_picture(make_dicom_image: Maker) -> None:
    with pytest.raises(UsageError, match="expected an image that could be read"):
        make_secondary_capture(make_dicom_image(answer="failed"))
    with pytest.raises(UsageError, match="expected a report with a preview"):
        make_secondary_capture(make_dicom_image(preview_size=0))
