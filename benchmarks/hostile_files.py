"""Makes a folder of hostile files: damaged, contradicting, oversized, misnamed, no files at all.

python benchmarks/hostile_files.py OUT [--good FOLDER] [--seed N]

OUT is made; beside it OUT.json says of each file what is wrong with it and what is
expected: ``failed`` (a row with the reason), ``readable`` (odd, but the image is whole)
or ``either`` (both are right). ``--good`` mixes the plain files of a folder in, under
``good/``. The same seed gives the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hostile_dicom import list_dicom_cases
from hostile_pictures import list_picture_cases
from hostile_places import list_place_cases
from hostile_seeds import Case, Expected

SEED = 20261121


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was made.

    Attributes:
        path: relative to the folder; a name that is no UTF-8 has surrogate escapes.
        kind: what is wrong with it.
        expected: ``failed``, ``readable`` or ``either``.
        note: why it may be read.
        must_name: part of the reason that must be given where it fails.
    """

    path: str
    kind: str
    expected: Expected
    note: str = ""
    must_name: str = ""


def list_cases(seed: int = SEED) -> Iterator[Case]:
    """Every case, always in the same order."""
    rng = random.Random(seed)
    yield from list_dicom_cases(rng)
    yield from list_picture_cases(rng)
    yield from list_place_cases()


def make_hostile_folder(folder: Path, *, good: Path | None = None, seed: int = SEED) -> list[Entry]:
    """Writes every case, and the manifest beside the folder.

    Args:
        folder: must not exist.
        good: a folder whose plain files are copied into ``good/``.
        seed: of what is random.

    Returns:
        What was made.
    """
    folder.mkdir(parents=True)
    entries = []
    for case in list_cases(seed):
        name = os.fsdecode(case.name)
        shelf = case.kind.replace(" ", "-").replace(",", "").lower()
        path = folder / shelf / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            raise ValueError(f"{shelf}/{name!r}: two cases have one name")
        if isinstance(case.content, bytes):
            path.write_bytes(case.content)
        else:
            case.content(path)
        entries.append(
            Entry(f"{shelf}/{name}", case.kind, case.expected, case.note, case.must_name)
        )
    # A folder in place of a file holds nothing to answer for, and has no row.
    (folder / "folder.dcm").mkdir()
    if good is not None:
        (folder / "good").mkdir()
        for source in sorted(path for path in good.iterdir() if path.is_file()):
            shutil.copyfile(source, folder / "good" / source.name)
            entries.append(Entry(f"good/{source.name}", "good", "either", "a plain file"))
    manifest = folder.with_name(folder.name + ".json")
    manifest.write_text(json.dumps([asdict(entry) for entry in entries], indent=1), "utf-8")
    return entries


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--good", type=Path, help="folder of good files to mix in")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    entries = make_hostile_folder(options.out, good=options.good, seed=options.seed)
    kinds = Counter(entry.kind for entry in entries)
    for kind, count in sorted(kinds.items()):
        print(f"{count:5}  {kind}")
    print(f"{len(entries):5}  files of {len(kinds)} kinds in {options.out}")


if __name__ == "__main__":
    main()
