"""Text in DICOM: which character set it is in, and in which it can be written again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pydicom import Dataset
from pydicom.charset import (
    CODES_TO_ENCODINGS,
    custom_encoders,
    encode_string,
    python_encoding,
)

UTF_8 = ("ISO_IR 192",)
LATIN_1 = ("ISO_IR 100",)

Text = tuple[bytes, str]
"""Value of an element as it stands in the file, and its VR."""

TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Those whose text is in the character set; the others are ASCII. Source: PS3.5 6.1.2.3."""

_DEFAULT = ("", "ISO_IR 6", "ISO 2022 IR 6")
_ESCAPE = b"\x1b"
_TERM = re.compile(r"ISO.?(2022.?)?IR.?([0-9]{1,3})")
# A delimiter ends what an escape put into G1 (PS3.5 6.1.2.5.3); what is in G0 is ended by
# another escape, and its two-byte characters may hold the delimiters' codes.
_DELIMITER, _NAME_DELIMITER = re.compile(rb"[\r\n\t\f\\]"), re.compile(rb"[\r\n\t\f\\^=]")
_C1 = re.compile("[\x80-\x9f]")


def read_terms(value: bytes) -> tuple[str, ...] | None:
    """The values of SpecificCharacterSet; empty for the default repertoire, None if unknown."""
    listed = [_correct_term(term) for term in value.decode("latin-1").split("\\")]
    if not all(term in python_encoding for term in listed):
        return None
    return () if all(term in _DEFAULT for term in listed) else tuple(listed)


def _correct_term(term: str) -> str:
    """A defined term as the standard writes it: ``ISO IR-100`` is a common slip."""
    term = term.strip(" \0").upper()
    match = _TERM.fullmatch(term)
    if match is None:
        return term
    return f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"


def find_character_set(
    texts: Iterable[Text], declared: tuple[str, ...] | None
) -> tuple[tuple[str, ...], str]:
    """The character set in which a file's texts are written.

    The declared one wherever all texts can be in it, also where they look as if they were
    in another: so they reach every reader byte for byte as in the source. Otherwise UTF-8
    if they all are in it; otherwise what their own escapes say; otherwise Latin-1 in place
    of no or an unknown set, which is what most readers take. Nothing else is guessed.

    Args:
        texts: values of text elements, each with its VR.
        declared: from ``read_terms``.

    Returns:
        Its terms, and what was wrong with the declaration, empty where it is right.
    """
    listed = [text for text in texts if not text[0].isascii() or _ESCAPE in text[0]]
    if declared is not None and _are_in(listed, declared):
        return declared, ""
    if not listed:
        return (), "not known; left out, since no text needs one"
    usable = declared or ()
    first = usable[0].replace("ISO_IR ", "ISO 2022 IR ") if usable else ""
    escaped = (first if first in python_encoding else "", "ISO 2022 IR 87")
    if _are_in(listed, UTF_8):
        return UTF_8, "the texts are not in it; read as UTF-8, which fits"
    if _are_in(listed, escaped):
        return escaped, "the texts are not in it; read by the escapes that they hold"
    if not usable and _are_in(listed, LATIN_1):
        return LATIN_1, "none that is known is stated; read as Latin-1"
    return usable, "texts are not in it; what cannot be read is marked"


def decode_text(text: Text, terms: Sequence[str]) -> str:
    """A text in a character set; bytes that are not in it become U+FFFD."""
    try:
        decoded = _decode(text, terms)
    except UnicodeError:
        decoded = text[0].decode(_name_encoding(terms[0] if terms else ""), errors="replace")
    return _C1.sub("\ufffd", decoded)


def choose_character_set(dataset: Dataset, source: tuple[str, ...]) -> tuple[str, ...]:
    """The set in which an object is written: the source's if it holds every text, else UTF-8."""
    texts = {(text, vr) for text, vr in _list_texts(dataset) if not text.isascii()}
    return source if all(_can_hold(text, vr, source) for text, vr in texts) else UTF_8


def _are_in(texts: Sequence[Text], terms: Sequence[str]) -> bool:
    try:
        return not any(_C1.search(_decode(text, terms)) for text in texts)
    except UnicodeError:
        return False


def _name_encoding(term: str) -> str:
    return "ascii" if term in _DEFAULT else python_encoding[term]


def _decode(text: Text, terms: Sequence[str]) -> str:
    value, vr = text
    first = _name_encoding(terms[0] if terms else "")
    if _ESCAPE not in value:
        return value.decode(first)
    if len(terms) < 2:
        raise _refuse(value)
    head, *rest = re.split(b"(?=\x1b)", value)
    delimiter = _NAME_DELIMITER if vr == "PN" else _DELIMITER
    pieces = (_decode_escaped(piece, first, delimiter) for piece in rest)
    return head.decode(first) + "".join(pieces)


def _refuse(value: bytes) -> UnicodeDecodeError:
    return UnicodeDecodeError("iso2022", value, 0, 1, "escape to a set that is not declared")


def _decode_escaped(piece: bytes, first: str, delimiter: re.Pattern[bytes]) -> str:
    """What follows one escape, with it. Source: PS3.5 6.1.2.5, PS3.3 C.12.1.1.2."""
    code = next((code for code in CODES_TO_ENCODINGS if piece.startswith(code)), None)
    if code is None:
        raise _refuse(piece)
    encoding = CODES_TO_ENCODINGS[code]
    if encoding.startswith("iso2022"):
        return piece.decode(encoding)
    body = piece[len(code) :]
    if code == b"\x1b(B":
        return body.decode(first)
    if code == b"\x1b(J":
        return body.decode(encoding)
    end = delimiter.search(body)
    stop = end.start() if end else len(body)
    return body[:stop].decode(encoding) + body[stop:].decode(first)


def _list_texts(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _list_texts(item)
        elif element.VR in TEXT_VRS and element.value:
            values = element.value if element.VM > 1 else [element.value]
            yield from ((str(value), element.VR) for value in values)


def _can_hold(text: str, vr: str, terms: tuple[str, ...]) -> bool:
    """Whether a text is the same after pydicom wrote it: not of every set it writes its escapes."""
    encodings = [python_encoding[term] for term in terms or ("",)]
    # Of a name, each component is written by itself.
    parts = [part for part in (re.split("([=^])", text) if vr == "PN" else [text]) if part]
    if not all(_can_encode(part, encodings) for part in parts):
        return False
    try:
        written = b"".join(encode_string(part, encodings) for part in parts)
        return _decode((written, vr), terms) == text
    except UnicodeError:
        return False


def _can_encode(text: str, encodings: Sequence[str]) -> bool:
    """Whether pydicom writes a text without a warning; by several sets it does so in pieces."""
    pieces = text if len(encodings) > 1 else [text]
    return all(any(_encodes(piece, encoding) for encoding in encodings) for piece in pieces)


def _encodes(text: str, encoding: str) -> bool:
    encode = custom_encoders.get(encoding)
    try:
        if encode is None:
            text.encode(encoding)
        else:
            encode(text, "strict")
    except UnicodeError:
        return False
    return True
