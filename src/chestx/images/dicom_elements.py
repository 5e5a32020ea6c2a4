"""Reads the elements of a DICOM file, strictly and within limits.

A library that forgives is the wrong reader here: a header cut short, a length past
the end of the file or a wrong transfer syntax must come back as a reason and not as
half a data set. This walk checks every length, keeps what stood before a fault, warns
nobody, shares no state between threads and copies no pixel data.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from chestx.domain import Limits, UnreadableImageError
from chestx.images.dicom_dataset import PIXEL_TAGS, DataSet, Element, Tag, name_tag

MAX_ELEMENTS = 200_000
"""Elements of one file, nested ones included; a radiograph has a few hundred."""

_PIECE = 1 << 20
"""Bytes that are inflated at once."""

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

# PS3.5 table 7.1-1: these have a 32-bit length in explicit VR.
_LONG_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_SHORT_VRS = {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN"} | {
    "SH",
    "SL",
    "SS",
    "ST",
    "TM",
    "UI",
    "UL",
    "US",
}
# A preamble is free for other file formats (PS3.10 7.1), and so for programs too.
_PROGRAMS = {
    b"MZ": "a Windows program",
    b"\x7fELF": "a Linux program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a macOS program",
    b"#!": "a script",
}


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file that was walked through to its pixel data or to the first fault.

    Attributes:
        meta, data_set: group 0002 and the elements after it, at the top level.
        transfer_syntax_uid: as stated, or as found in a file that states none.
        fault: what is wrong with the structure, empty for nothing.
        notes: oddities that were met and how they were handled.
    """

    meta: DataSet
    data_set: DataSet
    transfer_syntax_uid: str
    fault: str = ""
    notes: tuple[str, ...] = ()


class _FaultError(Exception):
    """The structure is broken from here on; the text says how."""


class _LimitError(_FaultError):
    """A limit was passed; unlike other faults it is never skipped over."""


@dataclass(frozen=True, slots=True)
class _Coding:
    """How elements are written."""

    is_explicit: bool
    is_big_endian: bool = False

    @property
    def order(self) -> str:
        return ">" if self.is_big_endian else "<"


_IMPLICIT = _Coding(is_explicit=False)
_EXPLICIT = _Coding(is_explicit=True)


def is_dicom(data: bytes) -> bool:
    """Whether the content is DICOM: ``DICM`` at 128, or a plausible file without preamble.

    Without a preamble the first element must be of group 0002 or 0008 with a known VR
    or, in implicit VR, a length that fits and is even.
    """
    return data[128:132] == b"DICM" or _sniff_coding(memoryview(data)) is not None


def read_dicom_file(data: bytes, *, limits: Limits) -> DicomFile:
    """Walks a file's elements up to and including its pixel data.

    Raises:
        UnreadableImageError: nothing of the header could be read, or a limit was passed
            before it. Later faults are in the result's ``fault``, so that what stood
            before them is not lost.

    Source: PS3.5 section 7, PS3.10 section 7.
    """
    if len(data) > limits.max_bytes:
        raise UnreadableImageError(
            f"DICOM file: expected at most {limits.max_bytes} bytes, got {len(data)}"
        )
    if not is_dicom(data):
        raise UnreadableImageError(
            "expected a DICOM file, got no DICM mark at byte 128 and no DICOM element at the start"
        )
    view = memoryview(data)
    start = 132 if data[128:132] == b"DICM" else 0
    walk = _Walk(view, max_nesting=limits.max_nesting)
    meta: dict[int, Element] = {}
    elements: dict[int, Element] = {}
    syntax, fault = "", ""
    try:
        _refuse_program(data[: min(start, 4)])
        start = walk.read_elements(meta, start, len(data), _EXPLICIT, group=2)
        syntax = DataSet(meta).read_text(Tag.TransferSyntaxUID)
        if syntax == DEFLATED_LITTLE:
            walk.data = _inflate(view[start:], max_bytes=limits.max_bytes)
            start = 0
        coding, syntax = _choose_coding(walk.data[start:], syntax, walk.notes)
        walk.read_elements(elements, start, len(walk.data), coding)
    except _FaultError as error:
        fault = str(error)
    except RecursionError:
        fault = f"sequences are nested deeper than this process can follow, of {limits.max_nesting}"
    return DicomFile(DataSet(meta), DataSet(elements), syntax, fault, tuple(walk.notes))


@dataclass(slots=True)
class _Walk:
    """One pass over the bytes. The depth of its recursion is bounded by ``max_nesting``."""

    data: memoryview
    max_nesting: int
    notes: list[str] = field(default_factory=list)
    count: int = 0

    def read_elements(
        self,
        into: dict[int, Element],
        start: int,
        end: int,
        coding: _Coding,
        *,
        group: int | None = None,
        depth: int = 0,
    ) -> int:
        """Fills ``into`` and returns where it stopped.

        It stops at ``end``, at an item delimiter, after pixel data, or before the first
        element that is not of ``group``.
        """
        position = start
        while position < end:
            if depth == 0 and _is_padding(self.data[position:end]):
                return end
            tag = self._read_tag(position, end, coding)
            if group is not None and tag >> 16 != group:
                return position
            if tag == ITEM_END:
                return position + 8
            element, position = self._read_element(tag, position, end, coding, depth)
            into[tag] = element
            if depth == 0 and tag in PIXEL_TAGS:
                return position
        return position

    def _read_tag(self, position: int, end: int, coding: _Coding) -> int:
        if end - position < 8:
            raise _FaultError(
                f"the header is cut short: {end - position} bytes are left at byte {position}, "
                "expected an element of at least 8; get the file again"
            )
        self.count += 1
        if self.count > MAX_ELEMENTS:
            raise _LimitError(f"the header holds more than {MAX_ELEMENTS} elements")
        high, low = struct.unpack_from(f"{coding.order}HH", self.data, position)
        return int(high) << 16 | int(low)

    def _read_element(
        self, tag: int, position: int, end: int, coding: _Coding, depth: int
    ) -> tuple[Element, int]:
        vr, length, start = self._read_length(position, end, coding)
        if length == UNDEFINED_LENGTH:
            if tag == Tag.PixelData:
                fragments, stop = self._read_fragments(start, end, coding)
                return Element(vr, self.data[:0], coding.is_big_endian, (), fragments), stop
            # A sequence written as UN is implicit VR little endian inside (PS3.5 6.2.2).
            inside = _IMPLICIT if vr == "UN" else coding
            items, stop = self._read_items(start, end, inside, depth + 1, is_delimited=True)
            return Element(vr, self.data[:0], coding.is_big_endian, items), stop
        stop = start + length
        if stop > end:
            raise _FaultError(
                f"the file is cut short in {name_tag(tag)}: expected {length} bytes, "
                f"got {end - start}; get the file again"
            )
        value = self.data[start:stop]
        items = self._read_defined_sequence(tag, vr, start, stop, coding, depth)
        return Element(vr, value, coding.is_big_endian, items), stop

    def _read_length(self, position: int, end: int, coding: _Coding) -> tuple[str, int, int]:
        """VR, length and start of the value of the element at ``position``."""
        data, order = self.data, coding.order
        mark = bytes(data[position + 4 : position + 6])
        # Some writers fall back to implicit VR inside an explicit data set.
        if not coding.is_explicit or not (mark.isalpha() and mark.isupper()):
            return "", struct.unpack_from(f"{order}L", data, position + 4)[0], position + 8
        vr = mark.decode("ascii")
        if vr not in _LONG_VRS:
            return vr, struct.unpack_from(f"{order}H", data, position + 6)[0], position + 8
        if end - position < 12:
            raise _FaultError(
                f"the header is cut short at byte {position}, within an element's length; "
                "get the file again"
            )
        return vr, struct.unpack_from(f"{order}L", data, position + 8)[0], position + 12

    def _read_defined_sequence(
        self, tag: int, vr: str, start: int, stop: int, coding: _Coding, depth: int
    ) -> tuple[DataSet, ...]:
        """Items of a sequence of stated length; a broken one is passed over whole."""
        inside = _IMPLICIT if vr == "UN" else coding
        mark = struct.pack(f"{inside.order}HH", ITEM >> 16, ITEM & 0xFFFF)
        if vr not in ("SQ", "UN", "") or self.data[start : min(start + 4, stop)] != mark:
            return ()
        try:
            return self._read_items(start, stop, inside, depth + 1, is_delimited=False)[0]
        except _LimitError:
            raise
        except _FaultError:
            self.notes.append(f"sequence {name_tag(tag)} is damaged and was passed over")
            return ()

    def _read_items(
        self, start: int, end: int, coding: _Coding, depth: int, *, is_delimited: bool
    ) -> tuple[tuple[DataSet, ...], int]:
        if depth > self.max_nesting:
            raise _LimitError(f"sequences are nested deeper than the limit of {self.max_nesting}")
        items: list[DataSet] = []
        position = start
        while position < end:
            tag = self._read_tag(position, end, coding)
            length = struct.unpack_from(f"{coding.order}L", self.data, position + 4)[0]
            position += 8
            if tag == SEQUENCE_END:
                return tuple(items), position
            if tag != ITEM:
                raise _FaultError(
                    f"expected an item at byte {position - 8}, got {name_tag(tag)}, in a sequence"
                )
            stop = end if length == UNDEFINED_LENGTH else position + length
            if stop > end:
                raise _FaultError(
                    f"the file is cut short in a sequence item: expected {length} bytes, "
                    f"got {end - position}; get the file again"
                )
            elements: dict[int, Element] = {}
            position = self.read_elements(elements, position, stop, coding, depth=depth)
            items.append(DataSet(elements))
        if is_delimited:
            raise _FaultError(f"the header is cut short at byte {end}, within a sequence")
        return tuple(items), position

    def _read_fragments(
        self, start: int, end: int, coding: _Coding
    ) -> tuple[tuple[memoryview, ...], int]:
        """Fragments of encapsulated pixel data (PS3.5 A.4).

        A missing delimiter at the very end is let pass: whether the data are whole is
        told by the codestream.
        """
        fragments: list[memoryview] = []
        position = start
        while position < end:
            tag = self._read_tag(position, end, coding)
            length = struct.unpack_from(f"{coding.order}L", self.data, position + 4)[0]
            position += 8
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise _FaultError(
                    f"expected a fragment at byte {position - 8}, got {name_tag(tag)}, "
                    "in the compressed pixel data"
                )
            if position + length > end:
                raise _FaultError(
                    f"the file is cut short in the compressed pixel data: expected a fragment of "
                    f"{length} bytes, got {end - position}; get the file again"
                )
            fragments.append(self.data[position : position + length])
            position += length
        return tuple(fragments), position


def _refuse_program(start: bytes) -> None:
    for mark, what in _PROGRAMS.items():
        if start.startswith(mark):
            raise _FaultError(f"the preamble starts {what}; expected no executable in a DICOM file")


def _is_padding(rest: memoryview) -> bool:
    """Whether only zero bytes are left, fewer than an element needs."""
    return len(rest) < 8 and not any(rest)


def _sniff_coding(data: memoryview) -> _Coding | None:
    """How the element at the start is written; None where it is none."""
    if len(data) < 8:
        return None
    mark = bytes(data[4:6])
    for is_big_endian, order in ((False, "<"), (True, ">")):
        group, _ = struct.unpack_from(f"{order}HH", data)
        if group not in (0x0002, 0x0004, 0x0008):
            continue
        if mark.decode("latin-1") in _LONG_VRS | _SHORT_VRS:
            return _Coding(is_explicit=True, is_big_endian=is_big_endian)
        length = struct.unpack_from(f"{order}L", data, 4)[0]
        is_item = length == UNDEFINED_LENGTH
        if not is_big_endian and (is_item or (length % 2 == 0 and length <= len(data) - 8)):
            return _IMPLICIT
    return None


def _choose_coding(data: memoryview, syntax: str, notes: list[str]) -> tuple[_Coding, str]:
    """How the data set is written; a file that is not written as it states is refused."""
    found = _sniff_coding(data)
    if not syntax:
        if found is None:
            raise _FaultError("the file states no transfer syntax and none can be told from it")
        notes.append("the file states no transfer syntax; it was told from the first element")
        return found, {
            (False, False): IMPLICIT_LITTLE,
            (True, False): EXPLICIT_LITTLE,
            (True, True): EXPLICIT_BIG,
        }[found.is_explicit, found.is_big_endian]
    stated = _Coding(is_explicit=syntax != IMPLICIT_LITTLE, is_big_endian=syntax == EXPLICIT_BIG)
    if found is not None and found != stated:
        raise _FaultError(
            f"wrong transfer syntax: the file states {_name_coding(stated)} ({syntax}) "
            f"but is written in {_name_coding(found)}"
        )
    return stated, syntax


def _name_coding(coding: _Coding) -> str:
    vr = "explicit" if coding.is_explicit else "implicit"
    return f"{vr} VR {'big' if coding.is_big_endian else 'little'} endian"


def _inflate(data: memoryview, *, max_bytes: int) -> memoryview:
    """Inflates a deflated data set (PS3.5 A.5), never to more than ``max_bytes``."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    try:
        for start in range(0, len(data), _PIECE):
            # In small pieces, so that no second copy of the whole is ever held.
            piece: bytes | memoryview = data[start : start + _PIECE]
            is_more = True
            while is_more and not inflater.eof:
                part = inflater.decompress(piece, _PIECE)
                piece = inflater.unconsumed_tail
                is_more = len(part) == _PIECE or bool(piece)
                inflated += part
                if len(inflated) > max_bytes:
                    raise _LimitError(
                        f"the deflated data set grows past the limit of {max_bytes} bytes"
                    )
    except zlib.error:
        raise _FaultError("the deflated data set is damaged; get the file again") from None
    if not inflater.eof:
        raise _FaultError("the deflated data set is cut short; get the file again")
    return memoryview(inflated)
