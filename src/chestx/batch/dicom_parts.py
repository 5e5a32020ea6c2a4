"""What is kept of an image on disk until its study's DICOM objects can be made.

A structured report speaks of a whole study, whose images may lie anywhere among a hundred
thousand others. So each image's answer waits on disk, and memory stays flat. Text and
numbers only: a part is a line with the checksum of the next, which is JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from chestx.domain import (
    ChestxError,
    Decision,
    Failure,
    Finding,
    FindingDecision,
    ImageHeader,
    ModelIdentity,
    OperatingPoint,
    Report,
    Result,
    ScopeReason,
)
from chestx.files import write_bytes

_NAME = re.compile(r"[0-9]{6,}\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One row of a run, as far as DICOM objects are concerned.

    Attributes:
        assessed_at: when the answer was given, with its time zone.
        result: the answer without preview and embedding, which no object of a study needs;
            None where no object can be made.
        without_source: why no object can be made; empty where one can.
        objects: kind -> size in bytes of the image's own objects.
        not_made: kind of an own object that could not be made -> why.
        capture: the UIDs by which the Secondary Capture is referred to, by their keywords;
            empty where there is none. Its file may be gone: the folder is one that others empty.
    """

    assessed_at: datetime
    result: Result | None = None
    without_source: str = ""
    objects: dict[str, int] = field(default_factory=dict)
    not_made: dict[str, str] = field(default_factory=dict)
    capture: dict[str, str] = field(default_factory=dict)


def write_part(folder: Path, position: int, part: Part) -> None:
    """Writes the part of a row.

    Args:
        folder: of the parts.
        position: of the row, from 0.
        part: what is kept.
    """
    record = {
        "assessed_at": part.assessed_at.isoformat(),
        "result": None if part.result is None else _result_to_json(part.result),
        "without_source": part.without_source,
        "objects": part.objects,
        "not_made": part.not_made,
        "capture": part.capture,
    }
    # Lone surrogates of undecodable paths are escapes in ASCII and come back as they were.
    text = json.dumps(record, ensure_ascii=True).encode("ascii")
    digest = hashlib.sha256(text).hexdigest().encode("ascii")
    write_bytes(_locate(folder, position), digest + b"\n" + text)


def read_part(folder: Path, position: int, *, model: ModelIdentity) -> Part:
    """Reads the part of a row.

    Args:
        folder: of the parts.
        position: of the row, from 0.
        model: who spoke.

    Raises:
        ChestxError: it is gone, or not as it was written.
    """
    try:
        digest, _, text = _locate(folder, position).read_bytes().partition(b"\n")
    except OSError:
        digest, text = b"", b""
    if digest != hashlib.sha256(text).hexdigest().encode("ascii"):
        raise ChestxError(
            f"what was kept of row {position + 1} for its DICOM objects is gone or damaged; "
            "give --resume to do it anew"
        )
    record = json.loads(text)
    if "capture" not in record:
        raise ChestxError(
            f"what was kept of row {position + 1} for its DICOM objects is of an earlier chestx; "
            "give --resume to do it anew"
        )
    result = record["result"]
    return Part(
        assessed_at=datetime.fromisoformat(record["assessed_at"]),
        result=None if result is None else _result_from_json(result, model),
        without_source=record["without_source"],
        objects=record["objects"],
        not_made=record["not_made"],
        capture=record["capture"],
    )


def remove_parts(folder: Path) -> None:
    """Takes away the parts of a finished run, and only them."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _locate(folder: Path, position: int) -> Path:
    return folder / f"{position + 1:06d}.json"


def _result_to_json(result: Result) -> dict[str, Any]:
    shared = {
        "source": result.source,
        "sha256": result.sha256,
        "header": _header_to_json(result.header),
    }
    if isinstance(result, Failure):
        return shared | {"reason": result.reason}
    return shared | {
        "decision": result.decision,
        "findings": [asdict(finding) for finding in result.findings],
        "any_finding": None if result.any_finding is None else asdict(result.any_finding),
        "probabilities": result.probabilities,
        "scope_reasons": [asdict(reason) for reason in result.scope_reasons],
        "flags": result.flags,
        "interpretation": result.interpretation,
        "distance": result.distance,
        "shown_label": result.shown_label,
        "map_scales": result.map_scales,
        "logits": _array_to_json(result.logits),
        "maps": None if result.maps is None else _array_to_json(result.maps),
        "pixel_sha256": result.pixel_sha256,
    }


def _result_from_json(record: Mapping[str, Any], model: ModelIdentity) -> Result:
    shared = {name: record[name] for name in ("source", "sha256")}
    header = _header_from_json(record["header"])
    if "reason" in record:
        return Failure(**shared, header=header, reason=record["reason"])
    assert header is not None
    names = ("probabilities", "interpretation", "distance", "shown_label", "map_scales")
    any_finding, maps = record["any_finding"], record["maps"]
    return Report(
        **shared,
        **{name: record[name] for name in (*names, "pixel_sha256")},
        header=header,
        model=model,
        decision=Decision(record["decision"]),
        findings=tuple(map(_finding_from_json, record["findings"])),
        any_finding=None if any_finding is None else _finding_from_json(any_finding),
        scope_reasons=tuple(ScopeReason(**reason) for reason in record["scope_reasons"]),
        flags=tuple(record["flags"]),
        logits=_array_from_json(record["logits"]),
        embedding=np.zeros(0, np.float32),
        maps=None if maps is None else _array_from_json(maps),
        preview=None,
    )


def _header_to_json(header: ImageHeader | None) -> dict[str, Any] | None:
    if header is None:
        return None
    attributes = base64.b64encode(header.dicom_attributes).decode("ascii")
    return asdict(header) | {"dicom_attributes": attributes}


def _header_from_json(record: Mapping[str, Any] | None) -> ImageHeader | None:
    if record is None:
        return None
    spacing = record["imager_pixel_spacing_mm"]
    changed = {
        "notes": tuple(record["notes"]),
        "imager_pixel_spacing_mm": None if spacing is None else tuple(spacing),
        "dicom_attributes": base64.b64decode(record["dicom_attributes"]),
    }
    return ImageHeader(**{**record, **changed})


def _finding_from_json(record: Mapping[str, Any]) -> Finding:
    changed = {
        "decision": FindingDecision(record["decision"]),
        "operating_point": OperatingPoint(**record["operating_point"]),
    }
    return Finding(**{**record, **changed})


def _array_to_json(array: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return {"shape": array.shape, "data": base64.b64encode(data).decode("ascii")}


def _array_from_json(record: Mapping[str, Any]) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(record["data"]), dtype="<f4")
    return flat.reshape(record["shape"]).astype(np.float32)
