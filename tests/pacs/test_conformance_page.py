"""docs/conformance.md says what is in the objects."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from chestx.domain import CAVEAT
from chestx.export.dicom_common import ObjectKind
from chestx.terminology import Code

WITH_CODES = (
    "chestx.terminology",
    "chestx.export.dicom_common",
    "chestx.export.key_object",
    "chestx.export.secondary_capture",
    "chestx.export.structured_report_codes",
)
NAMES_OF_OBJECTS = {
    "SC": "sc1",
    "SR": "sr",
    "GSPS": "gsps1",
    "KOS": "kos",
    "Withdrawal": "withdrawal",
}
PIXELS = {"PixelData"}


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "conformance.md").read_text(encoding="utf-8")


def list_codes(value: object) -> Iterator[Code]:
    if isinstance(value, Code):
        yield value
    elif isinstance(value, dict | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from list_codes(item)


@pytest.fixture(scope="module")
def written(page: str) -> set[Code]:
    """The table of codes."""
    table = page.split("## Codes")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| `([^`]+)` \| (\w+) \| ([^|]+?) \|", table)
    return {Code(value, scheme, meaning) for value, scheme, meaning in rows}


def walk(data_set: Dataset) -> Iterator[Dataset]:
    yield data_set
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                yield from walk(item)


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def test_every_code_of_the_program_is_in_the_table_and_no_other(written: set[Code]) -> None:
    real = {
        code
        for name in WITH_CODES
        for value in vars(importlib.import_module(name)).values()
        for code in list_codes(value)
    }
    assert written == real


def test_every_code_in_an_object_is_in_the_table(
    study: Mapping[str, bytes], written: set[Code]
) -> None:
    for name, data in study.items():
        if name.startswith("source"):
            continue
        for item in walk(read(data)):
            if "CodeValue" in item:
                code = Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)
                assert code in written, name


def test_every_kind_of_object_is_described(page: str) -> None:
    for kind in ObjectKind:
        row = next(line for line in page.splitlines() if str(kind.series_number) in line)
        assert kind.series_description in row


def test_every_attribute_of_an_object_is_in_a_table(page: str, study: Mapping[str, bytes]) -> None:
    text = page.split("## Attributes")[1].split("\n## ")[0]
    described = set(re.findall(r"`(\w+)`", text))
    for name in NAMES_OF_OBJECTS.values():
        for element in read(study[name]):
            assert element.keyword in described, f"{name}: {element.keyword}"


def test_the_caveat_stands_on_the_page_and_in_every_object_of_words(
    page: str, study: Mapping[str, bytes]
) -> None:
    assert CAVEAT in " ".join(page.replace("*", "").split())
    for name in ("sr", "gsps1", "gsps2", "gsps3", "kos"):
        words = " ".join(
            str(element.value)
            for item in walk(read(study[name]))
            for element in item
            if element.keyword in ("TextValue", "UnformattedTextValue")
        )
        assert CAVEAT in " ".join(words.split()), name
