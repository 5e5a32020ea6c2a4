"""PadChest: Alicante, 160,861 radiographs; labels by physicians and by a network from reports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.sources.common import (
    MAX_AGE_YEARS,
    Row,
    compare_files,
    index_names,
    join_name,
    list_images,
    make_targets,
    parse_sex,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.padchest_words import DOUBTS, LABELS, OPEN_WORDS, WORDS
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import UsageError

NAME = "padchest"
LICENCE = "PadChest Dataset Research Use Agreement (BIMCV)"
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
LAYOUT = f"{TABLE}.gz beside folders 0 to 54 (or images/0 to images/54) with PNG files"

COLUMNS = (
    "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth",
    "PatientSex_DICOM", "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric",
    "Modality_DICOM", "Manufacturer_DICOM", "PhotometricInterpretation_DICOM",
    "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM", "SpatialResolution_DICOM",
    "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM",
    "Columns_DICOM", "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM",
    "ExposureTime", "RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel", "Labels",
    "Localizations", "LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS",
)  # fmt: skip
"""As published; the first one has no name."""

PROJECTIONS = frozenset({"PA", "AP", "AP_horizontal", "L", "COSTAL", "EXCLUDE", "UNK"})
METHODS = frozenset({"Physician", "RNN_model"})

DAMAGED = frozenset({
    "216840111366964012989926673512011083134050913_00-168-009.png",
    "216840111366964012373310883942009152114636712_00-102-045.png",
    "216840111366964012819207061112010281134410801_00-129-131.png",
    "216840111366964012487858717522009280135853083_00-075-001.png",
    "216840111366964012989926673512011151082430686_00-157-045.png",
    "216840111366964013686042548532013208193054515_02-026-007.png",
    "216840111366964013590140476722013058110301622_02-056-111.png",
    "216840111366964013590140476722013043111952381_02-065-198.png",
    "216840111366964013829543166512013353113303615_02-092-190.png",
    "216840111366964013962490064942014134093945580_01-178-104.png",
})  # fmt: skip
"""Files that were published cut short or with broken parts.

Source: torchxrayvision 1.5.7, ``PC_Dataset`` in datasets.py.
"""

_LIST = re.compile(r"\[(?:'[^'\\]*'(?:, '[^'\\]*')*)?\]")
_ITEM = re.compile(r"'([^'\\]*)'")
_YEAR = re.compile(r"(\d{4})(?:\.0)?")
_NOTHING = frozenset({"", "nan", "None"})


@dataclass(slots=True)
class _Found:
    """Where the images are, and what was met on the way."""

    places: Mapping[str, str]
    met: Counter[str] = field(default_factory=Counter)


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads a PadChest folder; the images may lie in any folders below it.

    Args:
        folder: with the table and the images.
        options: ``labels`` takes a table of the same form that lies elsewhere, or a part of it.

    Raises:
        UsageError: another layout, unknown columns, labels or cells, an option that has no
            use here.
    """
    refuse_options(options, source=NAME, allowed=("labels",))
    table = options.labels or _find_table(folder)
    paths = list_images(folder, suffixes={".png"})
    found = _Found(index_names(paths, folder=folder))
    named = [_read_row(row, found) for row in read_table(table, COLUMNS)]
    notes = compare_files((x.path for x in named), paths, table=table.name, layout=LAYOUT)
    there = set(paths)
    examples = tuple(x for x in named if x.path in there and Path(x.path).name not in DAMAGED)
    manifest = Manifest(labels=LABELS, task=Task.MULTI_LABEL, examples=examples, folder=folder)
    damaged = sum(name in DAMAGED for name in found.places)
    return Scan(manifest, notes + _note_set(examples, found.met, damaged))


def _find_table(folder: Path) -> Path:
    for name in (f"{TABLE}.gz", TABLE):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(
        f"{str(folder)!r}: expected {LAYOUT}, but there is neither {TABLE}.gz nor {TABLE}; "
        "name the table with --labels-csv"
    )


def _read_row(row: Row, found: _Found) -> Example:
    for column, known in (("Projection", PROJECTIONS), ("MethodLabel", METHODS)):
        if row[column] not in known:
            raise row.fail(
                f"expected {', '.join(sorted(known))} in {column!r}, got {row[column]!r:.40}"
            )
    stated = join_name(row["ImageDir"], row["ImageID"], table=row.table)
    words = _read_words(row)
    found.met["method " + row["MethodLabel"]] += 1
    return Example(
        path=found.places.get(row["ImageID"], stated),
        targets=_settle(words, found.met),
        patient_id=row["PatientID"],
        study_id=row["StudyID"],
        source=NAME,
        view=row["Projection"],
        age_years=_read_age(row),
        sex=parse_sex(row["PatientSex_DICOM"]),
        device=row["Manufacturer_DICOM"],
        licence=LICENCE,
        other={
            "padchest_labels": "|".join(words or ()),
            "label_method": row["MethodLabel"],
            "pediatric": row["Pediatric"],
        },
    )


def _read_words(row: Row) -> tuple[str, ...] | None:
    """The labels without repetition; None where the table has none for the image.

    The cell is a Python list as text; it is matched, never evaluated.
    """
    text = row["Labels"]
    if text in _NOTHING:
        return None
    if not _LIST.fullmatch(text):
        raise row.fail(f"expected a list like ['nodule', 'mass'] in 'Labels', got {text!r:.80}")
    words = tuple(dict.fromkeys(word.strip() for word in _ITEM.findall(text)))
    unheard = [word for word in words if word and word not in WORDS and word not in OPEN_WORDS]
    if unheard:
        raise row.fail(
            f"expected the {len(WORDS) + len(OPEN_WORDS)} labels of the published table, "
            f"got {unheard[0]!r:.80}; a newer edition of the set may have added it"
        )
    return tuple(word for word in words if word)


def _settle(words: tuple[str, ...] | None, met: Counter[str]) -> tuple[Target, ...]:
    """What is named is present; the rest is absent, or unknown where the report leaves it open."""
    if not words:
        met["no label"] += 1
        return (Target.UNKNOWN,) * len(LABELS)
    present = {term for word in words for term in WORDS.get(word, ())}
    doubted = {term for word in words for term in DOUBTS.get(word, ())} - present
    if "NORMAL" in present and len(present) > 1:
        met["normal with findings"] += 1
        present.remove("NORMAL")
        return make_targets(LABELS, present, unknown=set(LABELS) - present)
    if not OPEN_WORDS.isdisjoint(words):
        met["left open"] += 1
        return make_targets(LABELS, present, unknown=set(LABELS) - present)
    return make_targets(LABELS, present, unknown=doubted, absent=set(LABELS) - present - doubted)


def _read_age(row: Row) -> float | None:
    """Year of the study minus year of birth: right to a year."""
    birth = _YEAR.fullmatch(row["PatientBirth"])
    study = _YEAR.fullmatch(row["StudyDate_DICOM"][:4])
    if not (birth and study):
        return None
    years = float(int(study[1]) - int(birth[1]))
    return years if 0 <= years <= MAX_AGE_YEARS else None


def _note_set(examples: tuple[Example, ...], met: Counter[str], damaged: int) -> tuple[str, ...]:
    views = Counter(example.view for example in examples)
    unfit = {name: views[name] for name in ("L", "COSTAL", "EXCLUDE", "UNK") if views[name]}
    sentences = {
        "left open": "rows are 'unchanged', 'suboptimal study' or 'exclude': what they do not "
        "name is unknown.",
        "normal with findings": "rows name findings beside 'normal': NORMAL and what they do not "
        "name is unknown.",
        "no label": "rows have no label, which is not the same as normal: all unknown.",
        "method RNN_model": "rows were labelled by a network from the report, not by a physician "
        "(column label_method).",
    }
    made = [f"{met[name]:,} {text}" for name, text in sentences.items() if met[name]]
    if unfit:
        counted = ", ".join(f"{name} {count:,}" for name, count in unfit.items())
        made.append(f"Views that are not frontal chests, or not known to be, are in: {counted}.")
    if damaged:
        made.append(f"{damaged:,} files are known to be published damaged and were left out.")
    made.append("Ages are the year of the study minus the year of birth, right to a year.")
    return tuple(made)
