"""What the two tuberculosis sets of the National Library of Medicine share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import list_images, make_targets
from chestx.datasets.sources.registry import Scan
from chestx.domain import UsageError

LABELS = ("NORMAL", "TUBERCULOSIS")
MAX_READING_BYTES = 64 * 1024
_MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Reading:
    """A radiologist's reading that lies beside an image.

    Attributes:
        sex: ``M``, ``F`` or empty.
        age_years: None where not understood.
        text: the reading, one line.
    """

    sex: str = ""
    age_years: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSet:
    """A set whose labels are in its file names.

    Attributes:
        name: of the source.
        prefix: of the file names, e.g. ``MCUCXR``.
        licence: as the set states it.
        parse_reading: lines of a reading -> what they say.
        notes: traps that every scan must name.
    """

    name: str
    prefix: str
    licence: str
    parse_reading: Callable[[list[str]], Reading]
    notes: tuple[str, ...]

    @property
    def layout(self) -> str:
        """What the folder should look like."""
        return f"a folder CXR_png with files like {self.prefix}_0001_0.png"


def scan_names(folder: Path, named: NamedSet) -> Scan:
    """Reads a set whose file names end in 0 (normal) or 1 (tuberculosis).

    Args:
        folder: with ``CXR_png`` and perhaps ``ClinicalReadings``.
        named: the set.

    Raises:
        UsageError: no image with such a name.
    """
    pattern = re.compile(rf"(?P<patient>{named.prefix}_\d{{4,5}})_(?P<label>[01])\.png")
    found = list_images(folder, "CXR_png")
    matches = {path: pattern.fullmatch(PurePosixPath(path).name) for path in found}
    known = {path: match for path, match in matches.items() if match}
    if not known:
        raise UsageError(f"{str(folder)!r}: expected {named.layout}, but there is none")
    examples = tuple(_make_example(folder, path, match, named) for path, match in known.items())
    manifest = Manifest(labels=LABELS, task=Task.SINGLE_LABEL, examples=examples, folder=folder)
    surplus = len(found) - len(known)
    notes = list(named.notes)
    if surplus:
        notes.append(
            f"{surplus:,} image files in CXR_png have another kind of name and were left out."
        )
    return Scan(manifest, (*notes, *_note_readings(examples)))


def _make_example(folder: Path, path: str, match: re.Match[str], named: NamedSet) -> Example:
    reading = _read_reading(folder / "ClinicalReadings" / f"{Path(path).stem}.txt", named)
    label = LABELS[int(match["label"])]
    return Example(
        path=path,
        targets=make_targets(LABELS, {label}),
        patient_id=match["patient"],
        source=named.name,
        view="PA",
        age_years=reading.age_years,
        sex=reading.sex,
        licence=named.licence,
        other={"reading": reading.text} if reading.text else {},
    )


def _read_reading(path: Path, named: NamedSet) -> Reading:
    """Empty where there is no such file; a pipe is none."""
    if not path.is_file():
        return Reading()
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_READING_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return Reading()
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    return named.parse_reading([line for line in lines if line])


def join_lines(lines: list[str]) -> str:
    """The text of a reading in one printable line."""
    text = " ".join(" ".join(lines).split())
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:_MAX_TEXT]


def _note_readings(examples: tuple[Example, ...]) -> tuple[str, ...]:
    missing = {
        "age": sum(example.age_years is None for example in examples),
        "sex": sum(not example.sex for example in examples),
    }
    return tuple(
        f"{count:,} of {len(examples):,} images have no reading that states the {what}."
        for what, count in missing.items()
        if count
    )
