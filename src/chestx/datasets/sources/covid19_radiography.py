"""COVID-19 Radiography Database: four classes from other sets, at 299 x 299 pixels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import list_images, make_targets, refuse_options
from chestx.datasets.sources.radiography_metadata import read_origins
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.datasets.vocabulary import align_label
from chestx.domain import UsageError

SOURCE = "covid19-radiography"
CLASSES = ("NORMAL", "LUNG_OPACITY", "VIRAL_PNEUMONIA", "COVID19")

_WORDS = {
    "COVID": "COVID19",
    "COVID-19": "COVID19",
    "Lung_Opacity": "LUNG_OPACITY",
    "Normal": "NORMAL",
    "NORMAL": "NORMAL",
    "Viral Pneumonia": "VIRAL_PNEUMONIA",
}
_NAMES = ("COVID-19_Radiography_Dataset", "COVID-19 Radiography Database")


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the folders of classes; their tables tell where an image came from.

    Args:
        folder: with ``COVID``, ``Normal``, ``Lung_Opacity`` and ``Viral Pneumonia``, or the
            one that holds it. Images lie in ``images`` of each, or in it in old editions.
        options: none is used.

    Raises:
        UsageError: another layout or class, a table with other columns.
    """
    refuse_options(options, source=SOURCE)
    base = _find_base(folder)
    found = list_images(folder, base)
    placed = [(path, PurePosixPath(path).relative_to(base).parts) for path in found]
    images = [(path, parts[0]) for path, parts in placed if _is_image(parts)]
    words = {word for _, word in images}
    terms = {word: align_label(word, _WORDS, source=f"{SOURCE}, folders") for word in words}
    labels = tuple(term for term in CLASSES if term in terms.values())
    origins = {word: read_origins(folder / base / f"{word}.metadata.xlsx") for word in words}
    examples = tuple(
        Example(
            path=path,
            targets=make_targets(labels, {terms[word]}),
            source=_name_source(origins[word], path),
            licence="research use; terms of the set that the image comes from",
        )
        for path, word in images
    )
    manifest = Manifest(labels=labels, task=Task.SINGLE_LABEL, examples=examples, folder=folder)
    masks = sum(len(parts) > 1 and parts[1] == "masks" for _, parts in placed)
    unplaced = len(placed) - len(images) - masks
    return Scan(manifest, _note(examples, origins, masks=masks, unplaced=unplaced))


def _find_base(folder: Path) -> str:
    for base in ("", *_NAMES):
        if any((folder / base / word).is_dir() for word in ("COVID", "COVID-19")):
            return base
    raise UsageError(
        f"{str(folder)!r}: expected the folders COVID, Normal, Lung_Opacity and Viral Pneumonia "
        "of the published archive, got no COVID"
    )


def _is_image(parts: tuple[str, ...]) -> bool:
    """class/images/file or class/file."""
    return len(parts) == 2 or (len(parts) == 3 and parts[1] == "images")


def _name_source(origins: dict[str, str], path: str) -> str:
    """The set within the set; the plain name where its table does not say."""
    origin = origins.get(PurePosixPath(path).stem.casefold().replace(" ", ""), "")
    return f"{SOURCE}/{origin}" if origin else SOURCE


def _note(
    examples: tuple[Example, ...],
    origins: dict[str, dict[str, str]],
    *,
    masks: int,
    unplaced: int,
) -> tuple[str, ...]:
    notes = [
        "The classes come from different sets (Viral Pneumonia and a part of Normal are Kermany's "
        "children, Lung_Opacity and the rest of Normal are RSNA's, COVID mostly BIMCV's), so "
        "the source gives the label away; do not join it with those sets.",
        "There are no patient ids: images of one patient can be kept together only where they "
        "are found to be alike.",
        "The classes exclude each other: here LUNG_OPACITY means one without COVID-19.",
    ]
    if any(origins.values()):
        notes.append(
            "The source of an image was taken from the metadata tables by file name; copies of "
            "this set are in circulation whose numbers do not fit those tables, so check some."
        )
        rows = Counter(bool(example.source != SOURCE) for example in examples)
        if rows[False]:
            notes.append(f"{rows[False]:,} images have no row in the metadata tables.")
    surplus = sum(map(len, origins.values())) - sum(e.source != SOURCE for e in examples)
    if surplus > 0:
        notes.append(f"{surplus:,} rows of the metadata tables have no image in the folder.")
    if masks:
        notes.append(f"{masks:,} files in masks are lung masks, not radiographs; left out.")
    if unplaced:
        notes.append(f"{unplaced:,} image files lie in no folder of a class and were left out.")
    return tuple(notes)
