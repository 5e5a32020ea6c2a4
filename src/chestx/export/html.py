"""Results -> ``report.html``: the worklist that a reader works from.

One HTML text. All it needs stands in it, except the pictures of the radiographs,
which lie in folders beside it. It asks nothing of any network: its content security
policy forbids that. Texts travel as one JSON block and reach the page as text only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import numpy as np

from chestx.domain import CAVEAT, ModelCard, ModelIdentity, Report, Study
from chestx.export.run_summary import (
    count_bins,
    count_decisions,
    list_warnings,
    read_age_band,
    tabulate,
)
from chestx.export.worklist import (
    Entry,
    ReportImage,
    ReportMap,
    Spoken,
    choose_layer,
    describe_entry_basis,
    list_spoken,
    read_entry,
    sort_images,
    sort_studies,
)
from chestx.rendering.colours import get_colours, get_opacities
from chestx.terminology import (
    ENGLISH,
    add_mark,
    describe_calibration,
    describe_not_assessed,
    format_probability,
)

__all__ = ["ReportImage", "ReportMap", "list_report_maps", "render_report"]

# What the page shows of a row, in the order of the large view.
_SHOWN_COLUMNS = (
    "path",
    "error",
    "interpretation",
    "scope_reasons",
    "scope_details",
    "quality_flags",
    "view",
    "age",
    "sex",
    "Modality",
    "BodyPartExamined",
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyInstanceUID",
    "SOPInstanceUID",
    "format",
    "rows",
    "columns",
    "display",
    "notes",
)
# Flags that nearly every image of some formats has: the large view and the filter show them.
_ROUTINE_FLAGS = ("age_unknown",)
_MARKER = re.compile(r"@@(\w+)@@")


def list_report_maps(report: Report) -> tuple[ReportMap, ...]:
    """The maps of a report's findings as the page takes them; none where not assessed."""
    if report.maps is None or not report.decision.is_assessed:
        return ()
    maps = []
    for finding in report.findings:
        evidence = report.map_of(finding.key)
        assert evidence is not None
        cells = (evidence * 255).round().astype(np.uint8)
        height, width = cells.shape
        maps.append(ReportMap(finding.key, width, height, _to_base64(cells.tobytes())))
    return tuple(maps)


def render_report(images: Sequence[ReportImage], *, run: Mapping[str, Any], card: ModelCard) -> str:
    """The whole page.

    Args:
        images: in the order of ``results.csv``.
        run: content of ``run.json``.
        card: of the model that spoke.

    Returns:
        HTML, to be written as UTF-8 beside the folders of pictures.

    Raises:
        UsageError: a row says what no row of ``results.csv`` of this model says.
        ValueError: a map of a label that the card does not have.
    """
    labels = {label.key for label in card.labels}
    if unknown := {x.key for image in images for x in image.maps} - labels:
        raise ValueError(f"maps: expected labels of the card, got {sorted(unknown)}")
    spoken = list_spoken(card)
    studies = sort_studies(
        [read_entry(number, image, spoken) for number, image in enumerate(images, start=1)]
    )
    data = _describe_page(studies, spoken, run=run, card=card)
    text, policy = _load_template()
    parts = {
        "policy": policy,
        "caveat": _to_ascii(CAVEAT),
        "data": _to_script_json(data),
    }
    return _MARKER.sub(lambda marker: parts[marker.group(1)], text)


def _to_ascii(text: str) -> str:
    return escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _to_script_json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it stands in, whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@cache
def _load_template() -> tuple[str, str]:
    """The page without its data, and the policy that lets its own style and scripts run."""
    text = files("chestx.export").joinpath("report.html").read_text(encoding="utf-8")

    def list_hashes(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = (hashlib.sha256(part.encode()).digest() for part in parts)
        return " ".join(f"'sha256-{_to_base64(digest)}'" for digest in digests)

    # 'self' is for a page that is served, file: for one opened from the disk.
    policy = (
        "default-src 'none'; img-src 'self' file: data:; "
        f"style-src {list_hashes('style')}; script-src {list_hashes('script')}; "
        "base-uri 'none'; form-action 'none'"
    )
    return text, policy


def _describe_page(
    studies: Sequence[Study[Entry]],
    spoken: Sequence[Spoken],
    *,
    run: Mapping[str, Any],
    card: ModelCard,
) -> dict[str, Any]:
    entries = [entry for study in studies for entry in sort_images(study)]
    return {
        "caveat": CAVEAT,
        "words": {
            "decisions": ENGLISH.decisions,
            "mapLow": ENGLISH.map_low,
            "mapNotes": f"{ENGLISH.map_scale} {ENGLISH.map_caveat}",
            "noMap": ENGLISH.no_map,
            "barKey": ENGLISH.bar_key,
        },
        "run": _describe_run(run),
        "card": _describe_card(card),
        "findings": [_describe_spoken(x) for x in spoken],
        "layers": _describe_layers(card),
        "colours": _to_base64(get_colours().tobytes()),
        "opacities": _to_base64((get_opacities() * 255).round().astype(np.uint8).tobytes()),
        "routineFlags": list(_ROUTINE_FLAGS),
        "totals": count_decisions(entries),
        "histograms": [
            count_bins([entry.probabilities[index] for entry in entries if entry.probabilities])
            for index in range(len(spoken))
        ],
        "tables": [
            tabulate("Age in years", entries, read_age_band),
            tabulate("Sex", entries, lambda row: row.get("sex", "").upper()),
            tabulate("View", entries, lambda row: row.get("view", "").upper()),
        ],
        "warnings": list_warnings(entries),
        "studies": [_describe_study(study) for study in studies],
        "images": [
            _describe_entry(entry, index, spoken)
            for index, study in enumerate(studies)
            for entry in sort_images(study)
        ],
    }


def _describe_run(run: Mapping[str, Any]) -> dict[str, Any]:
    model = run.get("model") or {}
    return {
        "started": str(run.get("started", "")),
        "seconds": run.get("seconds"),
        "skipped": (run.get("counts") or {}).get("skipped", 0),
        "version": str((run.get("versions") or {}).get("chestx", "")),
        "checksum": str(model.get("checksum", "")),
        "precision": str(model.get("precision", "")),
        "calibration": _describe_calibration(model),
    }


def _describe_calibration(model: Mapping[str, Any]) -> str:
    names = ("name", "version", "checksum", "precision", "site", "site_profile")
    return describe_calibration(ModelIdentity(*(str(model.get(name, "")) for name in names)))


def _describe_card(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "summary": card.summary,
        "intendedUse": card.intended_use,
        "notLookedFor": card.not_looked_for,
        "limitations": list(card.limitations),
        "licence": card.licence,
    }


def _describe_spoken(spoken: Spoken) -> dict[str, Any]:
    return {
        "key": spoken.key,
        "name": add_mark(spoken.name, spoken.caveat),
        "threshold": spoken.point.threshold,
        "low": spoken.point.uncertain_low,
        "high": spoken.point.uncertain_high,
        "caveat": spoken.caveat,
    }


def _describe_layers(card: ModelCard) -> dict[str, dict[str, str]]:
    strong = ENGLISH.map_high if card.any_finding is None else ENGLISH.map_high_softmax
    names = {label.key: add_mark(label.display, label.caveat) for label in card.labels}
    return {key: {"name": name, "strong": strong.format(name=name)} for key, name in names.items()}


def _describe_study(study: Study[Entry]) -> dict[str, Any]:
    further = study.not_assessed - (not study.answering.decision.is_assessed)
    return {
        "decision": study.decision.value,
        "images": len(study.answers),
        "note": describe_not_assessed(further),
    }


def _describe_entry(entry: Entry, study: int, spoken: Sequence[Spoken]) -> dict[str, Any]:
    """What the page knows of an image. Empty texts are left out."""
    texts = {name: entry.row.get(name, "") for name in _SHOWN_COLUMNS}
    record: dict[str, Any] = {
        "number": entry.number,
        "study": study,
        "decision": entry.decision.value,
        "picture": quote(entry.image.view, errors="surrogateescape"),
        "thumbnail": quote(entry.image.thumbnail, errors="surrogateescape"),
        **texts,
    }
    if entry.decision.is_assessed:
        record["basis"] = describe_entry_basis(entry, spoken)
        record["findings"] = [
            [p, format_probability(p, operating_point=x.point), decision.value]
            for p, x, decision in zip(entry.probabilities, spoken, entry.decisions, strict=True)
        ]
        record["maps"] = [[x.key, x.width, x.height, x.values] for x in entry.image.maps]
        record["shown"] = choose_layer(entry, spoken)
        record["distance"] = entry.row.get("distance", "")
    return {name: value for name, value in record.items() if value not in ("", [])}
