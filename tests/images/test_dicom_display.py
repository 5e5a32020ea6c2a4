"""Exact pixels: every step of the value transform against the standard's own words."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from chestx.domain import Limits, Radiograph, UnreadableImageError
from chestx.images.dicom import decode_dicom

Make = Callable[..., bytes]

LIMITS = Limits()
DEPTHS = (8, 10, 12, 15, 16)


def read(data: bytes) -> Radiograph:
    return decode_dicom(data, limits=LIMITS)


def make_ramp(bits: int, *, is_signed: bool) -> np.ndarray:
    """64 x 64 values over the whole range of a depth, both ends included."""
    low = -(1 << (bits - 1)) if is_signed else 0
    steps = np.linspace(0, (1 << bits) - 1, 64 * 64)
    return (low + np.round(steps).astype(np.int64)).reshape(64, 64)


def to_byte(grey: float) -> int:
    """0 .. 1 to 0 .. 255, halves up."""
    return math.floor(grey * 255 + 0.5)


# The formulas below are written down from PS3.3, case by case, with no thought of speed.


def window_linear(x: float, c: float, w: float) -> float:
    """C.11.2.1.2.1, with ymin 0 and ymax 1."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 1.0
    return (x - (c - 0.5)) / (w - 1) + 0.5


def window_linear_exact(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.2."""
    if x <= c - w / 2:
        return 0.0
    if x > c + w / 2:
        return 1.0
    return (x - c) / w + 0.5


def window_sigmoid(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.1."""
    return 1 / (1 + math.exp(-4 * (x - c) / w))


def look_up(x: float, first: int, entries: list[int]) -> int:
    """C.11.1.1.1: values before the first and past the last take that entry."""
    if x <= first:
        return entries[0]
    if x >= first + len(entries) - 1:
        return entries[-1]
    return entries[int(x) - first]


def make_lut(first: int, entries: list[int], bits: int, *, is_signed: bool) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if is_signed else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.array(entries, dtype="<u2").tobytes())
    return item


def curve(count: int, top: int) -> list[int]:
    """A bent, rising table."""
    return [round(top * (i / (count - 1)) ** 0.6) for i in range(count)]


class Case:
    """A value transform for one depth and sign: its elements, and what it should give."""

    def __init__(self, name: str, bits: int, is_signed: bool) -> None:
        self.elements: dict[str, Any] = {}
        self.sequences: dict[str, list[Dataset]] = {}
        self.dcmtk: list[str] | None = None
        span, low = 1 << bits, -(1 << (bits - 1)) if is_signed else 0
        c, w = low + span * 0.4, span * 0.5
        shown: Callable[[float], float]
        if name.startswith("rescale"):
            slope = -3.0 if name == "rescale and window" else 0.3
            self.elements = {"RescaleSlope": str(slope), "RescaleIntercept": "100"}
            c, w = slope * c + 100, abs(slope) * w
            shown = lambda v: window_linear(v * slope + 100, round(c), round(w))  # noqa: E731
            # dcmtk rounds rescaled values to whole numbers.
            self.dcmtk = ["+Wi", "1"] if slope == -3 else None
        elif name == "modality table and window":
            entries = curve(span // 2, 4000)
            first = low + span // 4
            item = make_lut(first, entries, 12, is_signed=is_signed)
            item.ModalityLUTType = "US"
            self.sequences = {"ModalityLUTSequence": [item]}
            c, w = 1800, 2500
            shown = lambda v: window_linear(look_up(v, first, entries), c, w)  # noqa: E731
            self.dcmtk = ["+Wi", "1"]
        elif name == "VOI table":
            table = curve(span // 2, 1023)
            start = low + span // 8
            self.sequences = {"VOILUTSequence": [make_lut(start, table, 10, is_signed=is_signed)]}
            shown = lambda v: look_up(v, start, table) / 1023  # noqa: E731
            self.dcmtk = ["+Wl", "1"]
        elif name in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            self.elements = {"VOILUTFunction": name}
            formula = {
                "LINEAR": window_linear,
                "LINEAR_EXACT": window_linear_exact,
                "SIGMOID": window_sigmoid,
            }[name]
            shown = lambda v: formula(v, round(c), round(w))  # noqa: E731
            # This dcmtk knows no LINEAR_EXACT.
            self.dcmtk = None if name == "LINEAR_EXACT" else ["+Wi", "1"]
        elif name == "several windows":
            self.elements = {"WindowCenter": [round(c), 1], "WindowWidth": [round(w), 0.5]}
            shown = lambda v: window_linear(v, round(c), round(w))  # noqa: E731
            self.dcmtk = ["+Wi", "1"]
        else:
            assert name == "window"
            shown = lambda v: window_linear(v, round(c), round(w))  # noqa: E731
            self.dcmtk = ["+Wi", "1"]
        if name != "VOI table":
            self.elements = {"WindowCenter": round(c), "WindowWidth": round(w)} | self.elements
        self.shown = shown


TRANSFORMS = (
    "window",
    "LINEAR",
    "LINEAR_EXACT",
    "SIGMOID",
    "several windows",
    "rescale and window",
    "rescale by a fraction and window",
    "modality table and window",
    "VOI table",
)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_pixels_are_the_standards(
    transform: str, bits: int, is_signed: bool, photometric: str, make_dicom: Make, tmp_path: Path
) -> None:
    case = Case(transform, bits, is_signed)
    ramp = make_ramp(bits, is_signed=is_signed)
    data = make_dicom(
        ramp,
        bits=bits,
        allocated=8 if bits == 8 else 16,
        is_signed=is_signed,
        photometric=photometric,
        sequences=case.sequences,
        **case.elements,
    )
    expected = {int(v): to_byte(case.shown(float(v))) for v in np.unique(ramp)}
    if photometric == "MONOCHROME1":
        expected = {value: 255 - grey for value, grey in expected.items()}
    shown = read(data).pixels
    want = np.array([[expected[int(v)] for v in row] for row in ramp])
    assert np.array_equal(shown, want)
    if case.dcmtk and shutil.which("dcm2pnm"):
        rendered = render_by_dcmtk(data, case.dcmtk, tmp_path).astype(int)
        assert np.abs(rendered - shown).max() <= 1


def render_by_dcmtk(data: bytes, options: list[str], folder: Path) -> np.ndarray:
    source, target = folder / "in.dcm", folder / "out.pgm"
    source.write_bytes(data)
    subprocess.run(["dcm2pnm", "-q", "-O", *options, "+op", str(source), str(target)], check=True)
    image = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image)


@pytest.mark.parametrize(
    ("function", "width", "expected"),
    [
        # By hand: (x - (c - 0.5)) / (w - 1) + 0.5 at x = 2048, c = 2048, w = 4096 is
        # 0.5 / 4095 + 0.5 = 0.500122, times 255 is 127.53.
        ("LINEAR", 4096, {0: 0, 2048: 128, 4095: 255, 1023: 64}),
        # (x - c) / w + 0.5 at 2048 is 0.5, times 255 is 127.5; at 4095 it is 254.94.
        ("LINEAR_EXACT", 4096, {0: 0, 2048: 128, 4095: 255, 1024: 64}),
        # 1 / (1 + e^2) = 0.119203, times 255 is 30.40; 1 / (1 + e^-2) is 224.60.
        ("SIGMOID", 4096, {0: 30, 2048: 128, 4095: 225}),
        # A LINEAR window of width 1 is a step at c - 0.5.
        ("LINEAR", 1, {2047: 0, 2048: 255}),
    ],
)
def test_windows_give_the_values_worked_out_by_hand(
    function: str, width: int, expected: dict[int, int], make_dicom: Make
) -> None:
    values = np.resize(np.array(list(expected)), (16, 16))
    data = make_dicom(values, WindowCenter=2048, WindowWidth=width, VOILUTFunction=function)
    assert dict(zip(values.ravel().tolist(), read(data).pixels.ravel().tolist(), strict=True)) == (
        expected
    )


@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", DEPTHS)
def test_without_a_window_the_middle_99_percent_are_shown(
    bits: int, is_signed: bool, make_dicom: Make
) -> None:
    ramp = make_ramp(bits, is_signed=is_signed)
    ordered = sorted(ramp.ravel().tolist())

    def percentile(percent: float) -> float:
        place = percent / 100 * (len(ordered) - 1)
        below = math.floor(place)
        return float(
            ordered[below]
            + (place - below) * (ordered[min(below + 1, len(ordered) - 1)] - ordered[below])
        )

    low, high = percentile(0.5), percentile(99.5)
    radiograph = read(
        make_dicom(ramp, bits=bits, allocated=8 if bits == 8 else 16, is_signed=is_signed)
    )
    want = [
        [to_byte(min(max((v - low) / (high - low), 0), 1)) for v in row] for row in ramp.tolist()
    ]
    assert np.array_equal(radiograph.pixels, want)
    assert "percentiles 0.5 to 99.5" in radiograph.header.display


def test_a_large_image_is_sampled_for_its_percentiles(make_dicom: Make) -> None:
    row = np.arange(1200) * 3
    radiograph = read(make_dicom(np.tile(row, (1200, 1))))
    # Every third pixel: 0, 9, ... 3591; 0.5 % and 99.5 % of 0 .. 399 are 1.995 and 397.005.
    assert "window 17.955 to 3573.05" in radiograph.header.display


def test_the_voi_table_comes_before_the_window_and_is_named(make_dicom: Make) -> None:
    ramp = make_ramp(12, is_signed=False)
    item = make_lut(0, [0, 255], 8, is_signed=False)
    data = make_dicom(
        ramp, sequences={"VOILUTSequence": [item]}, WindowCenter=2000, WindowWidth=4000
    )
    radiograph = read(data)
    assert np.array_equal(radiograph.pixels, np.where(ramp > 0, 255, 0))
    assert radiograph.header.display == "VOI LUT (first item)"


def test_the_first_of_several_windows_is_named(make_dicom: Make) -> None:
    data = make_dicom(
        make_ramp(12, is_signed=False), WindowCenter=[900, 1], WindowWidth=[800, 2], RescaleSlope=2,
        RescaleIntercept=-5,
    )  # fmt: skip
    assert read(data).header.display == (
        "rescale slope 2 intercept -5, window centre 900 width 800 (LINEAR, first of several)"
    )


@pytest.mark.parametrize("is_implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("first", [-1000, 0, 500])
def test_tables_start_at_signed_values_in_any_vr(
    first: int, is_implicit: bool, make_dicom: Make
) -> None:
    ramp = make_ramp(12, is_signed=True)
    entries = curve(1000, 65535)
    data = make_dicom(
        ramp,
        is_signed=True,
        syntax=ImplicitVRLittleEndian if is_implicit else "1.2.840.10008.1.2.1",
        sequences={"VOILUTSequence": [make_lut(first, entries, 16, is_signed=True)]},
    )
    want = [[to_byte(look_up(v, first, entries) / 65535) for v in row] for row in ramp.tolist()]
    assert np.array_equal(read(data).pixels, want)


def test_zero_entries_are_65536(make_dicom: Make) -> None:
    ramp = make_ramp(16, is_signed=False)
    data = make_dicom(
        ramp,
        bits=16,
        syntax=ImplicitVRLittleEndian,
        sequences={"VOILUTSequence": [make_lut(0, list(range(65536)), 16, is_signed=False)]},
    )
    assert np.array_equal(read(data).pixels, np.floor(ramp / 65535 * 255 + 0.5))


def test_packed_entries_of_8_bits_are_read(make_dicom: Make) -> None:
    ramp = make_ramp(8, is_signed=False)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 8])
    item.add_new("LUTData", "OW", bytes(255 - i // 2 for i in range(256)))
    data = make_dicom(ramp, bits=8, allocated=8, sequences={"VOILUTSequence": [item]})
    assert np.array_equal(read(data).pixels, 255 - ramp // 2)


def test_bits_outside_bits_stored_are_masked_off(make_dicom: Make) -> None:
    ramp = make_ramp(12, is_signed=False)
    clean = read(make_dicom(ramp, WindowCenter=2048, WindowWidth=4096))
    for photometric, overlay in (("MONOCHROME2", 0xF000), ("MONOCHROME2", 0x8000)):
        dirty = make_dicom(
            ramp | overlay, photometric=photometric, WindowCenter=2048, WindowWidth=4096
        )
        assert np.array_equal(read(dirty).pixels, clean.pixels)


@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
def test_a_high_bit_above_bits_stored_shifts_the_values(is_signed: bool, make_dicom: Make) -> None:
    ramp = make_ramp(12, is_signed=is_signed)
    window = {"WindowCenter": 300, "WindowWidth": 1500}
    plain = read(make_dicom(ramp, is_signed=is_signed, **window))
    shifted = make_dicom((ramp << 4) | 5, is_signed=is_signed, HighBit=15, **window)
    assert np.array_equal(read(shifted).pixels, plain.pixels)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
def test_padding_is_black_and_does_not_move_the_percentiles(
    photometric: str, is_signed: bool, make_dicom: Make
) -> None:
    ramp = np.clip(make_ramp(12, is_signed=is_signed), 100, 1500)
    padded = ramp.copy()
    padded[:, :20] = -2000 if is_signed else 4095
    padded[:, 20:22] = -1990 if is_signed else 4090
    low, high = (-2000, -1990) if is_signed else (4095, 4090)
    options: dict[str, Any] = {"is_signed": is_signed, "photometric": photometric}
    shown = read(
        make_dicom(padded, PixelPaddingValue=low, PixelPaddingRangeLimit=high, **options)
    ).pixels
    assert not shown[:, :22].any()
    assert np.array_equal(shown[:, 22:], read(make_dicom(ramp[:, 22:], **options)).pixels)


def test_an_image_of_padding_alone_is_black(make_dicom: Make) -> None:
    assert not read(make_dicom(np.full((16, 16), 7), PixelPaddingValue=7)).pixels.any()


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverse", "note"),
    [
        ("MONOCHROME1", None, True, None),
        ("MONOCHROME1", "INVERSE", True, None),
        ("MONOCHROME1", "IDENTITY", True, "contradicts MONOCHROME1"),
        ("MONOCHROME2", "IDENTITY", False, None),
        ("MONOCHROME2", "INVERSE", True, "INVERSE was followed"),
        ("MONOCHROME2", "LIN OD", False, "unknown"),
    ],
)
def test_the_image_is_inverted_once(
    photometric: str, shape: str | None, is_inverse: bool, note: str | None, make_dicom: Make
) -> None:
    ramp = make_ramp(12, is_signed=False)
    extra = {} if shape is None else {"PresentationLUTShape": shape}
    radiograph = read(make_dicom(ramp, photometric=photometric, **extra))
    assert (radiograph.pixels[0, 0] == 255) == is_inverse
    assert (radiograph.pixels[-1, -1] == 0) == is_inverse
    assert ("inverted" in radiograph.header.display) == is_inverse
    assert len(radiograph.header.notes) == (note is not None)
    assert note is None or note in radiograph.header.notes[0]


@pytest.mark.parametrize(
    "window",
    [
        ("NaN", "400"), ("2000", "NaN"), ("2000", "wide"), ("2000", "0"), ("2000", "-5"),
        ("2000", "0.5"), ("1e999", "400"), ("2000", "1e300"), ("2000", "inf"), ("2000", ""),
        ("", "400"),
    ],
)  # fmt: skip
def test_an_unusable_window_gives_way_to_percentiles(
    window: tuple[str, str], make_dicom: Make
) -> None:
    ramp = make_ramp(12, is_signed=False)
    marked = make_dicom(ramp, WindowCenter="1234567890123456", WindowWidth="6543210987654321")
    data = marked.replace(b"1234567890123456", window[0].encode().ljust(16)).replace(
        b"6543210987654321", window[1].encode().ljust(16)
    )
    radiograph = read(data)
    assert np.array_equal(radiograph.pixels, read(make_dicom(ramp)).pixels)
    assert "cannot be used" in radiograph.header.notes[0]


def test_a_window_that_shows_one_grey_gives_way_to_percentiles(make_dicom: Make) -> None:
    ramp = make_ramp(12, is_signed=False)
    radiograph = read(make_dicom(ramp, WindowCenter=30000, WindowWidth=100))
    assert np.array_equal(radiograph.pixels, read(make_dicom(ramp)).pixels)
    assert radiograph.header.notes == (
        "window centre 30000 width 100 (LINEAR) shows the whole image in one grey and was not used",
    )


def test_an_unknown_function_is_read_as_linear(make_dicom: Make) -> None:
    ramp = make_ramp(12, is_signed=False)
    window = {"WindowCenter": 900, "WindowWidth": 800}
    radiograph = read(make_dicom(ramp, VOILUTFunction="CUBIC", **window))
    assert np.array_equal(radiograph.pixels, read(make_dicom(ramp, **window)).pixels)
    assert radiograph.header.notes == ("VOILUTFunction is unknown; LINEAR was used",)


@pytest.mark.parametrize("fault", ["no items", "too short", "no descriptor", "too deep"])
def test_a_damaged_voi_table_gives_way_to_the_window(fault: str, make_dicom: Make) -> None:
    ramp = make_ramp(12, is_signed=False)
    item = make_lut(0, curve(4096, 4095), 17 if fault == "too deep" else 12, is_signed=False)
    if fault == "too short":
        item.LUTData = item.LUTData[:100]
    if fault == "no descriptor":
        del item.LUTDescriptor
    items = [] if fault == "no items" else [item]
    window = {"WindowCenter": 900, "WindowWidth": 800}
    radiograph = read(make_dicom(ramp, sequences={"VOILUTSequence": items}, **window))
    assert np.array_equal(radiograph.pixels, read(make_dicom(ramp, **window)).pixels)
    assert radiograph.header.notes == ("VOILUTSequence is damaged and was not used",)


def test_a_damaged_modality_table_is_refused(make_dicom: Make) -> None:
    item = make_lut(0, [0, 1], 12, is_signed=False)
    del item.LUTData
    data = make_dicom(make_ramp(12, is_signed=False), sequences={"ModalityLUTSequence": [item]})
    with pytest.raises(UnreadableImageError, match="ModalityLUTSequence: expected a descriptor"):
        read(data)


@pytest.mark.parametrize(
    ("slope", "intercept"), [("0", "1"), ("NaN", "0"), ("1", "x"), ("1e300", "0"), ("inf", "0")]
)
def test_an_unusable_rescale_is_refused(slope: str, intercept: str, make_dicom: Make) -> None:
    marked = make_dicom(
        make_ramp(12, is_signed=False), RescaleSlope="123456789", RescaleIntercept="987654321"
    )
    data = marked.replace(b"123456789", slope.encode().ljust(9)).replace(
        b"987654321", intercept.encode().ljust(9)
    )
    with pytest.raises(UnreadableImageError, match="expected a RescaleSlope other than 0"):
        read(data)


def test_a_constant_image_is_black(make_dicom: Make) -> None:
    assert not read(make_dicom(np.full((16, 16), 900))).pixels.any()


@pytest.mark.skipif(not shutil.which("dcm2pnm"), reason="dcmtk's dcm2pnm is not installed")
@pytest.mark.parametrize(
    ("photometric", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")]
)
def test_dcmtk_inverts_the_same_conforming_images(
    photometric: str, shape: str, make_dicom: Make, tmp_path: Path
) -> None:
    data = make_dicom(
        make_ramp(12, is_signed=False), photometric=photometric, PresentationLUTShape=shape,
        WindowCenter=2048, WindowWidth=4096,
    )  # fmt: skip
    rendered = render_by_dcmtk(data, ["+Wi", "1"], tmp_path).astype(int)
    assert np.abs(rendered - read(data).pixels).max() <= 1
