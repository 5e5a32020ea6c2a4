"""covid-chestxray-dataset as its repository has it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from chestx.datasets.example import Target
from chestx.datasets.sources.covid_chestxray import COLUMNS
from chestx.datasets.sources.registry import scan_folder
from chestx.domain import UsageError

# https://github.com/ieee8023/covid-chestxray-dataset/blob/
# 6a4242344473ccb5ed0d2148d8c7bfb1691e4ed8/metadata.csv: 29 names and one without a name.
HEADER = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,"
    "license,clinical_notes,other_notes,\n"
)
# A row of the same file, its clinical notes shortened.
ROW = (
    "2,0,M,65,Pneumonia/Viral/COVID-19,Y,Y,N,N,N,N,Y,,,,,,,PA,X-ray,"
    '"January 22, 2020","Cho Ray Hospital, Ho Chi Minh City, Vietnam",images,'
    "auntminnie-a-2020_01_28_23_51_6665_2020_01_28_Vietnam_coronavirus.jpeg,"
    "10.1056/nejmc2001272,https://www.nejm.org/doi/full/10.1056/NEJMc2001272,,"
    '"On January 22, 2020, a 65-year-old man",,\n'
)


def _row(name: str, **cells: str) -> str:
    usual = {"modality": "X-ray", "folder": "images", "filename": name, "view": "PA"}
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        [{**usual, **cells}.get(column, "") for column in COLUMNS] + [""]
    )
    return out.getvalue()


def _make(folder: Path, *rows: str, header: str = HEADER) -> Path:
    (folder / "metadata.csv").write_text(header + "".join(rows))
    (folder / "images").mkdir(exist_ok=True)
    for cells in csv.DictReader(io.StringIO(HEADER + "".join(rows))):
        if cells["folder"] == "images" and "/" not in cells["filename"]:
            Image.new("L", (4, 4)).save(folder / "images" / cells["filename"])
    return folder


def test_a_published_row_is_read(tmp_path: Path) -> None:
    (example,) = scan_folder("covid-chestxray", _make(tmp_path, ROW)).manifest.examples
    assert example.path.startswith("images/auntminnie-a-2020")
    assert (example.patient_id, example.view, example.age_years, example.sex) == (
        "2", "PA", 65, "M",
    )  # fmt: skip
    assert example.licence == "not stated"
    assert example.other["finding"] == "Pneumonia/Viral/COVID-19"
    assert example.other["offset"] == "0"


NAMES = {"N": "NO_FINDING", "P": "PNEUMONIA", "B": "BACTERIAL_PNEUMONIA"}
NAMES |= {"V": "VIRAL_PNEUMONIA", "C": "COVID19", "T": "TUBERCULOSIS"}


@pytest.mark.parametrize(
    ("finding", "present", "unknown"),
    [
        ("No Finding", "N", ""),
        ("Pneumonia", "P", "BVC"),
        ("Pneumonia/Viral", "P", "VC"),
        ("Pneumonia/Viral/COVID-19", "PC", ""),
        ("Pneumonia/Viral/SARS", "PV", ""),
        ("Pneumonia/Viral/Influenza/H1N1", "PV", ""),
        ("Pneumonia/Viral/Herpes ", "PV", ""),
        ("Pneumonia/Bacterial", "PB", ""),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "PB", ""),
        ("Pneumonia/Fungal/Pneumocystis", "P", ""),
        ("Pneumonia/Lipoid", "P", ""),
        ("Pneumonia/Aspiration", "P", ""),
        ("Tuberculosis", "T", "PB"),
        ("todo", "", "NPBVCT"),
        ("Unknown", "", "NPBVCT"),
    ],
)
def test_the_tree_of_findings_settles_what_it_says_and_no_more(
    tmp_path: Path, finding: str, present: str, unknown: str
) -> None:
    manifest = scan_folder(
        "covid-chestxray", _make(tmp_path, _row("a.png", finding=finding))
    ).manifest
    targets = dict(zip(manifest.labels, manifest.examples[0].targets, strict=True))
    assert targets == {
        label: Target.PRESENT
        if letter in present
        else Target.UNKNOWN
        if letter in unknown
        else Target.ABSENT
        for letter, label in NAMES.items()
    }


def test_ct_laterals_licences_and_open_findings_are_counted(tmp_path: Path) -> None:
    _make(
        tmp_path,
        _row("a.png", finding="No Finding", view="L", license="CC BY-NC-SA"),
        _row("b.png", finding="todo"),
        _row("c.png", finding="Pneumonia", modality="CT", view="Axial"),
        _row("d.nii.gz", finding="Pneumonia", modality="CT", folder="volumes"),
        _row("e.png", finding="Pneumonia"),
    )
    (tmp_path / "images" / "e.png").rename(tmp_path / "images" / "f.png")
    scan = scan_folder("covid-chestxray", tmp_path)
    assert [(e.path, e.view, e.licence) for e in scan.manifest.examples] == [
        ("images/a.png", "LATERAL", "CC BY-NC-SA"),
        ("images/b.png", "PA", "not stated"),
    ]
    notes = " ".join(scan.notes)
    for sentence in (
        "1 of the 3 files that metadata.csv names are not in the folder",
        "1 image files are not named by metadata.csv",
        "2 rows are CT and were left out.",
        "1 images are lateral views.",
        "1 images have no licence stated",
        "1 images have a finding that is not settled",
    ):
        assert sentence in notes


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            {"finding": "Pneumonia/Cosmic"},
            "line 2: expected one of the findings .*got 'Pneumonia/C",
        ),
        ({"finding": "COVID-19"}, "got 'COVID-19'"),
        ({"finding": "todo", "modality": "MR"}, "line 2: expected the modality X-ray or CT"),
        ({"finding": "todo", "filename": "../a.png"}, "name of a file inside"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, cells: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scan_folder("covid-chestxray", _make(tmp_path, _row("a.png", **cells)))


def test_another_header_or_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected metadata.csv in it"):
        scan_folder("covid-chestxray", tmp_path)
    _make(tmp_path, ROW, header=HEADER.replace("finding", "Finding"))
    with pytest.raises(UsageError, match="is missing 'finding' and has unknown 'Finding'"):
        scan_folder("covid-chestxray", tmp_path)
