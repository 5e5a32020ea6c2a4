"""The header, what is refused, and real files."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx.domain import ImageHeader, Limits, Radiograph, UnreadableImageError
from chestx.images.dicom import decode_dicom

Make = Callable[..., bytes]

LIMITS = Limits()
RAMP = np.arange(48 * 40).reshape(48, 40)


def read(data: bytes) -> Radiograph:
    return decode_dicom(data, limits=LIMITS)


def read_header(make_dicom: Make, **elements: Any) -> ImageHeader:
    return read(make_dicom(RAMP, **elements)).header


def refuse(data: bytes, limits: Limits = LIMITS) -> str:
    """The reason; the header must have come with it."""
    with pytest.raises(UnreadableImageError) as caught:
        decode_dicom(data, limits=limits)
    assert caught.value.header is not None
    assert caught.value.header.study_instance_uid == "1.2.826.0.1.3680043.8.498.2"
    return str(caught.value)


def test_the_header_says_all_that_the_file_says(make_dicom: Make) -> None:
    header = read_header(
        make_dicom,
        WindowCenter=900,
        WindowWidth=800,
        PatientID=" 4711 ",
        AccessionNumber="A1",
        StudyDate="20260102",
        BodyPartExamined="CHEST",
        ViewPosition="PA",
        PatientOrientation=["L", "F"],
        Manufacturer="Maker",
        ManufacturerModelName="Model",
        BurnedInAnnotation="NO",
        PatientAge="045Y",
        PatientSex="F",
        ImagerPixelSpacing=[0.15, 0.2],
    )
    assert header == ImageHeader(
        format="DICOM",
        rows=48,
        columns=40,
        bits_stored=12,
        photometric="MONOCHROME2",
        display="window centre 900 width 800 (LINEAR)",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        sop_instance_uid="1.2.826.0.1.3680043.8.498.1",
        series_instance_uid="1.2.826.0.1.3680043.8.498.3",
        study_instance_uid="1.2.826.0.1.3680043.8.498.2",
        patient_id="4711",
        accession_number="A1",
        study_date="20260102",
        modality="CR",
        body_part_examined="CHEST",
        view_position="PA",
        patient_orientation="L\\F",
        manufacturer="Maker",
        manufacturer_model_name="Model",
        burned_in_annotation="NO",
        age_years=45.0,
        sex="F",
        imager_pixel_spacing_mm=(0.15, 0.2),
    )


@pytest.mark.parametrize(
    ("age", "years"),
    [("045Y", 45), ("018M", 1.5), ("003W", 21 / 365.25), ("010D", 10 / 365.25), ("", None)],
)
def test_ages_are_read_in_every_unit(age: str, years: float | None, make_dicom: Make) -> None:
    header = read_header(make_dicom, PatientAge=age)
    assert header.age_years == (None if years is None else pytest.approx(years))
    assert header.notes == ()


@pytest.mark.parametrize("age", ["45", "999Y", "-05Y", "0x5Y", "old"])
def test_implausible_ages_are_left_out_with_a_note(age: str, make_dicom: Make) -> None:
    header = read_header(make_dicom, PatientAge=age)
    assert header.age_years is None
    assert len(header.notes) == 1
    assert header.notes[0].startswith("PatientAge")


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.3\\4.5 ;x", "abc", "1" * 65])
def test_a_uid_that_is_none_is_left_out_with_a_note(uid: str, make_dicom: Make) -> None:
    header = read_header(make_dicom, SeriesInstanceUID=uid)
    assert header.series_instance_uid in ("", "1.2.3")
    if not header.series_instance_uid:
        assert header.notes == ("SeriesInstanceUID is no UID and was left out",)


@pytest.mark.parametrize(
    "spacing", [[0, 0], [-1, 1], [0.1], [0.1, 0.2, 0.3]], ids=["zero", "negative", "one", "three"]
)
def test_an_impossible_spacing_is_left_out(spacing: list[float], make_dicom: Make) -> None:
    assert read_header(make_dicom, ImagerPixelSpacing=spacing).imager_pixel_spacing_mm is None


def test_texts_are_stripped_and_cut_and_hold_no_control_characters(make_dicom: Make) -> None:
    header = read_header(
        make_dicom, Manufacturer="x" * 200, ViewPosition="PA\r\n", PatientSex="male", StudyDate=""
    )
    assert header.manufacturer == "x" * 64
    assert header.view_position == "PA"
    assert header.sex == ""
    assert header.study_date == ""


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("ISO_IR 100", "Müller-1"),
        ("ISO_IR 192", "山田-1"),
        ("ISO_IR 144", "Жук-1"),
        ("GB18030", "王-1"),
        (["", "ISO 2022 IR 87"], "山田"),
    ],
)
def test_identifiers_are_read_in_their_character_set(
    charset: str | list[str], text: str, make_dicom: Make
) -> None:
    assert read_header(make_dicom, SpecificCharacterSet=charset, PatientID=text).patient_id == text


def test_shutters_and_overlays_are_not_burnt_in(make_dicom: Make) -> None:
    plain = make_dicom(RAMP)
    radiograph = read(
        make_dicom(
            RAMP, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=10,
            ShutterRightVerticalEdge=20, ShutterUpperHorizontalEdge=10,
            ShutterLowerHorizontalEdge=20,
        )
    )  # fmt: skip
    assert np.array_equal(radiograph.pixels, read(plain).pixels)
    assert radiograph.header.notes == ("a display shutter is stated; it was not applied",)
    place = plain.index(b"\xe0\x7f\x10\x00OW")
    overlay = b"\x00\x60\x00\x30OW\0\0" + (240).to_bytes(4, "little") + b"\xff" * 240
    radiograph = read(plain[:place] + overlay + plain[place:])
    assert np.array_equal(radiograph.pixels, read(plain).pixels)
    assert radiograph.header.notes == ("an overlay is present; it was not burnt in",)


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.4.1.1.1",  # CR
        "1.2.840.10008.5.1.4.1.1.1.1",  # DX For Presentation
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
        "1.2.840.10008.5.1.4.1.1.1.2",  # MG For Presentation
        "1.2.840.10008.5.1.4.1.1.2",  # CT
    ],
)
def test_images_of_any_class_are_decoded(uid: str, make_dicom: Make) -> None:
    assert read_header(make_dicom, SOPClassUID=uid).sop_class_uid == uid


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR Storage"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State Storage"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object Selection Document Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
        ("1.2.840.10008.1.3.10", "Media Storage Directory Storage"),
    ],
)
def test_other_objects_are_refused_by_name(uid: str, name: str, make_dicom: Make) -> None:
    assert refuse(make_dicom(None, SOPClassUID=uid)) == f"expected an image, got {name} ({uid})"


def test_a_directory_is_told_by_its_meta_group(make_dicom: Make) -> None:
    data = make_dicom(None, SOPClassUID="1.2.840.10008.1.3.10")
    place = data.index(b"\x08\x00\x16\x00UI")
    data = data[:place] + data[place + 8 + data[place + 6] :]
    assert "Media Storage Directory Storage" in refuse(data)


def test_raw_detector_data_are_refused(make_dicom: Make) -> None:
    by_class = make_dicom(RAMP, SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1")
    by_intent = make_dicom(RAMP, PresentationIntentType="FOR PROCESSING")
    for data in (by_class, by_intent):
        reason = refuse(data)
        assert reason.startswith("expected an image For Presentation, got raw detector data")
        assert reason.endswith("export the processed image")
    assert read(make_dicom(RAMP, PresentationIntentType="FOR PRESENTATION"))


def test_a_result_of_chestx_is_no_radiograph(make_dicom: Make) -> None:
    assert refuse(make_dicom(RAMP, Manufacturer="chestx")) == (
        "expected a radiograph, got a result of chestx itself; give the image it was made of"
    )


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": None}, "the header states no Rows"),
        ({"BitsAllocated": None}, "the header states no BitsAllocated"),
        ({"Rows": 0}, "expected at least 16 pixels a side, got 0 x 40"),
        ({"Rows": 65535, "Columns": 65535}, "expected at most 100000000 pixels, got 65535 x 65535"),
        ({"NumberOfFrames": 2}, "expected one frame, got 2"),
        ({"NumberOfFrames": 2000000000}, "expected one frame, got 2000000000"),
        ({"NumberOfFrames": 0}, "expected one frame, got 0"),
        ({"BitsStored": 32}, "got BitsStored 32, HighBit 11, BitsAllocated 16"),
        ({"BitsStored": 0}, "got BitsStored 0"),
        ({"HighBit": 16}, "got BitsStored 12, HighBit 16"),
        ({"HighBit": 5}, "got BitsStored 12, HighBit 5"),
        ({"BitsAllocated": 32}, "BitsAllocated: expected 8 or 16, got 32"),
        ({"BitsAllocated": 1}, "BitsAllocated: expected 8 or 16, got 1"),
        ({"PixelRepresentation": 2}, "PixelRepresentation: expected 0 or 1, got 2"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation: expected .* got none"),
        ({"PhotometricInterpretation": "HSV"}, "PhotometricInterpretation: expected .* got HSV"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel: expected 1 for MONOCHROME2, got 3"),
        ({"PixelData": None}, r"got Computed Radiography Image Storage \(.*\) without pixel data"),
        ({"PixelData": None, "FloatPixelData": b"\0" * 40}, "expected integer pixel data, got Fl"),
    ],
)  # fmt: skip
def test_a_header_that_makes_no_image_is_refused(
    elements: dict[str, Any], message: str, make_dicom: Make
) -> None:
    with pytest.raises(UnreadableImageError, match=message):
        raise UnreadableImageError(refuse(make_dicom(RAMP, **elements)))


def test_signed_colour_is_refused(make_dicom: Make) -> None:
    data = make_dicom(np.zeros((32, 32, 3)), bits=8, allocated=8, photometric="RGB", is_signed=True)
    assert refuse(data) == "PixelRepresentation: expected unsigned colour, got signed"


def test_one_frame_is_read_and_a_missing_sign_is_none(make_dicom: Make) -> None:
    plain = read(make_dicom(RAMP)).pixels
    for elements in ({"NumberOfFrames": 1}, {"NumberOfFrames": None}, {"HighBit": None}):
        options = {k: v for k, v in elements.items() if (k, v) != ("NumberOfFrames", None)}
        assert np.array_equal(read(make_dicom(RAMP, **options)).pixels, plain)
    assert np.array_equal(read(make_dicom(RAMP, PixelRepresentation=None)).pixels, plain)


def test_messages_and_logs_hold_no_patient(
    make_dicom: Make, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = {"PatientName": "Secret^Name", "PatientID": "SECRET1", "AccessionNumber": "SECRET2"}
    with caplog.at_level(logging.DEBUG):
        for elements in ({"Rows": 0}, {"NumberOfFrames": 9}, {"WindowCenter": 9, "WindowWidth": 0}):
            data = make_dicom(RAMP, **secrets, **elements)
            text = refuse(data) if "WindowCenter" not in elements else str(read(data).header.notes)
            assert "secret" not in text.lower()
    assert "secret" not in caplog.text.lower()


def test_eight_threads_decode_at_once_without_a_warning(make_dicom: Make) -> None:
    def compress(syntax: str) -> bytes:
        return make_dicom(RAMP, syntax=syntax, compress={}, PatientAge="nonsense")

    files = [compress(f"1.2.840.10008.1.2.{x}") for x in ("5", "4.80", "4.90")]
    files.append(make_dicom(RAMP, StudyDate="nonsense", SOPInstanceUID="no uid"))
    want = [read(data).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        shown = list(pool.map(lambda i: read(files[i % 4]).pixels, range(160)))
    assert all(np.array_equal(shown[i], want[i % 4]) for i in range(160))


def test_reading_a_plain_file_imports_no_dicom_library(make_dicom: Make, tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(make_dicom(RAMP))
    code = (
        "import pathlib, sys\n"
        "from chestx.domain import Limits\n"
        "from chestx.images.dicom import decode_dicom\n"
        "decode_dicom(pathlib.Path(sys.argv[1]).read_bytes(), limits=Limits())\n"
        "assert not {'pydicom', 'gdcm', 'torch', 'openjpeg'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(path)], check=True)


ORIGINALS = {
    "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm": "MONOCHROME2",
    "CT1_J2KI": "MONOCHROME2",
    "Fake_MONOHR1.dcm": "MONOCHROME1",
    "MR2_JLSN": "MONOCHROME2",
    "RG3_J2KI": "MONOCHROME1",
    "RG3_J2KR": "MONOCHROME1",
    "RG3_JLSL": "MONOCHROME1",
    "RG3_JLSN": "MONOCHROME1",
    "RG3_JPLL": "MONOCHROME1",
    "RG3_JPLY": "MONOCHROME1",
    "RG3_RLE": "MONOCHROME1",
    "US1_RLE": "RGB",
    "anon_apct.dcm": "MONOCHROME2",
}


@pytest.fixture(scope="module")
def originals(cxr: Path) -> Path:
    return cxr / "originals" / "dicom"


def test_every_original_is_read(originals: Path) -> None:
    read_as = {
        path.name: read(path.read_bytes()).header.photometric for path in originals.iterdir()
    }
    assert read_as == ORIGINALS


def test_a_false_monochrome1_is_the_exact_inverse(originals: Path) -> None:
    names = list(ORIGINALS)
    true, false = (read((originals / names[i]).read_bytes()).pixels for i in (0, 2))
    assert np.array_equal(false, 255 - true)
    # Bright is dense: the mediastinum in the middle is brighter than the lung beside it.
    assert true[400:700, 480:560].mean() > true[300:600, 250:350].mean() + 40


def test_one_leg_in_seven_syntaxes_is_one_picture(originals: Path) -> None:
    leg = {
        path.name: read(path.read_bytes()).pixels.astype(int) for path in originals.glob("RG3_*")
    }
    assert len(leg) == 7
    want = leg["RG3_RLE"]
    for name in ("RG3_J2KR", "RG3_JLSL", "RG3_JPLL"):
        assert np.array_equal(leg[name], want)
    for name in ("RG3_J2KI", "RG3_JLSN", "RG3_JPLY"):
        assert np.abs(leg[name] - want).mean() < 1.5


def test_a_real_monochrome1_chest_is_shown_bright_where_dense() -> None:
    from pydicom.data import get_testdata_file

    pytest.importorskip("data_store")
    shown = {}
    for name in ("RG1_UNCR.dcm", "RG1_J2KR.dcm", "RG1_J2KI.dcm"):
        path = get_testdata_file(name, download=False)
        assert isinstance(path, str)
        radiograph = read(Path(path).read_bytes())
        shown[name] = radiograph.pixels.astype(int)
        assert radiograph.header.display.endswith("(LINEAR), inverted")
        assert radiograph.header.imager_pixel_spacing_mm is None
    plain = shown["RG1_UNCR.dcm"]
    assert np.array_equal(shown["RG1_J2KR.dcm"], plain)
    assert np.abs(shown["RG1_J2KI.dcm"] - plain).mean() < 1
    height, width = plain.shape
    spine = plain[height // 2 : height * 2 // 3, width * 47 // 100 : width * 53 // 100]
    lung = plain[height // 5 : height // 3, width // 4 : width * 2 // 5]
    assert spine.mean() > lung.mean() + 20


@pytest.mark.skipif(not shutil.which("dcmj2pnm"), reason="dcmtk's dcmj2pnm is not installed")
@pytest.mark.parametrize("name", [name for name in ORIGINALS if "J2K" not in name])
def test_dcmtk_renders_the_originals_alike(name: str, originals: Path, tmp_path: Path) -> None:
    source = originals / name
    radiograph = read(source.read_bytes())
    options = ["+Wi", "1"]
    if "percentiles" in radiograph.header.display:
        low, high = 8, 238
        assert f"window {low} to {high} " in radiograph.header.display
        options = ["+Ww", str((low + high) / 2 + 0.5), str(high - low + 1)]
    if radiograph.header.photometric == "RGB":
        options = []
    if "JLS" in name:
        source = tmp_path / "plain.dcm"
        subprocess.run(["dcmdjpls", str(originals / name), str(source)], check=True)
    target = tmp_path / "out.pnm"
    subprocess.run(["dcmj2pnm", "-O", *options, "+op", str(source), str(target)], check=True)
    rendered = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert rendered is not None
    if rendered.ndim == 3:
        rendered = np.floor(rendered @ np.array([0.114, 0.587, 0.299]) + 0.5)
    assert np.abs(rendered.astype(int) - radiograph.pixels).max() <= 1


@pytest.mark.skipif(not shutil.which("gdcmraw"), reason="gdcm's gdcmraw is not installed")
def test_gdcm_finds_the_same_stored_values(originals: Path, tmp_path: Path) -> None:
    plain, raw = tmp_path / "plain.dcm", tmp_path / "out.raw"
    source = originals / "RG3_J2KR"
    subprocess.run(["gdcmconv", "--raw", str(source), str(plain)], check=True)
    subprocess.run(["gdcmraw", str(plain), str(raw)], check=True)
    stored = np.frombuffer(raw.read_bytes(), dtype="<u2")[: 1760 * 1760].reshape(1760, 1760)
    # The file's window is centre 550, width 1024; MONOCHROME1.
    grey = np.clip((stored - 549.5) / 1023 + 0.5, 0, 1)
    assert np.array_equal(read(source.read_bytes()).pixels, 255 - np.floor(grey * 255 + 0.5))
