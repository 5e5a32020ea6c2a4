"""Objects of all kinds agree with their source and with each other."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from chestx.domain import ModelIdentity, UsageError
from chestx.export.dicom_common import (
    IMPLEMENTATION_CLASS_UID,
    ObjectKind,
    complete_object,
    encode_object,
    find_local_time,
    make_code,
    make_reference,
    to_line,
)
from chestx.export.dicom_source import DicomImage
from chestx.terminology import CHEST

Maker = Callable[..., Any]
Finder = Callable[..., list[str]]


def make_object(images: Sequence[DicomImage], kind: ObjectKind = ObjectKind.SC) -> Dataset:
    """A Secondary Capture of black, which holds nothing but what objects share."""
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.ConversionType, dataset.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    dataset.PatientOrientation = ""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.add_new("PixelData", "OB", bytes(16))
    complete_object(dataset, images, kind=kind)
    return dataset


EXPECTED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "BodyPartExamined"),
)
BROKEN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no charset": {"SpecificCharacterSet": None, "PatientName": b"J\xf6rg"},
    "UTF-8 not declared": {"SpecificCharacterSet": None, "PatientName": "J\xf6rg".encode()},
    "wrong charset": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": b"J\xf6rg"},
    "Type 2 missing": dict.fromkeys(EXPECTED),
    "invalid values": {
        "PatientName": b"A^B^C^D^E^F",
        "PatientBirthDate": b"1961.02.03",
        "PatientSex": b"X",
        "StudyDate": b"20261340",
        "StudyTime": b"08:15:00",
        "AccessionNumber": b"1" * 20,
        "StudyID": b"a\tb",
        "PatientAge": b"65Y",
        "StudyDescription": b"x" * 80,
        "BodyPartExamined": b"Chest PA",
        "TimezoneOffsetFromUTC": b"+1:00",
        "Modality": b"cr",
        "InstanceNumber": b"-3",
    },
    "long name": {"PatientName": b"A" * 40 + b"^" + b"B" * 40},
    "a hand": {"BodyPartExamined": "HAND", "Laterality": "R"},
    "an abdomen": {"BodyPartExamined": "ABDOMEN"},
    "part of a trial": {"ClinicalTrialSponsorName": "S"},
    "a trial": {
        "ClinicalTrialSponsorName": "S",
        "ClinicalTrialProtocolID": "P",
        "ClinicalTrialSubjectID": "1",
    },
    "no identity": {"PatientIdentityRemoved": "YES"},
    "broken code": {"ProcedureCodeSequence": [Dataset()]},
}


@pytest.mark.parametrize("what", BROKEN)
def test_objects_of_a_broken_source_are_valid(
    make_dicom_image: Maker, find_errors: Finder, what: str
) -> None:
    assert find_errors(encode_object(make_object([make_dicom_image(**BROKEN[what])]))) == []


CONSISTENT: dict[str, dict[str, Any]] = {
    "latin": {},
    "no texts": dict.fromkeys(["PatientName", "PatientSex", "StudyID", "StudyDescription"]),
    "cyrillic": {"SpecificCharacterSet": "ISO_IR 144", "PatientName": "\u041b\u044e\u043a"},
    "chinese": {"SpecificCharacterSet": "GB18030", "PatientName": "Wang=\u738b^\u5c0f\u4e1c"},
    "japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce",
    },
    "korean": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 149"],
        "PatientName": "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9",
    },
    "arabic": {"SpecificCharacterSet": "ISO_IR 127", "PatientName": "\u0642\u0628\u0627"},
    "hebrew": {"SpecificCharacterSet": "ISO_IR 138", "PatientName": "\u05e9\u05e8\u05d5"},
    "greek": {"SpecificCharacterSet": "ISO_IR 126", "PatientName": "\u0394\u03b9\u03bf"},
    "UTF-8 as Latin-1": {"PatientName": "J\xf6rg".encode()},
    "zone": {"TimezoneOffsetFromUTC": "-0530"},
}


@pytest.mark.parametrize("what", CONSISTENT)
def test_patient_and_study_are_those_of_the_source_to_the_byte(
    make_dicom_image: Maker,
    make_source: Maker,
    find_errors: Finder,
    find_contradictions: Finder,
    what: str,
) -> None:
    sources = [make_source(instance=number, **CONSISTENT[what]) for number in (1, 2)]
    images = [make_dicom_image(source) for source in sources]
    objects = [encode_object(make_object([image])) for image in images]
    objects.append(encode_object(make_object(images, kind=ObjectKind.WITHDRAWAL)))
    assert find_errors(objects[0]) == []
    assert find_contradictions([*sources, *objects]) == []
    source, made = (dcmread(io.BytesIO(data)) for data in (sources[0], objects[0]))
    assert made.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")
    assert str(made.PatientName) == str(source.get("PatientName") or "")


def test_who_spoke_stands_in_the_equipment(make_dicom_image: Maker) -> None:
    model = ModelIdentity(
        "My\\model", "2.0", "cd" * 32, "bf16", site="Here", site_profile="ef" * 32
    )
    made = make_object([make_dicom_image(model=model)])
    (item,) = made.ContributingEquipmentSequence
    for equipment in (made, item):
        assert equipment.Manufacturer == "chestx"
        assert equipment.ManufacturerModelName == "My/model"
        assert equipment.DeviceSerialNumber == "cd" * 8
        assert equipment.SoftwareVersions[1] == "2.0"
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    for part in ("cd" * 32, "precision bf16", "Here"):
        assert part in item.ContributionDescription
    other = make_object([make_dicom_image()])
    assert item.DeviceUID != other.ContributingEquipmentSequence[0].DeviceUID
    assert "precision f32. Thresholds: not calibrated for this site." in (
        other.ContributingEquipmentSequence[0].ContributionDescription
    )


@pytest.mark.parametrize(
    ("kind", "modality", "number"),
    [
        (ObjectKind.SC, "DX", 9101),
        (ObjectKind.SR, "SR", 9102),
        (ObjectKind.GSPS, "PR", 9103),
        (ObjectKind.KOS, "KO", 9104),
        (ObjectKind.WITHDRAWAL, "KO", 9105),
    ],
)
def test_each_kind_has_its_own_series(
    make_dicom_image: Maker, kind: ObjectKind, modality: str, number: int
) -> None:
    made = make_object([make_dicom_image(Modality="DX", instance=3)], kind)
    assert (made.Modality, made.SeriesNumber, made.InstanceNumber) == (modality, number, 3)
    assert made.SeriesDescription.startswith("AI ")
    assert made.SeriesDescription.endswith("not for diagnosis")
    assert "SeriesDate" not in made
    assert "SeriesTime" not in made


@pytest.mark.parametrize("kind", [ObjectKind.SC, ObjectKind.GSPS])
def test_objects_of_images_share_a_series_where_they_agree(
    make_dicom_image: Maker, kind: ObjectKind
) -> None:
    alike = [make_object([make_dicom_image(instance=number)], kind) for number in (1, 2)]
    others = [
        make_object([make_dicom_image(instance=3, Modality="DX")], kind),
        make_object([make_dicom_image(instance=4, BodyPartExamined=None)], kind),
        make_object([make_dicom_image(instance=5, BodyPartExamined=None, Laterality="L")], kind),
    ]
    assert alike[0].SeriesInstanceUID == alike[1].SeriesInstanceUID
    assert alike[0].SOPInstanceUID != alike[1].SOPInstanceUID
    of_series: dict[str, set[tuple[str, ...]]] = {}
    for made in (*alike, *others):
        stated = [str(made.get(x)) for x in ("Modality", "BodyPartExamined", "Laterality")]
        of_series.setdefault(made.SeriesInstanceUID, set()).add(tuple(stated))
    assert [len(stated) for stated in of_series.values()] == [1] * len(of_series)
    assert len(of_series) == (4 if kind is ObjectKind.SC else 3)


@pytest.mark.parametrize(
    ("offset", "clock"),
    [(None, "20261121173005"), ("-0530", "20261121110005"), ("+1400", "20261122063005")],
)
def test_times_are_in_the_zone_of_the_studys_times(
    make_dicom_image: Maker, offset: str | None, clock: str
) -> None:
    made = make_object([make_dicom_image(TimezoneOffsetFromUTC=offset or "")])
    assert made.ContentDate + made.ContentTime == f"{clock}.250000"
    assert made.get("TimezoneOffsetFromUTC") == offset
    stated = made.ContributingEquipmentSequence[0].ContributionDateTime
    assert stated == f"{clock}.250000{offset or '+0100'}"


def test_an_object_of_several_images_carries_the_latest_time(make_dicom_image: Maker) -> None:
    late = datetime(2026, 11, 21, 23, 0, tzinfo=timezone(timedelta(hours=1)))
    images = [make_dicom_image(), make_dicom_image(instance=2, assessed_at=late)]
    assert find_local_time(images) == late
    assert make_object(images).ContentTime == "230000.000000"


def test_what_stood_there_is_replaced_and_the_source_is_not_shared(
    make_dicom_image: Maker,
) -> None:
    image = make_dicom_image(StudyDescription=None)
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.StudyDescription, dataset.SeriesDate = "Someone else's", "20200101"
    dataset.PatientName = "Someone^Else"
    complete_object(dataset, [image], kind=ObjectKind.SR, instance_number=7)
    assert "StudyDescription" not in dataset
    assert "SeriesDate" not in dataset
    assert dataset.InstanceNumber == 7
    dataset.PatientName = "Changed"
    assert str(image.attributes.PatientName) == "Meier^J\xf6rg"


def test_a_model_name_in_another_script_is_written_in_utf_8(
    make_dicom_image: Maker, find_errors: Finder
) -> None:
    model = ModelIdentity("\u80ba\u708e", "1", "ab" * 32)
    made = make_object([make_dicom_image(model=model)])
    assert made.SpecificCharacterSet == "ISO_IR 192"
    data = encode_object(made)
    assert find_errors(data) == []
    read = dcmread(io.BytesIO(data))
    assert (str(read.PatientName), read.ManufacturerModelName) == ("Meier^J\xf6rg", model.name)


def test_images_of_several_studies_or_patients_make_no_object(make_dicom_image: Maker) -> None:
    first = make_dicom_image()
    for other in ({"StudyInstanceUID": "1.2.3"}, {"PatientID": "Other"}):
        with pytest.raises(UsageError, match=r"one study of one patient, got 2 images of 2"):
            make_object([first, make_dicom_image(**other)])
    with pytest.raises(UsageError, match=r"got 0 images of 0"):
        make_object([])


def test_the_file_is_the_same_to_the_byte_and_reads_back_equal(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    made = make_object([image])
    data = encode_object(made)
    assert data == encode_object(make_object([make_dicom_image()])) == encode_object(made)
    assert data[:132] == bytes(128) + b"DICM"
    read = dcmread(io.BytesIO(data))
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert str(read.file_meta.ImplementationVersionName).startswith("CHESTX ")
    assert read == made
    later = replace(image, assessed_at=image.assessed_at + timedelta(seconds=1))
    assert encode_object(make_object([later])) != data


def test_items_are_made_of_codes_and_images(make_dicom_image: Maker) -> None:
    code = make_code(CHEST)
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("816094009", "SCT")
    reference = make_reference(make_dicom_image(instance=4).attributes)
    assert reference.ReferencedSOPInstanceUID.endswith(".1.4")
    assert to_line("a\\b" + "c" * 80) == "a/b" + "c" * 61
