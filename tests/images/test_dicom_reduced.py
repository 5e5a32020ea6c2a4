"""JPEG 2000 decoded only as fine as is needed: nearly the same picture, and said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
)

from chestx.domain import InputSpec, Limits, Radiograph, UnreadableImageError
from chestx.images.preprocessing import preprocess
from chestx.images.quality import assess_quality
from chestx.images.reading import decode_radiograph

if TYPE_CHECKING:
    from chestx.models.classifier import Classifier

Make = Callable[..., bytes]

NOTE = "decoded at 1/4 of its resolution"
LEAST = 400
WINDOW = {"WindowCenter": 2000, "WindowWidth": 3500}


def read(data: bytes, least_side: int = 0) -> Radiograph:
    return decode_radiograph(data, limits=Limits(), least_side=least_side)


@pytest.fixture(scope="module")
def chest(samples: Path) -> np.ndarray:
    """12 bits at 1,603 x 1,850 pixels, with the grain of a detector."""
    grey = cv2.imread(str(samples / "adult-1-no-finding.png"), cv2.IMREAD_GRAYSCALE)
    large = cv2.resize(np.asarray(grey, np.float32), (1850, 1603), interpolation=cv2.INTER_CUBIC)
    large = large * 15 + np.random.default_rng(0).normal(0, 6, large.shape)
    return np.asarray(np.clip(large, 0, 4095), dtype=np.uint16)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_reduced_picture_is_the_mean_of_the_whole_one(
    photometric: str, chest: np.ndarray, make_dicom: Make
) -> None:
    data = make_dicom(
        chest, syntax=JPEG2000Lossless, compress={}, photometric=photometric, **WINDOW
    )  # fmt: skip
    whole, reduced = read(data), read(data, LEAST)
    assert reduced.pixels.shape == (401, 463)
    assert (reduced.reduction, whole.reduction) == (4, 1)
    assert reduced.header.notes == (NOTE,)
    assert (reduced.header.rows, reduced.header.columns) == (1603, 1850)
    mean = cv2.resize(whole.pixels, (463, 401), interpolation=cv2.INTER_AREA).astype(int)
    # Detail finer than a pixel is cut off by another filter; brightness must be the same.
    assert np.abs(reduced.pixels - mean).mean() < 2
    assert abs(float(reduced.pixels.mean()) - float(mean.mean())) < 0.3
    spec = InputSpec(size=224)
    gap = np.abs(preprocess(reduced.pixels, spec).astype(int) - preprocess(whole.pixels, spec))
    assert gap.mean() < 1
    assert assess_quality(reduced).measures["shorter_side"] == 1603
    assert assess_quality(reduced).flags == assess_quality(whole).flags


@pytest.mark.parametrize(
    ("name", "syntax", "tolerance"),
    [
        ("htj2k_lossy_16.jph", HTJ2K, 0.5),
        ("htj2k_lossless_16.jph", HTJ2KLossless, 8),
        ("htj2k_lossless_16.jph", HTJ2KLosslessRPCL, 8),
    ],
)
def test_a_high_throughput_stream_is_reduced_as_well(
    name: str, syntax: str, tolerance: float, repository: Path, make_dicom: Make
) -> None:
    stream = (repository / "tests" / "images" / "data" / name).read_bytes()
    data = make_dicom(
        np.zeros((48, 40), dtype=int),
        bits=16,
        syntax=syntax,
        codestream=stream,
        WindowCenter=32768,
        WindowWidth=65536,
    )
    whole, reduced = read(data), read(data, 20)
    assert (whole.pixels.shape, reduced.pixels.shape) == ((48, 40), (24, 20))
    assert reduced.reduction == 2
    # A coarse value belongs to the place of every second fine one, not to the middle of four. One
    # of the streams is a ramp, the other full of edges, which the coarse picture rounds off.
    gap = np.abs(reduced.pixels.astype(int) - whole.pixels[::2, ::2])
    assert gap.mean() < tolerance


@pytest.mark.parametrize("name", ["RG1_J2KR.dcm", "RG1_J2KI.dcm"])
def test_a_real_chest_gets_the_same_answer(name: str, classifier: Classifier) -> None:
    from pydicom.data import get_testdata_file

    pytest.importorskip("data_store")
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    data = Path(path).read_bytes()
    whole, reduced = read(data), read(data, LEAST)
    assert reduced.reduction >= 2
    spec = classifier.card.input
    pixels = np.stack([preprocess(one.pixels, spec) for one in (whole, reduced)])
    first, second = (np.array(one.probabilities) for one in classifier.predict(pixels))
    # The lossy file moves the shipped model by 0.073; what is answered must not change.
    assert np.abs(first - second).max() < 0.08
    for number, label in enumerate(classifier.card.labels):
        if point := label.operating_point:
            edges = (point.uncertain_low, point.threshold, point.uncertain_high)
            assert [first[number] >= edge for edge in edges] == [
                second[number] >= edge for edge in edges
            ]


@pytest.mark.parametrize(
    ("changes", "least_side"),
    [
        ({"syntax": ExplicitVRLittleEndian}, LEAST),
        ({"syntax": JPEG2000Lossless, "compress": {}}, 900),
        ({"syntax": JPEG2000Lossless, "compress": {}, "is_signed": True}, LEAST),
        ({"syntax": JPEG2000, "compress": {"j2k_cr": [5]}}, 900),
        ({"syntax": JPEG2000Lossless, "compress": {}, "PixelPaddingValue": 0}, LEAST),
        ({"syntax": JPEG2000Lossless, "compress": {}, "WindowCenter": None}, LEAST),
        ({"syntax": JPEG2000Lossless, "compress": {}, "VOILUTSequence": [Dataset()]}, LEAST),
    ],
    ids=["other syntax", "all", "signed", "lossy, all", "padding", "no window", "table"],
)
def test_what_cannot_be_reduced_is_decoded_whole(
    changes: dict[str, object], least_side: int, chest: np.ndarray, make_dicom: Make
) -> None:
    stored = chest.astype(np.int16) - 2048 if "is_signed" in changes else chest
    data = make_dicom(stored, **{k: v for k, v in {**WINDOW, **changes}.items() if v is not None})
    asked = read(data, least_side)
    assert asked.reduction == 1
    assert NOTE not in asked.header.notes
    np.testing.assert_array_equal(asked.pixels, read(data).pixels)


def test_a_stream_that_pillow_refuses_is_left_to_the_whole_decoder(
    chest: np.ndarray, make_dicom: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does with streams of fewer levels than it is asked to leave out."""
    from PIL import Jpeg2KImagePlugin

    def refuse(self: object) -> None:
        raise OSError("broken data stream")

    monkeypatch.setattr(Jpeg2KImagePlugin.Jpeg2KImageFile, "load", refuse)
    data = make_dicom(chest, syntax=JPEG2000Lossless, compress={}, **WINDOW)
    assert read(data, LEAST).pixels.shape == chest.shape


def test_no_more_levels_are_left_out_than_there_are(chest: np.ndarray, make_dicom: Make) -> None:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray((chest >> 4).astype(np.uint8)).save(
        buffer, format="JPEG2000", no_jp2=True, num_resolutions=2, irreversible=False
    )
    data = make_dicom(
        chest >> 4, bits=8, allocated=8, syntax=JPEG2000Lossless, codestream=buffer.getvalue(),
        WindowCenter=125, WindowWidth=220,
    )  # fmt: skip
    assert read(data, LEAST).reduction == 2


def test_a_stream_that_is_cut_short_is_refused_all_the_same(
    chest: np.ndarray, make_dicom: Make
) -> None:
    from openjpeg.utils import encode_array

    stream = encode_array(chest, bits_stored=12)
    data = make_dicom(chest, syntax=JPEG2000Lossless, codestream=stream[: len(stream) // 2])
    with pytest.raises(UnreadableImageError):
        read(data, LEAST)


@pytest.mark.parametrize("kind", ["palette", "few bits", "shifted"])
def test_values_whose_mean_means_nothing_are_decoded_whole(
    kind: str, chest: np.ndarray, make_dicom: Make
) -> None:
    from io import BytesIO

    from PIL import Image

    small = (chest >> 4).astype(np.uint8)
    elements: dict[str, object] = {"bits": 8, "allocated": 8, **WINDOW, "compress": {}}
    if kind == "palette":
        greys = (np.random.default_rng(0).permutation(256) * 257).astype("<u2").tobytes()
        elements["photometric"] = "PALETTE COLOR"
        for colour in ("Red", "Green", "Blue"):
            elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            elements[f"{colour}PaletteColorLookupTableData"] = greys
    elif kind == "few bits":
        small >>= 4
        elements["bits"] = 4
    else:
        buffer = BytesIO()
        # The grid begins one sample outside the image, which the whole decoder refuses.
        Image.fromarray(small).save(
            buffer, format="JPEG2000", no_jp2=True, offset=(1, 1), tile_offset=(0, 0),
            tile_size=(1852, 1605),
        )  # fmt: skip
        elements |= {"compress": None, "codestream": buffer.getvalue()}
    data = make_dicom(small, syntax=JPEG2000Lossless, **elements)
    try:
        whole = read(data)
    except UnreadableImageError:
        with pytest.raises(UnreadableImageError):
            read(data, LEAST)
        return
    np.testing.assert_array_equal(read(data, LEAST).pixels, whole.pixels)
