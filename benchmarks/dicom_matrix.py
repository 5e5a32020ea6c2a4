"""Every kind of radiograph through every judge of the objects that are made of it.

python benchmarks/dicom_matrix.py [--only PART OF A NAME ...] [--keep FOLDER] [--no-orthanc]

For each case of ``dicom_sources.py``: the objects of a positive answer (and, for the first
of each group, of every other answer and with the older form of the report) are made and
held against dciodvfy, dcentvfy (together with their source), the program's own checker of
TID 1500, dcmpschk, dsrdump, highdicom and a real Orthanc. Printed: the faults by case,
then objects and times. The exit code is 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dicom_checks as checks
import pydicom
from dicom_results import Answerer, encode_objects, make_objects
from dicom_sources import CASES, Case, make_source
from pydicom import Dataset

from chestx.export.dicom_source import NoDicomSourceError
from chestx.models.classifier import Classifier

REPAIRED = frozenset(
    {
        "charset-unescaped",
        "charset-utf8-broken",
        # Of pydicom: the same names, with other empty groups and escapes.
        "chrKoreanMulti",
        "chrX1",
        "chrX2",
        "description-backslash",
        "description-long",
        "long-accession",
        "name-chinese-2022",  # Right, but written anew in UTF-8.
        "name-control-characters",
        "name-empty-parts",
        "name-many-carets",
        "name-many-groups",
        "name-too-long",
        "name-too-long-2022",
        "name-two-values",
        "old-dates",
        "two-accessions",
    }
)
"""Cases whose source breaks the standard in what tells a study for a person: objects that keep
the standard must differ from it, and are compared among themselves alone."""

REFUSED = frozenset({"long-patient-id", "patient-id-backslash", "uid-leading-zero"})
"""Cases in which an object could not be filed with its source: none is made."""

NOT_READ = frozenset({"syntax-deflated"})
"""Cases whose source dicom3tools cannot read."""

NOT_UNDERSTOOD = frozenset({"name-chinese-gbk", "name-long-groups", "name-too-long-2022"})
"""Cases whose names dciodvfy calls invalid, in the source too: it does not know GBK, and counts
bytes where PS3.5 6.2 counts characters."""

_ABSENT = "Missing SOPInstanceUID that was referenced"
_UID = re.compile(r"[0-9]+(?:\.[0-9]+){4,}")

Files = Mapping[str, bytes]


@dataclass(slots=True)
class Judges:
    """Who is asked, and where their files lie.

    Attributes:
        folder: for files.
        orthanc: where objects are stored; None to leave that out.
        checks_templates: whether reports are held against TID 1500, which takes longest.
        objects: how many of each kind were judged.
        faults: case -> what was found.
    """

    folder: Path
    orthanc: checks.Orthanc | None = None
    checks_templates: bool = True
    objects: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def judge(self, case: str, source: bytes, objects: Files, *, answer: str = "") -> None:
        """Asks everybody about the objects of one source; notes what they find."""
        name = f"{case}.{answer}"
        paths = []
        for kind, data in {"source": source, **objects}.items():
            path = self.folder / f"{name}.{kind}.dcm"
            path.write_bytes(data)
            paths.append(path)
            if kind != "source":
                self.objects[kind.rstrip("0123456789")] += 1
                self._note(f"{name} {kind}", judge_object(case, kind, path))
            if kind == "sr" and self.checks_templates:
                self._note(f"{name} {kind}", checks.list_template_faults(path))
        self._note(name, judge_entities(case, paths))
        if case not in REPAIRED:
            self._note(name, compare_patients(source, objects))
        if self.orthanc is not None:
            files = {"source": source, **objects}
            self._note(name, store_all(self.orthanc, files, is_repaired=case in REPAIRED))

    def _note(self, name: str, faults: Sequence[str]) -> None:
        if faults:
            self.faults.setdefault(name, []).extend(faults)


def judge_object(case: str, kind: str, path: Path) -> list[str]:
    """What validators and dcmtk find wrong with one object."""
    faults = [
        fault
        for fault in checks.list_iod_errors(path)
        if not (case in NOT_UNDERSTOOD and "Value invalid for this VR [PN]" in fault)
    ]
    if kind.startswith("gsps"):
        faults += checks.list_state_faults(path)
    if kind.startswith(("sr", "kos", "withdrawal")):
        said = checks.run_program("dsrdump", "--quiet", path)
        faults += [line for line in said.splitlines() if re.match("[EFW]: ", line)]
    return faults


def judge_entities(case: str, paths: Sequence[Path]) -> list[str]:
    """What dcentvfy finds among a source and its objects."""
    faults = checks.list_entity_errors(paths)
    if case in REPAIRED:
        faults = [fault for fault in faults if ".source.dcm>" not in fault]
    if case in NOT_READ:
        return [fault for fault in faults if "different value" in fault]
    if any(_ABSENT in fault for fault in faults):
        # A source may name objects that are not here, such as a procedure step.
        named = {_UID.findall(x)[0] for x in checks.list_entity_errors(paths[:1]) if _ABSENT in x}
        faults = [x for x in faults if not (_ABSENT in x and _UID.findall(x)[0] in named)]
    return faults


def compare_patients(source: bytes, objects: Files) -> list[str]:
    """Whether every object names the patient as its source does, character by character."""
    given = pydicom.dcmread(io.BytesIO(source), stop_before_pixels=True)
    faults = []
    for kind, data in objects.items():
        made = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
            before, after = (str(x.get(keyword) or "") for x in (given, made))
            if before.strip(" ^=\0") != after.strip(" ^=\0"):
                faults.append(f"{kind}: {keyword} is {after!r}, the source says {before!r}")
        faults += list_private(kind, made)
    return faults


def list_private(kind: str, data_set: Dataset) -> list[str]:
    """Private elements, of which none may leave the source."""
    return [
        f"{kind}: private {element.tag}" for element in data_set.iterall() if element.tag.is_private
    ]


def store_all(orthanc: checks.Orthanc, files: Files, *, is_repaired: bool = False) -> list[str]:
    """Whether Orthanc takes all, keeps every byte, and files them together."""
    faults, said = [], {}
    for kind, data in files.items():
        said[kind] = orthanc.store(data)
        back = orthanc.get(f"/instances/{said[kind]['ID']}/file")
        if checks.skip_file_meta(back) != checks.skip_file_meta(data):
            faults.append(f"{kind}: came back changed")
    for level in ("ParentStudy", "ParentPatient"):
        if len({answer[level] for answer in said.values()}) > 1:
            faults.append(f"Orthanc files them under several {level}: {said}")
    names = {
        orthanc.get_json(f"/instances/{answer['ID']}/simplified-tags").get("PatientName") or ""
        for answer in said.values()
    }
    if len(names) > 1 and not is_repaired:
        faults.append(f"Orthanc reads the patient's name in several ways: {sorted(names)}")
    return faults


def prove_case(case: Case, judges: Judges, answerer: Answerer, *, answer: str = "positive") -> None:
    """Makes and judges the objects of one case."""
    source = make_source(case)
    try:
        image = answerer.read(source, answer)
    except NoDicomSourceError as error:
        if case.name not in REFUSED:
            judges.faults.setdefault(case.name, []).append(f"refused: {error}")
        return
    if case.name in REFUSED:
        judges.faults.setdefault(case.name, []).append("expected to be refused")
        return
    objects = make_objects([image], with_withdrawal=answer == "positive")
    judges.judge(case.name, source, encode_objects(objects), answer=answer)
    if answer != "positive":
        older = make_objects([image], is_3d=False)["sr"]
        judges.judge(case.name, source, encode_objects({"sr": older}), answer=f"{answer}.older")


def main() -> int:
    """Runs the sweep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="cases with this in their name")
    parser.add_argument("--keep", type=Path, help="folder for the files")
    parser.add_argument("--no-orthanc", action="store_true")
    options = parser.parse_args()
    cases = [c for c in CASES if not options.only or any(x in c.name for x in options.only)]
    answerer = Answerer(Classifier.load(threads=1))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch) / "files"
        folder.mkdir(parents=True, exist_ok=True)
        judges = Judges(folder)
        if not options.no_orthanc:
            judges.orthanc = checks.Orthanc(Path(scratch))
            judges.orthanc.start()
        try:
            sweep(cases, judges, answerer)
        finally:
            if judges.orthanc is not None:
                judges.orthanc.stop()
    for name, faults in judges.faults.items():
        for fault, count in Counter(faults).items():
            print(f"{name}: {fault}{f' ({count} times)' if count > 1 else ''}")
    made = ", ".join(f"{count} {kind}" for kind, count in sorted(judges.objects.items()))
    seconds = time.perf_counter() - start
    print(f"{len(cases)} cases, {made}, {len(judges.faults)} with faults, {seconds:.0f} s")
    return bool(judges.faults)


def sweep(cases: Sequence[Case], judges: Judges, answerer: Answerer) -> None:
    """Every case; the first of each group with every answer."""
    seen = set()
    for case in cases:
        try:
            prove_case(case, judges, answerer)
            if case.group not in seen:
                for answer in ("uncertain", "negative", "by scope"):
                    prove_case(case, judges, answerer, answer=answer)
            seen.add(case.group)
        except Exception as error:
            # One case must not hide the faults of the others.
            judges.faults.setdefault(case.name, []).append(f"raised {error!r:.300}")


if __name__ == "__main__":
    sys.exit(main())
