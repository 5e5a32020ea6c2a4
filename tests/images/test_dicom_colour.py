"""Colour secondary captures of a radiograph become grey by luminance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless

from chestx.domain import Limits, Radiograph, UnreadableImageError
from chestx.images.dicom import decode_dicom

Make = Callable[..., bytes]

LIMITS = Limits()


def read(data: bytes) -> Radiograph:
    return decode_dicom(data, limits=LIMITS)


def make_colours(top: int = 255) -> np.ndarray:
    values = np.random.default_rng(3).integers(0, top + 1, (32, 24, 3))
    values[0, :5] = [[0, 0, 0], [top] * 3, [top, 0, 0], [0, top, 0], [0, 0, top]]
    return values


def luminance(rgb: np.ndarray) -> np.ndarray:
    """BT.601, halves up."""
    return np.floor(0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2] + 0.5)


def make_rgb(make_dicom: Make, values: np.ndarray, **options: Any) -> bytes:
    settings: dict[str, Any] = {"bits": 8, "allocated": 8, "photometric": "RGB"} | options
    return make_dicom(values, **settings)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLELossless, JPEGLSLossless])
def test_rgb_becomes_its_luminance(syntax: str, make_dicom: Make) -> None:
    values = make_colours()
    compress: dict[str, Any] | None = None if syntax == "1.2.840.10008.1.2.1" else {}
    radiograph = read(make_rgb(make_dicom, values, syntax=syntax, compress=compress))
    # By hand: red 0.299 * 255 = 76.2, green 149.7, blue 29.1.
    assert radiograph.pixels[0, :5].tolist() == [0, 255, 76, 150, 29]
    assert np.abs(radiograph.pixels - luminance(values)).max() <= 1
    assert (radiograph.pixels == luminance(values)).mean() > 0.99
    spread = (values.max(axis=2) - values.min(axis=2)).mean()
    assert radiograph.header.colourfulness == pytest.approx(spread, abs=1e-3)
    assert radiograph.header.display == "luminance of RGB"


def test_colour_by_plane_is_the_same_picture(make_dicom: Make) -> None:
    values = make_colours()
    by_plane = np.moveaxis(values, 2, 0).reshape(values.shape)
    data = make_rgb(make_dicom, by_plane, PlanarConfiguration=1)
    assert np.array_equal(read(data).pixels, read(make_rgb(make_dicom, values)).pixels)


def test_grey_stored_as_colour_stays_as_it_is(make_dicom: Make) -> None:
    grey = np.arange(768).reshape(32, 24) % 256
    radiograph = read(make_rgb(make_dicom, np.stack([grey] * 3, axis=2)))
    assert np.array_equal(radiograph.pixels, grey)
    assert radiograph.header.colourfulness == 0


def test_colour_of_16_bits_is_scaled(make_dicom: Make) -> None:
    values = make_colours(4095)
    radiograph = read(make_rgb(make_dicom, values, bits=12, allocated=16))
    assert np.abs(radiograph.pixels - luminance(values * 255 / 4095)).max() <= 1


def to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.6.3.1.2, YBR_FULL."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 0.2990 * r + 0.5870 * g + 0.1140 * b
    cb = -0.1687 * r - 0.3313 * g + 0.5000 * b + 128
    cr = 0.5000 * r - 0.4187 * g - 0.0813 * b + 128
    return np.clip(np.round(np.stack([y, cb, cr], axis=2)), 0, 255).astype(int)


def test_ybr_full_becomes_its_luminance(make_dicom: Make) -> None:
    values = make_colours()
    radiograph = read(make_rgb(make_dicom, to_ycbcr(values), photometric="YBR_FULL"))
    assert np.abs(radiograph.pixels - luminance(values)).max() <= 2
    spread = (values.max(axis=2) - values.min(axis=2)).mean()
    assert radiograph.header.colourfulness == pytest.approx(spread, abs=1)


def test_ybr_full_422_becomes_its_luminance(make_dicom: Make) -> None:
    values = np.repeat(make_colours()[:, ::2], 2, axis=1)
    full = to_ycbcr(values)
    packed = np.empty((32, 12, 4), dtype=int)
    packed[..., 0], packed[..., 1] = full[:, ::2, 0], full[:, 1::2, 0]
    packed[..., 2], packed[..., 3] = full[:, ::2, 1], full[:, ::2, 2]
    data = make_rgb(
        make_dicom,
        np.zeros((32, 24, 3)),
        photometric="YBR_FULL_422",
        PixelData=packed.astype(np.uint8).tobytes(),
    )
    assert np.abs(read(data).pixels - luminance(values)).max() <= 2
    odd = make_rgb(make_dicom, np.zeros((32, 23, 3)), photometric="YBR_FULL_422")
    with pytest.raises(UnreadableImageError, match="expected an even number of columns"):
        read(odd)


def make_palette(bits: int) -> dict[str, Any]:
    """A red-to-blue palette that starts at index 10."""
    top = (1 << bits) - 1
    entries = np.linspace(0, top, 200).round().astype(int)
    tables = {"Red": entries, "Green": entries // 2, "Blue": entries[::-1]}
    elements: dict[str, Any] = {}
    for colour, table in tables.items():
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [200, 10, bits]
        kind = np.uint8 if bits == 8 else np.dtype("<u2")
        elements[f"{colour}PaletteColorLookupTableData"] = table.astype(kind).tobytes()
    return elements


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_looked_up(bits: int, make_dicom: Make) -> None:
    indices = np.arange(1024).reshape(32, 32) % 256
    data = make_dicom(
        indices, bits=8, allocated=8, photometric="PALETTE COLOR", **make_palette(bits)
    )
    entries = np.linspace(0, (1 << bits) - 1, 200).round()
    place = np.clip(indices - 10, 0, 199)
    rgb = np.stack([entries[place], entries[place] // 2, entries[::-1][place]], axis=2)
    rgb = rgb * 255 / ((1 << bits) - 1)
    radiograph = read(data)
    assert np.abs(radiograph.pixels - luminance(rgb)).max() <= 1
    spread = (rgb.max(axis=2) - rgb.min(axis=2)).mean()
    assert radiograph.header.colourfulness == pytest.approx(spread, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"GreenPaletteColorLookupTableData": b"abcd"}, "GreenPaletteColorLookupTableData"),
        ({"BluePaletteColorLookupTableDescriptor": [200, 10, 9]}, "BluePaletteColor"),
        ({"SegmentedRedPaletteColorLookupTableData": b"abcd"}, "got a segmented one"),
    ],
)
def test_a_damaged_palette_is_refused(
    change: dict[str, Any], message: str, make_dicom: Make
) -> None:
    elements = make_palette(8) | change
    data = make_dicom(
        np.zeros((32, 32)), bits=8, allocated=8, photometric="PALETTE COLOR", **elements
    )
    with pytest.raises(UnreadableImageError, match=message):
        read(data)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_dcmtk_+eb+cr.dcm",  # RGB in JPEG, without a colour transform
        "SC_rgb_dcmtk_+eb+cy+n2.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_gdcm.dcm",  # RGB in JPEG lossless
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
        "SC_rgb_gdcm_KY.dcm",  # RGB in JPEG 2000
        "SC_rgb_rle.dcm",
    ],
)
def test_compressed_colour_comes_out_right(name: str) -> None:
    from pydicom.data import get_testdata_file

    path, plain = (get_testdata_file(x, download=False) for x in (name, "SC_rgb_rle.dcm"))
    assert isinstance(path, str)
    assert isinstance(plain, str)
    shown = read(Path(path).read_bytes()).pixels.astype(int)
    assert np.abs(shown - read(Path(plain).read_bytes()).pixels).mean() < 2
