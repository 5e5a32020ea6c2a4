"""What leaves the reading process is short, however a file is written and whatever it holds."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from chestx.domain import Limits
from chestx.images.dicom_attributes import MAX_BYTES, MAX_TABLE, MAX_VALUE, write_attributes
from chestx.images.dicom_dataset import DataSet, Element
from chestx.images.dicom_elements import read_dicom_file
from chestx.images.dicom_header import read_header

PIXELS = np.zeros((20, 20), dtype=np.uint16)
CODE = struct.pack("<HHI", 0x0008, 0x0100, 2) + b"T1"


def read_back(data: bytes) -> dict[int, bytes]:
    """Elements in Implicit VR Little Endian."""
    elements, position = {}, 0
    while position < len(data):
        group, number, length = struct.unpack_from("<HHI", data, position)
        elements[group << 16 | number] = data[position + 8 : position + 8 + length]
        assert len(elements[group << 16 | number]) == length
        position += 8 + length
    return elements


def make_element(value: bytes, *, vr: str = "LO", items: tuple[DataSet, ...] = ()) -> Element:
    return Element(vr, memoryview(value), items=items)


def set_aside(data: bytes) -> dict[int, bytes]:
    return read_back(read_header(read_dicom_file(data, limits=Limits())).dicom_attributes)


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_elements_are_the_same_however_the_file_is_written(
    make_dicom: Callable[..., bytes], syntax: str
) -> None:
    code, table = Dataset(), Dataset()
    code.CodeValue, code.CodeMeaning = "T1", "Chest"
    table.add_new("LUTDescriptor", "US", [2, 0, 16])
    table.add_new("LUTData", "OW", b"\x01\x02\x03\x04")
    data = make_dicom(
        PIXELS,
        syntax=syntax,
        PatientName="A^B",
        ImageComments="not taken over",
        ProcedureCodeSequence=[code],
        VOILUTSequence=[table],
    )
    kept = set_aside(data)
    assert kept[0x00100010].rstrip() == b"A^B"
    assert kept[0x00280010] == b"\x14\x00"
    assert CODE in kept[0x00081032]
    is_swapped = syntax == ExplicitVRBigEndian
    assert kept[0x00283010].endswith(b"\x02\x01\x04\x03" if is_swapped else b"\x01\x02\x03\x04")
    assert 0x00204000 not in kept
    assert 0x7FE00010 not in kept


def test_a_sequence_written_as_un_or_without_lengths_is_the_same(
    make_dicom: Callable[..., bytes],
) -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(CODE)) + CODE
    code = Dataset()
    code.CodeValue = "T1"
    plain = make_dicom(PIXELS, syntax=ImplicitVRLittleEndian, ProcedureCodeSequence=[code])
    element = struct.pack("<HHI", 0x0008, 0x1032, len(item)) + item
    assert element in plain
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    endless_item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + CODE
    endless_item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    endless = struct.pack("<HHI", 0x0008, 0x1032, 0xFFFFFFFF) + endless_item + end
    assert set_aside(plain.replace(element, endless)) == set_aside(plain)
    explicit = make_dicom(PIXELS, ProcedureCodeSequence=[code])
    start = explicit.index(struct.pack("<HH", 0x0008, 0x1032) + b"SQ")
    length = struct.unpack_from("<I", explicit, start + 8)[0]
    unknown = struct.pack("<HH2sHI", 0x0008, 0x1032, b"UN", 0, len(item)) + item
    changed = explicit[:start] + unknown + explicit[start + 12 + length :]
    assert set_aside(changed) == set_aside(plain)


def test_long_values_are_left_out_whole() -> None:
    elements = {
        0x00100010: make_element(b"A" * (MAX_VALUE + 1)),
        0x00100020: make_element(b"B" * MAX_VALUE),
        0x00080050: make_element(b"C" * (MAX_TABLE * 4)),
    }
    assert read_back(write_attributes(DataSet(elements))) == {0x00100020: b"B" * MAX_VALUE}


def test_neither_items_nor_depth_nor_tables_make_it_long() -> None:
    inner = DataSet({0x00080100: make_element(b"1234"), 0x00321064: make_element(b"")})
    for _ in range(30):
        inner = DataSet({0x00321064: make_element(b"", vr="SQ", items=(inner,) * 3)})
    code = DataSet({0x00080100: make_element(b"5678"), 0x00091001: make_element(b"private")})
    table = DataSet({0x00283006: make_element(bytes(MAX_TABLE))})
    elements = {
        0x00081032: make_element(b"", vr="SQ", items=(code,) * 100_000),
        0x00283000: make_element(b"", vr="SQ", items=(table,) * 1_000),
        0x00283010: make_element(b"", vr="SQ", items=(table,) * 1_000),
        0x00400275: make_element(b"", vr="SQ", items=(inner,) * 1_000),
    }
    start = time.process_time()
    data = write_attributes(DataSet(elements))
    assert time.process_time() - start < 1
    assert len(data) <= MAX_BYTES
    kept = read_back(data)
    assert kept[0x00081032].count(b"5678") == 16
    assert b"private" not in data
    assert b"1234" not in data


def test_a_name_that_is_a_sequence_and_a_sequence_that_is_none_are_left_out() -> None:
    item = DataSet({0x00080100: make_element(b"A")})
    elements = {
        0x00100010: make_element(b"", vr="SQ", items=(item,)),
        0x00081032: make_element(b"\xfe\xff\x00\xe0broken", vr="SQ"),
        0x00100020: Element("OB", memoryview(b""), fragments=(memoryview(b"x"),)),
    }
    assert write_attributes(DataSet(elements)) == b""


@given(
    st.dictionaries(
        st.sampled_from([0x00080005, 0x00100010, 0x00280010, 0x00281050, 0x00283010, 0x00091001]),
        st.tuples(st.sampled_from(["US", "FD", "LO", "OW", "UN", ""]), st.binary(max_size=40)),
    ),
    st.booleans(),
)
def test_whatever_stands_in_a_file_comes_out_whole(
    values: dict[int, tuple[str, bytes]], is_big_endian: bool
) -> None:
    elements = {
        tag: Element(vr, memoryview(value), is_big_endian) for tag, (vr, value) in values.items()
    }
    kept = read_back(write_attributes(DataSet(elements)))
    assert set(kept) <= set(values) - {0x00091001, 0x00283010}
    assert list(kept) == sorted(kept)
