"""A folder of DICOM files, with a table of labels by UID."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.sources.common import MAX_AGE_YEARS, list_images, refuse_options
from chestx.datasets.sources.dicom_labels import DicomLabels, read_labels
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import ImageHeader, Limits, UnreadableImageError, UsageError

_HEAD_BYTES = 1024 * 1024
"""Enough for the header of nearly every radiograph; where it is not, the whole file is read."""

_NO_LABELS = DicomLabels(key="", labels=("ABNORMAL",), task=Task.MULTI_LABEL, targets={})


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the headers of all DICOM files below a folder, whatever their names.

    Args:
        folder: with files in any folders below; ``DICOMDIR`` is not needed.
        options: ``labels`` is a table with a column SOPInstanceUID, StudyInstanceUID or
            AccessionNumber, and labels as a manifest has them; ``columns`` says what it calls
            those, where that differs, and ``rename`` which label a word of it means.

    Raises:
        UsageError: no DICOM image, a table that is none or fits none of the images.
    """
    refuse_options(options, source="dicom", allowed=("labels", "columns", "rename"))
    table = _NO_LABELS
    if options.labels is not None:
        table = read_labels(
            options.labels, columns=options.columns or {}, rename=options.rename or {}
        )
    elif options.columns or options.rename:
        option = "--column" if options.columns else "--rename"
        raise UsageError(f"{option}: expected a table of labels (--labels-csv) beside it, got none")
    met: Counter[str] = Counter()
    used: set[str] = set()
    examples = []
    for path in list_images(folder, suffixes=None):
        header = _read_image_header(folder / path, met)
        if header is None:
            continue
        key = table.find(header)
        if key is None:
            met["unlabelled"] += 1
            continue
        used.add(key)
        examples.append(_make_example(path, header, table, key, source=folder.resolve().name))
    if not examples:
        raise UsageError(_explain_nothing(folder, table, met))
    manifest = Manifest(
        labels=table.labels, task=table.task, examples=tuple(examples), folder=folder
    )
    return Scan(
        manifest, _note(manifest.examples, table, met, unused=len(table.targets) - len(used))
    )


def _read_image_header(path: Path, met: Counter[str]) -> ImageHeader | None:
    """The header of a DICOM image; None for other files, which are counted."""
    if not path.is_file():
        return None  # A pipe or a dead link.
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            header, kind = _parse(head)
            if header is None and kind != "foreign":
                header, kind = _parse(head + file.read(Limits().max_bytes - len(head) + 1))
    except (OSError, UnreadableImageError):
        header, kind = None, "unreadable"
    if header is None:
        met[kind] += 1
    return header


def _parse(data: bytes) -> tuple[ImageHeader | None, str]:
    """The header of an image, or None and why there is none.

    What stands before a fault is read, so the start of a file does for its header.
    """
    from chestx.images.dicom_elements import is_dicom, read_dicom_file
    from chestx.images.dicom_header import read_header

    if not is_dicom(data):
        return None, "foreign"
    file = read_dicom_file(data, limits=Limits())
    header = read_header(file)
    if header.rows and header.columns:
        return header, ""
    return None, "unreadable" if file.fault else "no image"


def _make_example(
    path: str, header: ImageHeader, table: DicomLabels, key: str, *, source: str
) -> Example:
    asked = (Target.NOT_ASKED,) * len(table.labels)
    names = (header.manufacturer, header.manufacturer_model_name)
    return Example(
        path=path,
        targets=table.targets.get(key, asked),
        patient_id=header.patient_id,
        study_id=header.study_instance_uid,
        source=source,
        view=header.view_position,
        age_years=header.age_years if (header.age_years or 0) <= MAX_AGE_YEARS else None,
        sex=header.sex,
        device=" ".join(name for name in names if name),
        other={
            "sop_instance_uid": header.sop_instance_uid,
            "modality": header.modality,
            "body_part": header.body_part_examined,
        },
    )


def _explain_nothing(folder: Path, table: DicomLabels, met: Counter[str]) -> str:
    if met["unlabelled"]:
        return (
            f"{str(folder)!r}: expected images that the table of labels names, but none of "
            f"{met['unlabelled']:,} has a {table.key} that stands in it"
        )
    return (
        f"{str(folder)!r}: expected DICOM images, got none among {met.total():,} files "
        f"({met['foreign']:,} are no DICOM, {met['unreadable']:,} cannot be read, "
        f"{met['no image']:,} are DICOM without an image)"
    )


def _note(
    examples: Iterable[Example], table: DicomLabels, met: Counter[str], *, unused: int
) -> tuple[str, ...]:
    examples = tuple(examples)
    notes = []
    if not table.key:
        notes.append(
            "No table of labels was given: the one label, ABNORMAL, was not asked of any image."
        )
    sentences = {
        "unreadable": "files cannot be read as DICOM and were left out.",
        "foreign": "files are no DICOM and were left out.",
        "no image": "DICOM files hold no image (reports, presentation states) and were left out.",
        "unlabelled": f"images have no {table.key} in the table of labels and were left out.",
    }
    notes += [f"{met[name]:,} {text}" for name, text in sentences.items() if met[name]]
    if table.key and unused:
        notes.append(f"{unused:,} rows of the table of labels fit no image in the folder.")
    if without := sum(not example.patient_id for example in examples):
        notes.append(f"{without:,} images state no PatientID.")
    shared = Counter(example.other["sop_instance_uid"] for example in examples)
    shared.pop("", None)
    if copies := sum(count - 1 for count in shared.values()):
        notes.append(f"{copies:,} files repeat the SOPInstanceUID of another file.")
    if any(example.patient_id for example in examples):
        notes.append("The manifest holds PatientID as the files state it: keep it as safe as them.")
    return tuple(notes)
