"""One answer everywhere: tables, page and every DICOM object say the same of an image."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from chestx.batch.options import OBJECT_KINDS, BatchOptions
from chestx.batch.run import predict_files, prepare_folders
from chestx.domain import ANY_FINDING, OperatingPoint
from chestx.models.classifier import Classifier
from chestx.models.site import SiteProfile, site_profile_to_json

WriteDicom = Callable[..., Path]

# So wide that one sample serves for every decision, whatever the model says of it.
POINTS = {
    "positive": OperatingPoint(0.0, 0.0, 0.0),
    "uncertain": OperatingPoint(0.5, 0.0, 1.0),
    "negative": OperatingPoint(1.0, 1.0, 1.0),
}
QUALIFIERS = {"positive": "Present", "uncertain": "Undetermined", "negative": "Absent"}
# What a status in the structured report says of an image.
STATUSES = {"out_of_scope": "Not attempted", "failed": "Failed"}


@dataclass(frozen=True)
class Said:
    """Everything that a run says of one image.

    Attributes:
        row, study: of the tables.
        entry: of the page's data.
        objects: kind -> data set, of the image or its study.
    """

    row: dict[str, str]
    study: dict[str, str]
    entry: dict[str, Any]
    objects: dict[str, Dataset]


def make_profile(classifier: Classifier, point: OperatingPoint) -> SiteProfile:
    identity = classifier.identity
    keys = [label.key for label in classifier.card.findings]
    return SiteProfile(
        format_version=1,
        site="Test",
        model_name=identity.name,
        model_version=identity.version,
        model_checksum=identity.checksum,
        model_precision=identity.precision,
        temperature=classifier.card.temperature,
        operating_points=dict.fromkeys([*keys, ANY_FINDING], point),
        chosen_on="nothing",
        accepted_on="nothing",
        performance=(),
        criteria=(),
        manifest_sha256="0" * 64,
        signed_by="A test",
        signed_on="2026-01-01",
        software="0.1.0",
    )


def read_table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_said(output: Path) -> list[Said]:
    """What a finished run said of each image; every image is a study of its own."""
    rows = read_table(output / "results.csv")
    studies = {row["answering_path"]: row for row in read_table(output / "studies.csv")}
    page = (output / "report.html").read_text("utf-8")
    data = json.loads(re.findall(r'<script[^>]*json"[^>]*>(.*?)</script>', page, re.DOTALL)[0])
    entries = {entry["number"]: entry for entry in data["images"]}
    return [
        Said(
            row=row,
            study=studies[row["path"]],
            entry=entries[number],
            objects={
                kind: dcmread(path)
                for kind in OBJECT_KINDS
                for path in (output / "dcm").glob(f"*{number:06d}*.{kind}.dcm")
            },
        )
        for number, row in enumerate(rows, start=1)
    ]


@pytest.fixture(scope="module")
def said(
    classifier: Classifier,
    write_dicom: WriteDicom,
    write_broken: WriteDicom,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Said]:
    folder = tmp_path_factory.mktemp("one-answer")
    frontal = str(write_dicom(folder / "in" / "frontal.dcm", study=1))
    lateral = str(write_dicom(folder / "in" / "lateral.dcm", study=2, ViewPosition="LL"))
    broken = str(write_broken(folder / "in" / "broken.dcm", study=3))
    found: dict[str, Said] = {}
    for name, point in POINTS.items():
        profile = folder / f"{name}.json"
        profile.write_text(site_profile_to_json(make_profile(classifier, point)), "utf-8")
        output = folder / name
        paths = [frontal, lateral, broken] if name == "positive" else [frontal]
        options = BatchOptions(
            workers=0, dicom=str(output / "dcm"), objects=OBJECT_KINDS, heatmap_size=128
        )
        prepare_folders(output, options=options)
        predict_files(
            paths,
            output,
            classifier=Classifier.load(threads=1, site_profile=profile),
            options=options,
        )
        answers = [name, "out_of_scope", "failed"]
        found |= dict(zip(answers, read_said(output), strict=False))
    return found


def fold(text: str) -> str:
    """With the signs of ASCII, which the objects may keep to; words stay as they are."""
    return text.translate({0x2013: "-", 0x2026: "..."})


def walk(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", ()):
        yield from walk(child)


def name_concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeMeaning) if names else ""


def read_texts(item: Dataset) -> list[str]:
    return [fold(str(x.TextValue)) for x in walk(item) if "TextValue" in x]


def read_marks(state: Dataset) -> str:
    return fold(
        "\n".join(
            str(text.UnformattedTextValue)
            for annotation in state.GraphicAnnotationSequence
            for text in annotation.get("TextObjectSequence", ())
        )
    )


@pytest.mark.parametrize("decision", [*POINTS, "out_of_scope", "failed"])
def test_tables_page_and_objects_say_the_same(said: dict[str, Said], decision: str) -> None:
    answer = said[decision]
    assert answer.row["decision"] == answer.study["decision"] == decision
    assert answer.entry["decision"] == decision
    assert answer.entry["interpretation"] == answer.row["interpretation"]
    assert answer.study["interpretation"] == answer.row["interpretation"]
    report = answer.objects["sr"]
    assert fold(answer.row["interpretation"]) in read_texts(report)
    is_read = decision != "failed"
    assert set(answer.objects) == {
        "sr",
        *(["sc", "gsps"] if is_read else []),
        *(["kos"] if decision == "positive" else []),
    }
    for name in ("PatientID", "AccessionNumber", "StudyInstanceUID"):
        for item in answer.objects.values():
            assert item[name].value == answer.row[name]


@pytest.mark.parametrize("decision", [*POINTS])
def test_every_finding_has_one_decision_and_one_probability(
    said: dict[str, Said], classifier: Classifier, decision: str
) -> None:
    answer = said[decision]
    keys = [label.key for label in classifier.card.findings]
    groups = {}
    for item in walk(answer.objects["sr"]):
        children = {name_concept(child): child for child in item.get("ContentSequence", ())}
        if "Certainty of Finding" in children:
            identifier = str(children["Tracking Identifier"].TextValue)
            groups[identifier.split()[0]] = item.ContentSequence
    for key in (*keys, ANY_FINDING):
        assert answer.row[f"decision_{key}"] == decision
        content = next(group for name, group in groups.items() if key in name)
        meanings = [x.ConceptCodeSequence[0].CodeMeaning for x in content if x.ValueType == "CODE"]
        assert [x for x in meanings if x in QUALIFIERS.values()] == [QUALIFIERS[decision]]
        (certainty,) = [x for x in content if name_concept(x) == "Certainty of Finding"]
        percent = float(certainty.MeasuredValueSequence[0].NumericValue)
        assert percent == pytest.approx(100 * float(answer.row[f"probability_{key}"]))
    said_by_page = [finding[2] for finding in answer.entry["findings"]]
    assert said_by_page == [decision] * len(said_by_page)


@pytest.mark.parametrize("decision", [*STATUSES])
def test_what_was_not_assessed_has_no_finding_anywhere(
    said: dict[str, Said], decision: str
) -> None:
    answer = said[decision]
    assert not any(value for name, value in answer.row.items() if name.startswith("decision_"))
    assert "findings" not in answer.entry
    concepts = [name_concept(item) for item in walk(answer.objects["sr"])]
    assert "Certainty of Finding" not in concepts
    if decision == "out_of_scope":
        sentence = fold(answer.row["interpretation"])
        assert sentence in read_marks(answer.objects["gsps"])


@pytest.mark.parametrize("decision", [*POINTS])
def test_marks_and_key_objects_repeat_the_headline(said: dict[str, Said], decision: str) -> None:
    answer = said[decision]
    headline = f"{decision}: {answer.entry['basis']}" if "basis" in answer.entry else decision
    assert headline in read_marks(answer.objects["gsps"])
    outlines = [
        item
        for annotation in answer.objects["gsps"].GraphicAnnotationSequence
        for item in annotation.get("GraphicObjectSequence", ())
    ]
    polygons = [x for x in walk(answer.objects["sr"]) if x.get("ValueType") == "SCOORD"]
    assert len(outlines) == len(polygons)
    if decision == "positive":
        assert headline in " ".join(read_texts(answer.objects["kos"]))
        capture = answer.objects["sc"].SOPInstanceUID
        named = [
            item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            for item in answer.objects["kos"].ContentSequence
            if "ReferencedSOPSequence" in item
        ]
        assert named == [answer.row["SOPInstanceUID"], capture]
    else:
        assert not outlines
