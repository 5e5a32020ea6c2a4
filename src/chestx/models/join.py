"""Model folders become the members of one that answers for all of them."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from chestx.domain import (
    ChestxError,
    InvalidModelError,
    Label,
    ModelCard,
    OperatingPoint,
    ScopeSpec,
    UsageError,
)
from chestx.models.card import FORMAT_VERSION, card_to_json, render_card
from chestx.models.classifier import KNOWN_LOGITS, KNOWN_PIXELS, Classifier
from chestx.models.ensemble import (
    EnsembleMember,
    EnsembleSpec,
    View,
    describe_mismatch,
    load_ensemble,
)
from chestx.models.folder import (
    CARD,
    ENSEMBLE,
    MAX_MEMBERS,
    MEMBERS,
    REFERENCE,
    ModelFolder,
    load_model_folder,
)

_UNMEASURED = (
    "Nothing was measured of this ensemble; the figures of its members stand in the cards under "
    "members/ and are not its own."
)
_THRESHOLDS = (
    "Its thresholds and bands are the means of its members', which no image was asked about; "
    "choose its own on validation images with chestx calibrate."
)
_FLIPPED = (
    "It also looks at the image with left and right swapped. A finding that lies in the asymmetry "
    "of the chest, as an exchanged side of heart or stomach does, is weakened by that."
)


def join_models(
    members: Sequence[ModelFolder],
    out: Path,
    *,
    views: Sequence[View] = (View.PLAIN,),
    name: str | None = None,
    version: str = "1",
) -> ModelFolder:
    """Makes an ensemble: a model folder with whole, unchanged model folders in it.

    Args:
        members: verified; of one model, several views must be asked for.
        out: the new folder; nothing of that name may be there.
        views: of each image that every member sees.
        name, version: of the ensemble; by default named after its first member.

    Returns:
        The new folder, verified and compiled once.

    Raises:
        UsageError: members that cannot be averaged, or something at ``out``.
        InvalidModelError: a member changed since it was verified, or does not run.
        ChestxError: the folder cannot be written.
    """
    if os.path.lexists(out):
        raise UsageError(f"{str(out)!r}: expected a name that is free, something is there already")
    _check_members(members, views)
    try:
        spec = EnsembleSpec(
            tuple(EnsembleMember(str(i), tuple(views)) for i in range(1, len(members) + 1))
        )
        card = _make_card(members, tuple(views), name=name, version=version)
    except ValueError as error:
        raise UsageError(f"ensemble: {error}") from error
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as place:
            draft = Path(place) / "model"
            draft.mkdir()
            files = _copy_members(members, draft)
            _write_parts(members, draft, card, spec, files)
            Classifier.load(draft, threads=1).check()
            draft.rename(out)
    except OSError as error:
        raise ChestxError(f"{str(out)!r} cannot be written: {error.strerror or error}") from error
    return load_model_folder(out)


def _check_members(members: Sequence[ModelFolder], views: Sequence[View]) -> None:
    if not 1 <= len(members) <= MAX_MEMBERS or (len(members) == 1 and len(views) < 2):
        raise UsageError(
            f"members: expected 2 to {MAX_MEMBERS} models, or one that sees several views, got "
            f"{len(members)}"
        )
    checksums = [member.identity.checksum for member in members]
    for i, member in enumerate(members):
        if member.ensemble:
            raise UsageError(
                f"{member.identity}: expected a single model, got an ensemble; join its members"
            )
        if checksums.index(checksums[i]) != i:
            raise UsageError(
                f"{member.identity}: it is named twice; to look at an image in several ways give "
                "several views"
            )
        if reason := describe_mismatch(members[0].card, member.card):
            raise UsageError(
                f"{member.identity} cannot be joined with {members[0].identity}: {reason}"
            )
    if missing := {KNOWN_PIXELS, KNOWN_LOGITS} - members[0].reference.keys():
        raise UsageError(
            f"{members[0].identity}: expected {' and '.join(sorted(missing))} in its {REFERENCE}, "
            "to check the ensemble with; it has none"
        )


def _make_card(
    members: Sequence[ModelFolder], views: tuple[View, ...], *, name: str | None, version: str
) -> ModelCard:
    cards = [member.card for member in members]
    first = cards[0]
    listed = ", ".join(f"{card.name} {card.version}" for card in cards)
    seen = "" if views == (View.PLAIN,) else f", each asked about the views {', '.join(views)}"
    heatmaps = {card.heatmap for card in cards}
    return replace(
        first,
        format_version=FORMAT_VERSION,
        name=name or f"{first.name[:50]}-ensemble",
        version=version,
        summary=f"The mean of the calibrated probabilities of {listed}{seen}."[:2000],
        labels=tuple(
            _join_labels([card.labels[i] for card in cards]) for i in range(len(first.labels))
        ),
        temperature=1.0,
        heatmap=heatmaps.pop() if len(heatmaps) == 1 else _choose_heatmap(heatmaps),
        any_finding=_average_points([card.any_finding for card in cards]),
        scope=_join_scopes([card.scope for card in cards]),
        embedding_size=sum(card.embedding_size for card in cards),
        intended_use=_join_texts([card.intended_use for card in cards]),
        not_looked_for=_join_texts([card.not_looked_for for card in cards]),
        licence=_join_texts([card.licence for card in cards]),
        files={},
        limitations=(
            *dict.fromkeys(text for card in cards for text in card.limitations),
            _UNMEASURED,
            _THRESHOLDS,
            *([_FLIPPED] if View.FLIP in views else []),
        ),
        performance=(),
        precisions=(),
        training={
            "ensemble": [
                {
                    "name": member.identity.name,
                    "version": member.identity.version,
                    "checksum": member.identity.checksum,
                    "views": [str(view) for view in views],
                }
                for member in members
            ]
        },
    )


def _choose_heatmap(heatmaps: set[str]) -> str:
    """Of members that explain themselves differently: the way that needs only answers."""
    return "none" if "none" in heatmaps else "occlusion"


def _join_labels(labels: list[Label]) -> Label:
    return replace(
        labels[0],
        operating_point=_average_points([label.operating_point for label in labels]),
        # Maps of an ensemble come in units of its members' full strengths.
        map_scale=1.0,
        caveat=_join_texts([label.caveat for label in labels]),
    )


def _average_points(points: list[OperatingPoint | None]) -> OperatingPoint | None:
    known = [point for point in points if point is not None]
    if not known:
        return None
    rows = [(point.threshold, point.uncertain_low, point.uncertain_high) for point in known]
    return OperatingPoint(*(round(float(value), 6) for value in np.mean(rows, axis=0)))


def _join_scopes(scopes: list[ScopeSpec]) -> ScopeSpec:
    """What every member accepts."""
    youngest = [scope.min_age_years for scope in scopes if scope.min_age_years is not None]
    oldest = [scope.max_age_years for scope in scopes if scope.max_age_years is not None]
    has_limit = any(scope.max_distance is not None for scope in scopes)
    return ScopeSpec(
        modalities=_intersect("modalities", [scope.modalities for scope in scopes]),
        body_parts=_intersect("body parts", [scope.body_parts for scope in scopes]),
        views=_intersect("views", [scope.views for scope in scopes]),
        min_age_years=max(youngest, default=None),
        max_age_years=min(oldest, default=None),
        max_distance=1.0 if has_limit else None,
    )


def _intersect(what: str, accepted: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Empty means any."""
    stated = [set(values) for values in accepted if values]
    if not stated:
        return ()
    common = set.intersection(*stated)
    if not common:
        raise ValueError(f"expected {what} that every member accepts, there are none")
    order = next(values for values in accepted if values)
    return tuple(value for value in order if value in common)


def _join_texts(texts: list[str]) -> str:
    return " ".join(dict.fromkeys(text for text in texts if text))[:2000]


def _copy_members(members: Sequence[ModelFolder], draft: Path) -> dict[str, str]:
    """Name in the new folder -> sha256, of every file of every member."""
    files = {}
    for i, member in enumerate(members, start=1):
        folder = draft / MEMBERS / str(i)
        folder.mkdir(parents=True)
        for name, sha256 in {**member.card.files, CARD: member.identity.checksum}.items():
            data = (member.path / name).read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise InvalidModelError(
                    f"{member.path / name}: it was changed while it was copied; verify the folder"
                )
            (folder / name).write_bytes(data)
            files[f"{MEMBERS}/{i}/{name}"] = sha256
    return files


def _write_parts(
    members: Sequence[ModelFolder],
    draft: Path,
    card: ModelCard,
    spec: EnsembleSpec,
    files: dict[str, str],
) -> None:
    named = {str(i): member for i, member in enumerate(members, start=1)}
    folder = replace(members[0], card=card, graph=b"", ensemble=spec.to_json(), members=named)
    pixels = members[0].reference[KNOWN_PIXELS]
    logits = load_ensemble(folder).run(pixels[:, None]).logits
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{KNOWN_PIXELS: pixels, KNOWN_LOGITS: logits})
    parts = {
        ENSEMBLE: folder.ensemble.encode(),
        REFERENCE: buffer.getvalue(),
        "README.md": render_card(card).encode(),
        "LICENSE": _join_licences(members).encode(),
    }
    for name, data in parts.items():
        (draft / name).write_bytes(data)
        files[name] = hashlib.sha256(data).hexdigest()
    (draft / CARD).write_text(card_to_json(replace(card, files=files)), encoding="utf-8")


def _join_licences(members: Sequence[ModelFolder]) -> str:
    texts: dict[str, list[str]] = {}
    for i, member in enumerate(members, start=1):
        text = (member.path / "LICENSE").read_text(encoding="utf-8", errors="replace")
        texts.setdefault(text, []).append(f"{MEMBERS}/{i}")
    return "\n".join(f"For {', '.join(places)}:\n\n{text}" for text, places in texts.items())
