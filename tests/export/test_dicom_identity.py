"""The same result has the same UIDs in every process, and every other result has others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chestx.export.dicom_identity as identity
from chestx.domain import OperatingPoint, UsageError
from chestx.export.dicom_identity import (
    derive_device_uid,
    derive_instance_uid,
    derive_series_uid,
    derive_tracking_uid,
    is_derived_uid,
)
from chestx.export.dicom_source import DicomImage

Maker = Callable[..., Any]
UID = re.compile(r"2\.25\.(0|[1-9][0-9]{0,38})")


def change_result(image: DicomImage, **changes: Any) -> DicomImage:
    return replace(image, result=replace(image.result, **changes))


def change_header(image: DicomImage, **changes: Any) -> DicomImage:
    assert image.result.header is not None
    return change_result(image, header=replace(image.result.header, **changes))


def change_thresholds(image: DicomImage) -> DicomImage:
    assert image.report is not None
    findings = tuple(
        replace(finding, operating_point=OperatingPoint(0.5, 0.4, 0.61))
        for finding in image.report.findings
    )
    return change_result(image, findings=findings)


def change_model(image: DicomImage, **changes: Any) -> DicomImage:
    return replace(image, model=replace(image.model, **changes))


CHANGES: dict[str, Callable[[DicomImage], DicomImage]] = {
    "pixels": lambda image: change_result(image, pixel_sha256="00" * 32),
    "thresholds": change_thresholds,
    "model": lambda image: change_model(image, checksum="00" * 32),
    "precision": lambda image: change_model(image, precision="bf16"),
    "site": lambda image: change_model(image, site="A", site_profile="00" * 32),
    "source attributes": lambda image: change_header(image, dicom_attributes=b""),
    "source": lambda image: change_header(image, sop_instance_uid="1.2.3"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_identity_gives_another_object(make_dicom_image: Maker, change: str) -> None:
    image = make_dicom_image()
    changed = CHANGES[change](image)
    assert derive_instance_uid("sc", [changed]) != derive_instance_uid("sc", [image])
    assert derive_tracking_uid(changed, "x") != derive_tracking_uid(image, "x")
    is_of_speaker = change in ("model", "precision", "site")
    assert (derive_device_uid(changed) != derive_device_uid(image)) is is_of_speaker
    assert (derive_series_uid("sc", changed) != derive_series_uid("sc", image)) is is_of_speaker


@pytest.mark.parametrize("name", ["LANGUAGE", "__version__"])
def test_another_language_or_release_gives_another_object(
    make_dicom_image: Maker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    image = make_dicom_image()
    before = derive_instance_uid("sc", [image]), derive_device_uid(image)
    monkeypatch.setattr(identity, name, "other")
    after = derive_instance_uid("sc", [image]), derive_device_uid(image)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_what_says_nothing_else_has_the_same_uid(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    later = replace(image, assessed_at=image.assessed_at + timedelta(days=1))
    moved = change_result(image, source="elsewhere.dcm", sha256="00" * 32)
    for other in (later, moved, make_dicom_image()):
        assert derive_instance_uid("sr", [other]) == derive_instance_uid("sr", [image])


def test_kinds_sets_of_images_and_series_parts_are_told_apart(make_dicom_image: Maker) -> None:
    first, second, failed = (
        make_dicom_image(),
        make_dicom_image(instance=2),
        make_dicom_image(instance=2, answer="failed"),
    )
    uids = [derive_instance_uid(kind, [first]) for kind in ("sc", "sr")]
    uids += [derive_instance_uid("sr", [first, other]) for other in (second, failed)]
    uids += [derive_series_uid("sc", first), derive_series_uid("sc", first, parts=["CR"])]
    assert len(set(uids)) == len(uids)
    assert derive_series_uid("sc", first) == derive_series_uid("sc", second)


def test_a_report_without_a_checksum_of_its_pixels_has_no_identity(
    make_dicom_image: Maker,
) -> None:
    image = change_result(make_dicom_image(), pixel_sha256="")
    with pytest.raises(UsageError, match="analyse the image with pixel_digest=True"):
        derive_instance_uid("sc", [image])


@given(st.text(), st.lists(st.text(), max_size=3))
def test_every_uid_is_valid(kind: str, content: list[str]) -> None:
    uid = identity._derive("instance", kind, content)
    assert UID.fullmatch(uid)
    assert len(uid) <= 64
    # Version 8 and the variant of RFC 9562.
    number = int(uid.removeprefix("2.25."))
    assert number >> 76 & 0xF == 8
    assert number >> 62 & 0b11 == 0b10
    assert is_derived_uid(uid)


@pytest.mark.parametrize(
    "uid",
    [
        "",
        "2.25.",
        "2.25.1",
        "2.25.x",
        "2.25.\u0663",
        "1.2.840.113619.2.66.1",
        f"2.25.{uuid.UUID('f81d4fae-7dec-4cd0-a765-00a0c91e6bf6').int}",  # Of version 4.
        f"2.25.{2**128 + uuid.UUID('f81d4fae-7dec-8cd0-a765-00a0c91e6bf6').int}",
        "2.25." + "9" * 5000,
    ],
)
def test_a_uid_of_others_is_told(uid: str) -> None:
    assert not is_derived_uid(uid)


def test_another_process_derives_the_same_uid() -> None:
    # The seed of hashing is another there, and would show in anything that leans on it.
    program = (
        "from chestx.export.dicom_identity import _derive;"
        "print(_derive('instance', 'sc', {'b': 1, 'a': ['\u00e9', 0.5]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = identity._derive("instance", "sc", {"a": ["\u00e9", 0.5], "b": 1})
    assert done.stdout.strip() == expected
