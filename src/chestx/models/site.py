"""A site profile: the temperature and thresholds that one place measured for one model.

Thresholds travel badly between hospitals, so a place that uses a model measures its own
(``chestx commission``), has a person answer for them, and gives the file to every run.
Without one, every output says that the model is not calibrated for the site.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from chestx.domain import (
    ANY_FINDING,
    Figure,
    InvalidModelError,
    ModelCard,
    ModelIdentity,
    OperatingPoint,
    UsageError,
    check_name,
    check_prose,
)
from chestx.models.records import build_record, parse_json

FORMAT_VERSION = 1
"""Layout of the profile that this version reads and writes."""

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteProfile:
    """What one place measured and signed.

    Attributes:
        format_version: of the file's layout; a newer one is refused.
        site: name of the place.
        model_name, model_version, model_checksum, model_precision: of the model that it
            belongs to; it fits no other.
        temperature: logits are divided by it before the activation.
        operating_points: label key, or ANY_FINDING -> where a probability becomes a decision.
        chosen_on, accepted_on: what the settings were chosen on, and what they were then
            measured on, in words with numbers.
        performance: measured on the images of ``accepted_on``.
        criteria: what had to hold, each with what was found, a sentence each.
        manifest_sha256: of the labelled images' manifest.
        signed_by: the person who answers for it.
        signed_on: date, YYYY-MM-DD.
        software: version of chestx that measured.
    """

    format_version: int
    site: str
    model_name: str
    model_version: str
    model_checksum: str
    model_precision: str
    temperature: float
    operating_points: dict[str, OperatingPoint]
    chosen_on: str
    accepted_on: str
    performance: tuple[Figure, ...]
    criteria: tuple[str, ...]
    manifest_sha256: str
    signed_by: str
    signed_on: str
    software: str

    def __post_init__(self) -> None:
        for what in ("site", "signed_by", "model_name", "model_version", "software"):
            check_name(what, getattr(self, what))
        for what in ("chosen_on", "accepted_on"):
            check_prose(what, getattr(self, what))
        for sentence in self.criteria:
            check_prose("criteria", sentence)
        if not 0.001 <= self.temperature <= 1000:
            raise ValueError(f"temperature: expected 0.001 to 1000, got {self.temperature}")
        try:
            date.fromisoformat(self.signed_on)
        except ValueError:
            raise ValueError(
                f"signed_on: expected a date as YYYY-MM-DD, got {self.signed_on!r:.40}"
            ) from None


def load_site_profile(path: str | os.PathLike[str]) -> SiteProfile:
    """Opens a profile and verifies its checksum.

    Raises:
        InvalidModelError: it is missing, unreadable, changed since it was signed, or too new.
    """
    file = Path(path)
    try:
        # Before it is opened, because opening a pipe waits for a writer.
        if not file.is_file():
            raise InvalidModelError(f"{str(file)!r}: expected a site profile, there is no file")
        if file.stat().st_size > _MAX_BYTES:
            raise InvalidModelError(
                f"{str(file)!r}: expected a site profile of at most {_MAX_BYTES} bytes, "
                f"got {file.stat().st_size}"
            )
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModelError(f"{str(file)!r}: cannot be read as text: {error}") from error
    return site_profile_from_json(parse_json(text, where=str(file)), where=str(file))


def site_profile_from_json(document: object, *, where: str) -> SiteProfile:
    """A profile from the JSON of its file.

    Raises:
        InvalidModelError: another form, changed since it was signed, or too new.
    """
    if not isinstance(document, dict) or document.keys() != {"profile", "sha256"}:
        raise InvalidModelError(
            f"{where}: expected a site profile with the keys profile and sha256"
        )
    content = document["profile"]
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise InvalidModelError(
            f"{where}: this site profile was made by a newer chestx: it has format {version}, "
            f"this version reads up to {FORMAT_VERSION}; update chestx"
        )
    profile = build_record(SiteProfile, content, where=where)
    if document["sha256"] != compute_checksum(profile):
        raise InvalidModelError(
            f"{where}: this site profile was changed after it was signed; commission the site anew"
        )
    return profile


def site_profile_to_json(profile: SiteProfile) -> str:
    """The text of a profile's file; equal profiles give equal text."""
    document = {"profile": dataclasses.asdict(profile), "sha256": compute_checksum(profile)}
    return _to_json(document)


def compute_checksum(profile: SiteProfile) -> str:
    """sha256 of the content: it shows damage and editing, it does not prove who signed."""
    return hashlib.sha256(_to_json(dataclasses.asdict(profile)).encode()).hexdigest()


def _to_json(document: Mapping[str, Any]) -> str:
    return (
        json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )


def apply_site_profile(card: ModelCard, profile: SiteProfile) -> ModelCard:
    """The card with the site's temperature and operating points.

    Raises:
        UsageError: the profile names other findings than the card.
    """
    keys = {label.key for label in card.findings}
    if card.any_finding is not None:
        keys.add(ANY_FINDING)
    if profile.operating_points.keys() != keys:
        raise UsageError(
            f"site profile of {profile.site}: expected operating points for "
            f"{', '.join(sorted(keys))}, got {', '.join(sorted(profile.operating_points))}"
        )
    points = profile.operating_points
    labels = tuple(
        label
        if label.operating_point is None
        else replace(label, operating_point=points[label.key])
        for label in card.labels
    )
    return replace(
        card,
        labels=labels,
        temperature=profile.temperature,
        any_finding=points.get(ANY_FINDING),
    )


def identify_with_profile(identity: ModelIdentity, profile: SiteProfile) -> ModelIdentity:
    """Who speaks once the profile is applied.

    Raises:
        UsageError: the profile belongs to another model.
    """
    own = (identity.checksum, identity.precision)
    if own != (profile.model_checksum, profile.model_precision):
        raise UsageError(
            f"site profile of {profile.site}: it belongs to {profile.model_name} "
            f"{profile.model_version} ({profile.model_checksum[:12]}, {profile.model_precision}), "
            f"got {identity} at {identity.precision}; commission the site for this model"
        )
    return replace(identity, site=profile.site, site_profile=compute_checksum(profile))
