"""Text is read in the set that it is in and written in the source's wherever that holds it."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from chestx.export.dicom_charset import (
    choose_character_set,
    decode_text,
    find_character_set,
    read_terms,
)

JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
KOREAN = (
    b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
)
HALF_WIDTH = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"

# The names of PS3.5 annexes H to K, and further scripts.
NAMES = [
    ("ISO_IR 100", "Buc^J\xe9r\xf4me".encode("latin-1"), "Buc^J\xe9r\xf4me"),
    ("ISO_IR 101", "W\u0105\u017c".encode("iso8859-2"), "W\u0105\u017c"),
    ("ISO_IR 126", "\u0394\u03b9\u03bf\u03bd".encode("iso8859-7"), "\u0394\u03b9\u03bf\u03bd"),
    ("ISO_IR 127", "\u0642\u0628\u0627".encode("iso8859-6"), "\u0642\u0628\u0627"),
    ("ISO_IR 138", "\u05e9\u05e8\u05d5".encode("iso8859-8"), "\u05e9\u05e8\u05d5"),
    ("ISO_IR 144", "\u041b\u044e\u043a".encode("iso8859-5"), "\u041b\u044e\u043a"),
    ("ISO_IR 166", "\u0e19\u0e32\u0e21".encode("tis-620"), "\u0e19\u0e32\u0e21"),
    ("ISO_IR 192", "Wang=\u738b^\u5c0f\u6771".encode(), "Wang=\u738b^\u5c0f\u6771"),
    ("GB18030", "Wang=\u738b^\u5c0f\u4e1c".encode("gb18030"), "Wang=\u738b^\u5c0f\u4e1c"),
    ("GBK", "Wang=\u738b^\u5c0f\u4e1c".encode("gbk"), "Wang=\u738b^\u5c0f\u4e1c"),
    (
        "\\ISO 2022 IR 87",
        JAPANESE,
        "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046",
    ),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        HALF_WIDTH,
        "\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73=\u5c71\u7530^\u592a\u90ce",
    ),
    ("\\ISO 2022 IR 149", KOREAN, "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9"),
]


@pytest.mark.parametrize(("declared", "value", "name"), NAMES)
def test_a_name_is_read_in_the_declared_set_and_can_be_written_in_it(
    declared: str, value: bytes, name: str
) -> None:
    terms, fault = find_character_set([(value, "PN")], read_terms(declared.encode()))
    assert ("\\".join(terms), fault) == (declared, "")
    assert decode_text((value, "PN"), terms) == name
    dataset = Dataset()
    dataset.PatientName = name
    assert choose_character_set(dataset, terms) == terms


def test_a_set_that_pydicom_does_not_write_again_gives_way_to_utf_8() -> None:
    declared = ("", "ISO 2022 IR 58")
    value = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"
    terms, fault = find_character_set([(value, "PN")], declared)
    assert (terms, fault) == (declared, "")
    dataset = Dataset()
    dataset.PatientName = decode_text((value, "PN"), terms)
    assert str(dataset.PatientName) == "Zhang^XiaoDong=\u5f20^\u5c0f\u4e1c"
    assert choose_character_set(dataset, terms) == ("ISO_IR 192",)


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        (b"", ()),
        (b"ISO_IR 6 ", ()),
        (b"ISO-IR 100", ("ISO_IR 100",)),
        (b"iso ir 144", ("ISO_IR 144",)),
        (b"\\ISO2022 IR 87", ("", "ISO 2022 IR 87")),
        (b"ISO_IR 999", None),
        (b"LATIN1", None),
        (b"\xff\xfe", None),
    ],
)
def test_slips_in_defined_terms_are_understood(
    written: bytes, terms: tuple[str, ...] | None
) -> None:
    assert read_terms(written) == terms


def test_a_declared_set_that_can_be_right_is_kept_even_where_it_looks_wrong() -> None:
    # UTF-8 under Latin-1: every reader of the source shows it so, and finds the same patient.
    value = "J\xf6rg".encode()
    terms, fault = find_character_set([(value, "PN")], ("ISO_IR 100",))
    assert (terms, fault) == (("ISO_IR 100",), "")
    assert decode_text((value, "PN"), terms).encode("latin-1") == value


@pytest.mark.parametrize(
    ("declared", "value", "terms", "text", "fault"),
    [
        (("ISO_IR 100",), "J\xc4rg".encode(), ("ISO_IR 192",), "J\xc4rg", "read as UTF-8"),
        ((), "J\xf6rg".encode(), ("ISO_IR 192",), "J\xf6rg", "read as UTF-8"),
        ((), b"J\xf6rg", ("ISO_IR 100",), "J\xf6rg", "read as Latin-1"),
        (None, b"J\xf6rg", ("ISO_IR 100",), "J\xf6rg", "read as Latin-1"),
        (None, b"Joerg", (), "Joerg", "no text needs one"),
        (("ISO_IR 192",), b"J\xf6rg", ("ISO_IR 192",), "J\ufffdrg", "is marked"),
        ((), b"\x1b$B;3ED\x1b(B", ("", "ISO 2022 IR 87"), "\u5c71\u7530", "by the escapes"),
        ((), b"\x80\x9f", (), "\ufffd\ufffd", "is marked"),
        (("", "ISO 2022 IR 87"), b"\x1bZ\xff", ("", "ISO 2022 IR 87"), "\x1bZ\ufffd", "is marked"),
    ],
)
def test_a_wrong_declaration_is_told_and_nothing_is_guessed(
    declared: tuple[str, ...] | None, value: bytes, terms: tuple[str, ...], text: str, fault: str
) -> None:
    found, told = find_character_set([(value, "PN")], declared)
    assert found == terms
    assert fault in told
    assert decode_text((value, "PN"), found) == text


def test_what_the_sources_set_cannot_hold_makes_utf_8() -> None:
    dataset = Dataset()
    dataset.PatientName = "M\xfcller"
    assert choose_character_set(dataset, ("ISO_IR 100",)) == ("ISO_IR 100",)
    assert choose_character_set(dataset, ()) == ("ISO_IR 192",)
    assert choose_character_set(dataset, ("ISO_IR 13",)) == ("ISO_IR 192",)
    inner = Dataset()
    inner.CodeMeaning = "\u5c71"
    dataset.ProcedureCodeSequence = [inner]
    assert choose_character_set(dataset, ("ISO_IR 100",)) == ("ISO_IR 192",)
