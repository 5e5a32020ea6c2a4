"""UIDs that follow from what a result is: the same result has the same UID wherever it is made.

A changed source, model, precision, threshold, site profile, language or release of chestx
gives another UID.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chestx import __version__
from chestx.domain import Report, UsageError
from chestx.export.dicom_source import DicomImage

LANGUAGE = "en"
"""Of every word in the objects (RFC 5646)."""

_UUID_ARC, _VERSION = "2.25.", 8
_DIGITS = len(str(2**128))


def derive_instance_uid(kind: str, images: Sequence[DicomImage]) -> str:
    """UID of the one object of a kind that is made of these images.

    Args:
        kind: e.g. ``SC``; names the option too where one object comes in two forms.
        images: with their results.

    Raises:
        UsageError: a report has no checksum of its pixels.
    """
    return _derive("instance", kind, [_describe_result(image) for image in images])


def derive_series_uid(kind: str, image: DicomImage, *, parts: Sequence[str] = ()) -> str:
    """UID of the series that holds the objects of a kind: one a study and speaker.

    Args:
        kind: e.g. ``sc``.
        image: one of the study.
        parts: what else parts the study's objects of this kind into series.
    """
    study = str(image.attributes.StudyInstanceUID)
    patient = str(image.attributes.get("PatientID", ""))
    return _derive("series", kind, [study, patient, list(parts), describe_speaker(image)])


def derive_device_uid(image: DicomImage) -> str:
    """UID of the device that spoke: another for each identity of the model and release."""
    return _derive("device", "", describe_speaker(image))


def derive_tracking_uid(image: DicomImage, name: str) -> str:
    """UID under which a finding or region of one result is tracked."""
    return _derive("tracking", name, _describe_result(image))


def is_derived_uid(uid: str) -> bool:
    """Whether a UID is of the form of those that are derived here."""
    number = uid.removeprefix(_UUID_ARC)
    if number == uid or len(number) > _DIGITS or not (number.isascii() and number.isdecimal()):
        return False
    return int(number) >> 128 == 0 and uuid.UUID(int=int(number)).version == _VERSION


def describe_speaker(image: DicomImage) -> dict[str, Any]:
    """Who spoke, in which release and language, as plain values."""
    return {"model": asdict(image.model), "chestx": __version__, "language": LANGUAGE}


def _describe_result(image: DicomImage) -> dict[str, Any]:
    """All that decides what an object says, apart from when it was said."""
    result, header = image.result, image.result.header
    assert header is not None
    described = {
        "speaker": describe_speaker(image),
        "sop_instance_uid": header.sop_instance_uid,
        "attributes": hashlib.sha256(header.dicom_attributes).hexdigest(),
    }
    if not isinstance(result, Report):
        return described | {"file": result.sha256, "reason": result.reason}
    if not result.pixel_sha256:
        raise UsageError(
            "a result in DICOM: expected a report with a checksum of its pixels, got one without; "
            "analyse the image with pixel_digest=True"
        )
    spoken = [*result.findings, *([result.any_finding] if result.any_finding else [])]
    return described | {
        "pixels": result.pixel_sha256,
        "operating_points": {finding.key: asdict(finding.operating_point) for finding in spoken},
        # They follow from the rest, unless the road to them was changed and the release was not.
        "answer": [str(result.decision), {f.key: f"{f.probability:.4f}" for f in spoken}],
    }


def _derive(what: str, kind: str, content: Any) -> str:
    """A UID from a UUID whose bits are a checksum. Source: PS3.5 B.2; RFC 9562 5.8 (version 8)."""
    text = json.dumps(["chestx", what, kind, content], sort_keys=True, ensure_ascii=True)
    bits = bytearray(hashlib.sha256(text.encode("ascii")).digest()[:16])
    bits[6] = bits[6] & 0x0F | _VERSION << 4
    bits[8] = bits[8] & 0x3F | 0x80
    return f"{_UUID_ARC}{uuid.UUID(bytes=bytes(bits)).int}"
