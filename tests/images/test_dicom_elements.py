"""Hostile and broken files: each comes back as a reason that names the fault."""

from __future__ import annotations

import contextlib
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from chestx.domain import ImageHeader, Limits, UnreadableImageError
from chestx.images.dicom import decode_dicom, is_dicom
from chestx.images.dicom_dataset import Tag
from chestx.images.dicom_elements import MAX_ELEMENTS, read_dicom_file

Make = Callable[..., bytes]

LIMITS = Limits()
RAMP = np.arange(48 * 40).reshape(48, 40)
SQ = b"\x08\x00\x40\x11SQ\0\0"  # ReferencedImageSequence, explicit VR
ITEM = b"\xfe\xff\x00\xe0"
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
UNDEFINED = b"\xff\xff\xff\xff"


def refuse(data: bytes, limits: Limits = LIMITS) -> tuple[str, ImageHeader | None]:
    """The reason, and the header that came with it."""
    with pytest.raises(UnreadableImageError) as caught:
        decode_dicom(data, limits=limits)
    return str(caught.value), caught.value.header


def insert_before_modality(data: bytes, elements: bytes) -> bytes:
    place = data.index(b"\x08\x00\x60\x00CS")
    return data[:place] + elements + data[place:]


def nest(depth: int, *, is_delimited: bool) -> bytes:
    """Sequences inside sequences, by delimiters or by stated lengths."""
    if is_delimited:
        return (SQ + UNDEFINED + ITEM + UNDEFINED) * depth + (ITEM_END + SEQUENCE_END) * depth
    inner = b""
    for _ in range(depth):
        item = ITEM + struct.pack("<L", len(inner)) + inner
        inner = SQ + struct.pack("<L", len(item)) + item
    return inner


def test_content_tells_what_is_dicom(make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    assert is_dicom(data)
    assert is_dicom(data[132:])
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian):
        written = make_dicom(RAMP, syntax=syntax)
        group_2 = struct.unpack_from("<L", written, 140)[0]
        assert is_dicom(written[144 + group_2 :])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"DICM",
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"\xff\xd8\xff\xe0" + bytes(200),
        b"II*\0" + bytes(200),
        b"BM" + bytes(200),
        b"just some text, longer than a preamble " * 9,
        bytes(200),
        b"\x08\x00\x05",
        b"\x08\x00\x05\x00\xff\xff\xff\x7f",
    ],
)
def test_other_content_is_not_dicom(data: bytes) -> None:
    assert not is_dicom(data)
    assert refuse(data)[0].startswith("expected a DICOM file")


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_a_file_without_preamble_or_meta_group_is_read(syntax: str, make_dicom: Make) -> None:
    data = make_dicom(RAMP, syntax=syntax)
    group_2 = struct.unpack_from("<L", data, 140)[0]
    whole = decode_dicom(data, limits=LIMITS)
    for part in (data[132:], data[144 + group_2 :]):
        radiograph = decode_dicom(part, limits=LIMITS)
        assert np.array_equal(radiograph.pixels, whole.pixels)
        assert radiograph.header.transfer_syntax_uid == syntax
    assert radiograph.header.notes == (
        "the file states no transfer syntax; it was told from the first element",
    )


def test_a_file_above_the_limit_is_refused(make_dicom: Make) -> None:
    assert refuse(make_dicom(RAMP), Limits(max_bytes=1000))[0].startswith(
        "DICOM file: expected at most 1000 bytes, got "
    )


@pytest.mark.parametrize(
    ("program", "name"), [(b"MZ", "Windows"), (b"\x7fELF", "Linux"), (b"#!/bin/sh", "script")]
)
def test_a_program_in_the_preamble_is_refused(program: bytes, name: str, make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    reason, _ = refuse(program + data[len(program) :])
    assert reason.startswith("the preamble starts a")
    assert name in reason


def test_every_truncation_is_noticed_and_keeps_the_study(make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    study_at = data.index(b"\x20\x00\x0d\x00UI")
    for length in [*range(140, len(data) - RAMP.size * 2, 7), len(data) - 1]:
        reason, header = refuse(data[:length])
        assert header is not None
        if length > study_at + 60:
            assert header.study_instance_uid == "1.2.826.0.1.3680043.8.498.2"
            assert "cut short" in reason or "without pixel data" in reason or "states no" in reason


def test_pixel_data_cut_short_names_both_lengths(make_dicom: Make) -> None:
    reason, header = refuse(make_dicom(RAMP)[:-100])
    assert reason == (
        "the file is cut short in (7FE0,0010) PixelData: expected 3840 bytes, got 3740; "
        "get the file again"
    )
    assert header is not None
    assert (header.rows, header.columns) == (48, 40)


def test_a_length_of_4_gigabytes_is_refused(make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    place = data.index(b"\xe0\x7f\x10\x00OW") + 8
    reason, _ = refuse(data[:place] + struct.pack("<L", 0xFFFFFFF0) + data[place + 4 :])
    assert "expected 4294967280 bytes, got 3840" in reason


@pytest.mark.parametrize("is_delimited", [False, True], ids=["lengths", "delimiters"])
def test_deep_nesting_is_refused(is_delimited: bool, make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    assert decode_dicom(
        insert_before_modality(data, nest(32, is_delimited=is_delimited)), limits=LIMITS
    )
    for depth in (33, 5000):
        deep = insert_before_modality(data, nest(depth, is_delimited=is_delimited))
        assert refuse(deep)[0] == "sequences are nested deeper than the limit of 32"


@pytest.mark.parametrize("is_delimited", [False, True], ids=["lengths", "delimiters"])
def test_a_limit_past_what_python_can_follow_is_no_crash(
    is_delimited: bool, make_dicom: Make
) -> None:
    deep = insert_before_modality(make_dicom(RAMP), nest(5000, is_delimited=is_delimited))
    reason, _ = refuse(deep, replace(LIMITS, max_nesting=10_000))
    assert "deeper than this process can follow" in reason


def test_a_flood_of_elements_is_refused(make_dicom: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_ELEMENTS == 200_000
    monkeypatch.setattr("chestx.images.dicom_elements.MAX_ELEMENTS", 2000)
    flood = b"\x08\x00\x50\x00SH\0\0" * 2001
    reason, _ = refuse(insert_before_modality(make_dicom(RAMP), flood))
    assert reason == "the header holds more than 2000 elements"


def test_a_deflate_bomb_is_refused(make_dicom: Make) -> None:
    data = make_dicom(RAMP, syntax=DeflatedExplicitVRLittleEndian)
    head = data[: 144 + struct.unpack_from("<L", data, 140)[0]]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    assert len(bomb) < 100_000
    reason, _ = refuse(head + bomb, Limits(max_bytes=1 << 24))
    assert reason == "the deflated data set grows past the limit of 16777216 bytes"


def test_damaged_deflated_data_are_refused(make_dicom: Make) -> None:
    data = make_dicom(RAMP, syntax=DeflatedExplicitVRLittleEndian)
    start = 144 + struct.unpack_from("<L", data, 140)[0]
    assert refuse(data[: start + 300])[0].startswith("the deflated data set is cut short")
    assert refuse(data[:start] + b"\xff" * 50)[0].startswith("the deflated data set is damaged")


def test_a_data_set_in_another_vr_than_stated_is_refused(make_dicom: Make) -> None:
    explicit = make_dicom(RAMP)
    lie = explicit.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0", 1)
    assert refuse(lie)[0] == (
        "wrong transfer syntax: the file states implicit VR little endian (1.2.840.10008.1.2) "
        "but is written in explicit VR little endian"
    )
    implicit = make_dicom(RAMP, syntax=ImplicitVRLittleEndian)
    lie = implicit.replace(b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.3\0", 1)
    assert "is written in implicit VR little endian" in refuse(lie)[0]


def test_a_file_that_states_no_transfer_syntax_and_shows_none_is_refused(make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    start = 144 + struct.unpack_from("<L", data, 140)[0]
    headless = bytes(128) + b"DICM" + b"\x01\x03" + data[start + 2 :]
    assert refuse(headless)[0].startswith("the file states no transfer syntax and none")


@pytest.mark.parametrize(
    "inside",
    [
        ITEM + struct.pack("<L", 200) + b"x" * 20,  # an item past the end of its sequence
        b"\x08\x00\x50\x00SH\x04\x00" + b"abcd",  # no item
        ITEM + struct.pack("<L", 6) + b"x" * 6,  # less than an element
    ],
)
def test_a_damaged_sequence_of_stated_length_is_passed_over(
    inside: bytes, make_dicom: Make
) -> None:
    data = make_dicom(RAMP)
    damaged = insert_before_modality(data, SQ + struct.pack("<L", len(inside)) + inside)
    radiograph = decode_dicom(damaged, limits=LIMITS)
    assert np.array_equal(radiograph.pixels, decode_dicom(data, limits=LIMITS).pixels)
    assert radiograph.header.modality == "CR"
    assert all("was passed over" in note for note in radiograph.header.notes)


@pytest.mark.parametrize(
    "tail",
    [
        UNDEFINED + b"\x08\x00\x50\x00SH\x04\x00abcd",
        UNDEFINED + ITEM + UNDEFINED,
        UNDEFINED + ITEM + struct.pack("<L", 1 << 30),
    ],
)
def test_a_damaged_delimited_sequence_is_a_fault(tail: bytes, make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    cut = data[: data.index(b"\x08\x00\x60\x00CS")] + SQ + tail
    reason, header = refuse(cut)
    assert "expected an item" in reason or "cut short" in reason
    assert header is not None
    assert header.sop_instance_uid == "1.2.826.0.1.3680043.8.498.1"


@pytest.mark.parametrize("fragment", [b"\x08\x00\x50\x00\0\0\0\0", ITEM + UNDEFINED])
def test_damaged_fragments_are_a_fault(fragment: bytes, make_dicom: Make) -> None:
    data = make_dicom(RAMP, syntax="1.2.840.10008.1.2.5", compress={})
    place = data.index(b"\xe0\x7f\x10\x00") + 12
    reason, _ = refuse(data[:place] + fragment)
    assert "expected a fragment" in reason


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_nested_items_are_read_in_every_coding(syntax: str, make_dicom: Make) -> None:
    inner, outer = Dataset(), Dataset()
    inner.PatientID = "inner"
    outer.ReferencedImageSequence = [inner]
    outer.PatientID = "outer"
    for is_delimited in (False, True):
        data_set = Dataset()
        data_set.ReferencedStudySequence = [outer]
        data_set["ReferencedStudySequence"].is_undefined_length = is_delimited
        data = make_dicom(
            RAMP, syntax=syntax, ReferencedStudySequence=data_set.ReferencedStudySequence
        )
        file = read_dicom_file(data, limits=LIMITS)
        assert not file.fault
        assert file.data_set.read_text(Tag.PatientID) == "P1"
        study = file.data_set.elements[0x00081110]
        assert study.items[0].read_text(Tag.PatientID) == "outer"
        assert study.items[0].elements[0x00081140].items[0].read_text(Tag.PatientID) == "inner"


def test_an_unknown_sequence_is_implicit_inside(make_dicom: Make) -> None:
    element = b"\x10\x00\x20\x00" + struct.pack("<L", 6) + b"inside"
    item = ITEM + struct.pack("<L", len(element)) + element
    unknown = b"\x08\x00\x41\x11UN\0\0" + UNDEFINED + item + SEQUENCE_END
    file = read_dicom_file(insert_before_modality(make_dicom(RAMP), unknown), limits=LIMITS)
    assert not file.fault
    assert file.data_set.elements[0x00081141].items[0].read_text(Tag.PatientID) == "inside"


def test_zero_bytes_after_the_header_are_let_pass(make_dicom: Make) -> None:
    data = make_dicom(RAMP)
    header_only = data[: data.index(b"\xe0\x7f\x10\x00OW")]
    assert not read_dicom_file(header_only + bytes(5), limits=LIMITS).fault
    assert decode_dicom(data + bytes(100), limits=LIMITS)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_never_raises_anything_else(seed: int, make_dicom: Make) -> None:
    source = random.Random(seed)
    window = {"WindowCenter": 900, "WindowWidth": 800, "PatientAge": "045Y"}
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        original = make_dicom(RAMP, syntax=syntax, **window)
        for _ in range(15):
            data = bytearray(original)
            for _ in range(source.randrange(1, 12)):
                data[source.randrange(132, len(data) - RAMP.size * 2)] = source.randrange(256)
            with contextlib.suppress(UnreadableImageError):
                decode_dicom(bytes(data), limits=replace(LIMITS, max_pixels=1_000_000))


def test_noise_behind_the_mark_is_refused() -> None:
    source = random.Random(7)
    for _ in range(40):
        data = bytes(128) + b"DICM" + source.randbytes(3000)
        assert refuse(data)[0]


def write_text(tag: int, value: bytes) -> bytes:
    """An element with a 32-bit length, which explicit VR lets any text claim by UT."""
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"UT", 0, len(value)) + value


def write_long(data: bytes, tag: int, value: bytes) -> bytes:
    return data.replace(b"\xe0\x7f\x10\x00OW", write_text(tag, value) + b"\xe0\x7f\x10\x00OW", 1)


@pytest.mark.parametrize(
    ("tag", "fill"),
    [
        (Tag.WindowCenter, b"1\\"),
        (Tag.WindowCenter, b"\\"),
        (Tag.PatientID, b"\x1b$B "),
        (Tag.PatientID, b"\xe9\xe9"),
        (Tag.SpecificCharacterSet, b"\\"),
        (Tag.Rows, b"\x30\x00"),
    ],
)
def test_a_value_of_many_megabytes_costs_nothing(tag: Tag, fill: bytes, make_dicom: Make) -> None:
    import tracemalloc

    data = write_long(make_dicom(RAMP), tag, fill * (16_000_000 // len(fill)))
    tracemalloc.start()
    try:
        header = decode_dicom(data, limits=LIMITS).header
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
    assert len(header.patient_id) <= 64


def test_a_long_list_of_numbers_is_read_up_to_the_last_whole_one(make_dicom: Make) -> None:
    file = read_dicom_file(
        write_long(make_dicom(RAMP), Tag.WindowCenter, b"2048\\" * 1000), limits=LIMITS
    )
    numbers = file.data_set.read_decimals(Tag.WindowCenter)
    assert 100 < len(numbers) < 1000
    assert set(numbers) == {2048.0}


@pytest.mark.parametrize(("frames", "shown"), [(b"9" * 5000, "9" * 12 + "..."), (b"12", "12")])
def test_a_number_of_frames_of_any_length_is_named(
    frames: bytes, shown: str, make_dicom: Make
) -> None:
    reason, _ = refuse(write_long(make_dicom(RAMP), Tag.NumberOfFrames, frames))
    assert reason.startswith(f"NumberOfFrames: expected one frame, got {shown};")


def test_notes_are_bounded(make_dicom: Make) -> None:
    inside = ITEM + struct.pack("<L", 6) + b"x" * 6
    broken = b"".join(
        struct.pack("<HH2sHL", 0x0008, 0x2000 + i % 50, b"SQ", 0, len(inside)) + inside
        for i in range(2000)
    )
    notes = decode_dicom(insert_before_modality(make_dicom(RAMP), broken), limits=LIMITS)
    assert len(notes.header.notes) == 11
    assert notes.header.notes[-1] == "and 40 more"
    assert all(len(note) <= 200 for note in notes.header.notes)


def test_deflated_data_are_held_once(make_dicom: Make) -> None:
    import tracemalloc

    data = make_dicom(RAMP, syntax=DeflatedExplicitVRLittleEndian)
    head = data[: 144 + struct.unpack_from("<L", data, 140)[0]]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    tracemalloc.start()
    try:
        refuse(head + bomb, Limits(max_bytes=1 << 25))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * (1 << 25)
