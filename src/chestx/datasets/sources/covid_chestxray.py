"""covid-chestxray-dataset of Cohen and others: images out of publications."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import (
    Row,
    compare_files,
    join_name,
    list_images,
    make_targets,
    parse_age,
    parse_sex,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import UsageError

SOURCE = "covid-chestxray"
TABLE = "metadata.csv"
COLUMNS = (
    "patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "intubated",
    "intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated",
    "temperature", "pO2_saturation", "leukocyte_count", "neutrophil_count", "lymphocyte_count",
    "view", "modality", "date", "location", "folder", "filename", "doi", "url", "license",
    "clinical_notes", "other_notes",
)  # fmt: skip
LABELS = (
    "NO_FINDING",
    "PNEUMONIA",
    "BACTERIAL_PNEUMONIA",
    "VIRAL_PNEUMONIA",
    "COVID19",
    "TUBERCULOSIS",
)

_LAYOUT = "the images in images, as in the repository"
_KEPT = ("finding", "offset", "RT_PCR_positive", "location", "doi", "url")
_VIEWS = {"L": "LATERAL"}


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a finding settles: what is in neither is absent."""

    present: Collection[str] = ()
    unknown: Collection[str] = ()


_CAUSES = ("BACTERIAL_PNEUMONIA", "VIRAL_PNEUMONIA", "COVID19")
_ANY = _Meaning(unknown=LABELS)

# A finding is a path in a tree, e.g. Pneumonia/Viral/COVID-19. What lies below the place where
# it ends was not settled; germs below these have no term of their own.
_MEANINGS: Mapping[tuple[str, ...], _Meaning] = MappingProxyType(
    {
        ("No Finding",): _Meaning({"NO_FINDING"}),
        ("No finding",): _Meaning({"NO_FINDING"}),
        ("Pneumonia",): _Meaning({"PNEUMONIA"}, _CAUSES),
        ("Pneumonia", "Aspiration"): _Meaning({"PNEUMONIA"}),
        ("Pneumonia", "Bacterial"): _Meaning({"PNEUMONIA", "BACTERIAL_PNEUMONIA"}),
        ("Pneumonia", "Fungal"): _Meaning({"PNEUMONIA"}),
        ("Pneumonia", "Lipoid"): _Meaning({"PNEUMONIA"}),
        ("Pneumonia", "Viral"): _Meaning({"PNEUMONIA"}, {"VIRAL_PNEUMONIA", "COVID19"}),
        ("Pneumonia", "Viral", "COVID-19"): _Meaning({"PNEUMONIA", "COVID19"}),
        # Whether a tuberculous lung is called a pneumonia, the tree does not say.
        ("Tuberculosis",): _Meaning({"TUBERCULOSIS"}, {"PNEUMONIA", "BACTERIAL_PNEUMONIA"}),
        ("Unknown",): _ANY,
        ("todo",): _ANY,
        ("",): _ANY,
    }
)
_VIRAL = _Meaning({"PNEUMONIA", "VIRAL_PNEUMONIA"})
_WITH_GERMS = ("Bacterial", "Fungal", "Viral")


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the radiographs of ``metadata.csv``; CT is left out and counted.

    Args:
        folder: a copy of the repository, with ``metadata.csv`` and ``images``.
        options: none is used.

    Raises:
        UsageError: another layout, unknown columns, findings or modalities.
    """
    refuse_options(options, source=SOURCE)
    if not (folder / TABLE).is_file():
        raise UsageError(f"{str(folder)!r}: expected {TABLE} in it, got none")
    found = list_images(folder, "images")
    there, others, examples, named = set(found), 0, [], []
    for row in read_table(folder / TABLE, COLUMNS):
        if row["modality"] not in ("X-ray", "CT"):
            raise row.fail(f"expected the modality X-ray or CT, got {row['modality']!r:.80}")
        path = join_name(row["folder"], row["filename"], table=TABLE)
        if row["modality"] == "CT":
            others += 1
            there.discard(path)
            continue
        named.append(path)
        if path in there:
            examples.append(_read_example(row, path))
    notes = compare_files(named, there, table=TABLE, layout=_LAYOUT)
    manifest = Manifest(
        labels=LABELS, task=Task.MULTI_LABEL, examples=tuple(examples), folder=folder
    )
    return Scan(manifest, notes + _note(manifest.examples, others))


def _read_example(row: Row, path: str) -> Example:
    meaning = _read_finding(row)
    return Example(
        path=path,
        targets=make_targets(LABELS, meaning.present, unknown=meaning.unknown),
        patient_id=row["patientid"],
        source=SOURCE,
        view=_VIEWS.get(row["view"], row["view"]),
        age_years=parse_age(row["age"]),
        sex=parse_sex(row["sex"]),
        licence=row["license"] or "not stated",
        other={column: row[column] for column in _KEPT},
    )


def _read_finding(row: Row) -> _Meaning:
    parts = tuple(part.strip() for part in row["finding"].split("/"))
    if parts in _MEANINGS:
        return _MEANINGS[parts]
    if len(parts) > 2 and parts[0] == "Pneumonia" and parts[1] in _WITH_GERMS:
        return _VIRAL if parts[1] == "Viral" else _MEANINGS[parts[:2]]
    known = ", ".join("/".join(path) for path in _MEANINGS if any(path))
    raise row.fail(
        f"expected one of the findings {known}, or a germ below "
        f"{', '.join('Pneumonia/' + part for part in _WITH_GERMS)}, got {row['finding']!r:.80}; "
        "a newer edition of the set may have added it"
    )


def _note(examples: tuple[Example, ...], others: int) -> tuple[str, ...]:
    notes = [
        "The images come out of publications and the web: arrows, letters and frames are in "
        "them, and almost all show disease; a normal class from elsewhere makes the source "
        "give the label away.",
        "A finding is the case's: some images before or after an illness carry it though "
        "their notes call the lungs clear.",
    ]
    if others:
        notes.append(f"{others:,} rows are CT and were left out.")
    if lateral := sum(example.view == "LATERAL" for example in examples):
        notes.append(f"{lateral:,} images are lateral views.")
    if unstated := sum(example.licence == "not stated" for example in examples):
        notes.append(f"{unstated:,} images have no licence stated; each of the others has its own.")
    if open_ones := sum(not any(t.is_known for t in example.targets) for example in examples):
        notes.append(f"{open_ones:,} images have a finding that is not settled (todo, Unknown).")
    return tuple(notes)
