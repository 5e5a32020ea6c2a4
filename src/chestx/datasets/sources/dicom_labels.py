"""A table of labels for DICOM files, by UID or accession number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chestx.datasets.example import Target, Task
from chestx.datasets.labels import choose_labels
from chestx.datasets.rows import map_columns, read_rows
from chestx.domain import ImageHeader, UsageError

KEYS = {
    "SOPInstanceUID": "sop_instance_uid",
    "StudyInstanceUID": "study_instance_uid",
    "AccessionNumber": "accession_number",
}
"""Column that says which images a row is for -> field of the header."""


@dataclass(frozen=True, slots=True)
class DicomLabels:
    """What a table says.

    Attributes:
        key: column that images are found by; empty for no table at all.
        labels: of the manifest.
        task: one label an image, or several.
        targets: value of the key -> targets in the order of the labels.
    """

    key: str
    labels: tuple[str, ...]
    task: Task
    targets: Mapping[str, tuple[Target, ...]]

    def find(self, header: ImageHeader) -> str | None:
        """The key of an image; None where the table does not name it."""
        if not self.key:
            return ""
        value = str(getattr(header, KEYS[self.key]))
        return value if value in self.targets else None


def read_labels(
    path: Path, *, columns: Mapping[str, str], rename: Mapping[str, str]
) -> DicomLabels:
    """Reads a CSV with one of KEYS; its labels are found as those of a manifest are.

    Args:
        path: of the table.
        columns: ``label``, a label or one of KEYS -> name in the file, where they differ.
        rename: word of the file -> label; an empty one is unknown.

    Raises:
        UsageError: none or several of KEYS, no labels, a cell that is no answer, an image
            or study twice with different labels.
    """
    table = read_rows(path)
    found = map_columns(table, columns)
    keys = [name for name in KEYS if name in found]
    if len(keys) != 1:
        raise UsageError(
            f"{path.name}: expected exactly one of the columns {', '.join(KEYS)}, "
            f"got {', '.join(keys) or 'none of them'}"
        )
    reader = choose_labels(table, found, KEYS, labels=None, rename=rename)
    targets: dict[str, tuple[Target, ...]] = {}
    for number, row in enumerate(table.rows):
        answers = reader.read(number)
        if isinstance(answers, str):
            raise table.fail(number, answers)
        if targets.setdefault(row[found[keys[0]]].strip(), answers) != answers:
            raise table.fail(
                number, f"expected the same labels wherever a {keys[0]} stands, got others"
            )
    targets.pop("", None)
    return DicomLabels(keys[0], reader.labels, reader.task, targets)
