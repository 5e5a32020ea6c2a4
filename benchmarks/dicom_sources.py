"""DICOM radiographs of every kind that a hospital may send: what result objects are proved with.

Each case is a difference to one plain computed radiograph. ``CASES`` is the table; pydicom
writes the files, which is not what chestx reads them with.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import compress
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

ROOT = "1.2.826.0.1.3680043.8.498."
COMPUTED_RADIOGRAPHY = "1.2.840.10008.5.1.4.1.1.1"
DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DETACHED_PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.1"
COMPRESSED = (RLELossless, JPEG2000Lossless, JPEGLSLossless)

Edit = Callable[[Dataset], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of radiograph.

    Attributes:
        group: what it varies.
        name: unique; the UIDs of its study follow from its place in the table.
        elements: keyword -> value; None takes the element away.
        rows, columns, bits, photometric, syntax: of the pixels.
        edit: a last change to the data set, for what no keyword can say.
        raw: bytes to put in the place of others in the finished file, of the same length:
            for what pydicom would refuse to write.
    """

    group: str
    name: str
    elements: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 240
    columns: int = 200
    bits: int = 12
    photometric: str = "MONOCHROME2"
    syntax: UID = ExplicitVRLittleEndian
    edit: Edit | None = None
    raw: tuple[bytes, bytes] | None = None


def make_radiograph(rows: int, columns: int) -> np.ndarray:
    """Something like a chest, bright is dense, 0 to 1: lungs, mediastinum and a marker.

    The marker stands in the upper left corner of the picture, so that a mirrored or turned
    picture is told from a right one by eye.
    """
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    body = np.full((rows, columns), 0.75, np.float32)
    for centre in (-0.42, 0.42):
        lung = ((x - centre) / 0.33) ** 2 + ((y + 0.05) / 0.62) ** 2
        body -= 0.5 * np.clip(1.6 - lung, 0, 1)
    body += 0.05 * np.sin(18 * y + 3 * np.abs(x))
    side = max(2, min(rows, columns) // 16)
    body[side : 2 * side, side : 3 * side] = 1
    return np.clip(body, 0, 1)


def make_source(case: Case, *, study: int = 0, image: int = 1) -> bytes:
    """The file of one case.

    Args:
        case: from the table.
        study: which study it belongs to; the position of the case in the table by default.
        image: which image of the study.
    """
    study = study or 1 + CASES.index(case)
    with _allow_wrong_values():
        data_set = make_plain_header(study, image)
        _add_pixels(data_set, case)
        for keyword, value in case.elements.items():
            if value is None:
                data_set.pop(keyword, None)
            else:
                setattr(data_set, keyword, value)
        if case.edit:
            case.edit(data_set)
        data = _write(data_set, case.syntax)
    if case.raw:
        old, new = case.raw
        assert len(old) == len(new), case.name
        assert old in data, case.name
        data = data.replace(old, new)
    return data


def make_plain_header(study: int, image: int) -> Dataset:
    """A computed radiograph that breaks no rule, without pixels."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.ImageType = ["ORIGINAL", "PRIMARY"]
    data_set.SOPClassUID = COMPUTED_RADIOGRAPHY
    data_set.SOPInstanceUID = f"{ROOT}{study}.1.{image}"
    data_set.StudyInstanceUID = f"{ROOT}{study}"
    data_set.SeriesInstanceUID = f"{ROOT}{study}.1"
    data_set.StudyDate, data_set.StudyTime = "20260301", "101500"
    data_set.ContentDate, data_set.ContentTime = "20260301", "101730.25"
    data_set.AcquisitionDate, data_set.AcquisitionTime = "20260301", "101730.25"
    data_set.AccessionNumber = f"A{study:05d}"
    data_set.Modality = "CR"
    data_set.Manufacturer = "Maker"
    data_set.ReferringPhysicianName = "Referrer^R"
    data_set.StudyDescription = "Thorax p.a."
    data_set.PatientName = f"Test^Patient{study}"
    data_set.PatientID = f"P{study:05d}"
    data_set.PatientBirthDate = "19700101"
    data_set.PatientSex = "F"
    data_set.PatientAge = "056Y"
    data_set.BodyPartExamined = "CHEST"
    data_set.ViewPosition = "PA"
    data_set.ImagerPixelSpacing = ["0.143", "0.143"]
    data_set.StudyID = "S1"
    data_set.SeriesNumber, data_set.InstanceNumber = 1, image
    data_set.PatientOrientation = ["L", "F"]
    return data_set


def _add_pixels(data_set: Dataset, case: Case) -> None:
    shown = make_radiograph(case.rows, case.columns)
    if case.photometric == "MONOCHROME1":
        shown = 1 - shown
    is_colour = case.photometric in ("RGB", "YBR_FULL")
    bits = 8 if is_colour or case.photometric == "PALETTE COLOR" else case.bits
    stored = np.round(shown * (2**bits - 1)).astype(np.uint16 if bits > 8 else np.uint8)
    data_set.SamplesPerPixel = 3 if is_colour else 1
    data_set.PhotometricInterpretation = case.photometric
    data_set.Rows, data_set.Columns = case.rows, case.columns
    data_set.BitsAllocated = 16 if bits > 8 else 8
    data_set.BitsStored, data_set.HighBit = bits, bits - 1
    data_set.PixelRepresentation = 0
    if is_colour:
        data_set.PlanarConfiguration = 0
        others = stored if case.photometric == "RGB" else np.full_like(stored, 128)
        stored = np.stack([stored, others, others], axis=-1)
    if case.photometric == "PALETTE COLOR":
        table = (np.arange(256) * 257).astype("<u2").tobytes()
        for colour in ("Red", "Green", "Blue"):
            setattr(data_set, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(data_set, f"{colour}PaletteColorLookupTableData", table)
    order = ">" if case.syntax == ExplicitVRBigEndian else "<"
    raw = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    data_set.PixelData = raw + b"\0" * (len(raw) % 2)
    data_set["PixelData"].VR = "OW" if bits > 8 else "OB"


@contextmanager
def _allow_wrong_values() -> Iterator[None]:
    """The standard is broken on purpose, so pydicom neither checks nor warns."""
    settings = pydicom.config.settings
    before = settings.writing_validation_mode, settings.reading_validation_mode
    settings.writing_validation_mode = settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.writing_validation_mode, settings.reading_validation_mode = before


def _write(data_set: Dataset, syntax: UID) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax in COMPRESSED else syntax
    data_set.file_meta = meta
    if syntax in COMPRESSED:
        compress(data_set, syntax, generate_instance_uid=False)
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _item(**elements: Any) -> Dataset:
    data_set = Dataset()
    with _allow_wrong_values():
        for keyword, value in elements.items():
            setattr(data_set, keyword, value)
    return data_set


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _nest_private(data_set: Dataset) -> None:
    """Private elements with sequences in them, at the root and inside a standard sequence."""
    block = data_set.private_block(0x0029, "MAKER NESTED", create=True)
    inner = Dataset()
    inner.private_block(0x0029, "MAKER NESTED", create=True).add_new(0x01, "LO", "inner")
    outer = Dataset()
    outer.private_block(0x0029, "MAKER NESTED", create=True).add_new(0x02, "SQ", [inner])
    block.add_new(0x10, "SQ", [outer])
    block.add_new(0x11, "OB", b"\x00\x01" * 400)
    request = _item(RequestedProcedureID="RP1", ScheduledProcedureStepID="SP1")
    request.private_block(0x0029, "MAKER NESTED", create=True).add_new(0x02, "SQ", [inner])
    data_set.RequestAttributesSequence = [request]


def _fill_request(data_set: Dataset) -> None:
    """All that a well-run department sends along."""
    data_set.IssuerOfPatientID = "HOSPITAL"
    data_set.IssuerOfPatientIDQualifiersSequence = [
        _item(UniversalEntityID="1.2.3.4", UniversalEntityIDType="ISO")
    ]
    data_set.IssuerOfAccessionNumberSequence = [_item(LocalNamespaceEntityID="RIS")]
    data_set.ProcedureCodeSequence = [_code("399208008", "SCT", "Plain chest X-ray")]
    data_set.ReferencedPerformedProcedureStepSequence = [
        _item(
            ReferencedSOPClassUID=DETACHED_PROCEDURE_STEP.replace("2.3.1", "2.3.3"),
            ReferencedSOPInstanceUID=f"{ROOT}77.7",
        )
    ]
    data_set.PerformedProcedureStepID = "PPS1"
    data_set.PerformedProtocolCodeSequence = [_code("CHESTPA", "99RIS", "Chest PA")]
    data_set.RequestAttributesSequence = [
        _item(
            RequestedProcedureID="RP1",
            ScheduledProcedureStepID="SP1",
            RequestedProcedureDescription="Thorax",
            StudyInstanceUID=str(data_set.StudyInstanceUID),
            AccessionNumber=str(data_set.AccessionNumber),
        )
    ]
    data_set.AnatomicRegionSequence = [_code("816094009", "SCT", "Chest")]


def _spoil_sequences(data_set: Dataset) -> None:
    """Sequences that are there and say nothing, or half."""
    data_set.ProcedureCodeSequence = [_item(CodeMeaning="only a meaning")]
    data_set.ReferencedPerformedProcedureStepSequence = [
        _item(ReferencedSOPClassUID=DETACHED_PROCEDURE_STEP)
    ]
    data_set.RequestAttributesSequence = [_item(RequestedProcedureDescription="x" * 200)]
    data_set.AnatomicRegionSequence = [_item()]
    data_set.IssuerOfAccessionNumberSequence = [_item()]
    data_set.IssuerOfPatientIDQualifiersSequence = [_item(UniversalEntityID="1.2.3")]


def _name(name: str, character_set: str | list[str], person: str, **more: Any) -> Case:
    return Case(
        "names", name, {"SpecificCharacterSet": character_set, "PatientName": person, **more}
    )


NAMES = (
    _name("name-japanese", ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    _name(
        "name-japanese-kana",
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    _name("name-korean", ["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    _name("name-chinese-gb18030", "GB18030", "Wang^XiaoDong=王^小东", StudyDescription="胸部正位"),
    _name("name-chinese-gbk", "GBK", "Wang^XiaoDong=王^小东"),
    Case(
        "names",
        "name-chinese-2022",
        {
            "SpecificCharacterSet": ["", "ISO 2022 IR 58"],
            "PatientName": "Zhang^XiaoDong=" + 16 * "x",
        },
        # By hand, as in PS3.5 K.2: pydicom does not write this set.
        raw=(16 * b"x", b"\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab "),
    ),
    Case(
        "names",
        "charset-unescaped",
        {"SpecificCharacterSet": ["", "ISO 2022 IR 58"], "PatientName": "Zhang^XiaoDong=xx^xxxx"},
        raw=(b"xx^xxxx", b"\xd5\xc5^\xd0\xa1\xb6\xab"),
    ),
    _name("name-cyrillic", "ISO_IR 144", "Люксембург", StudyDescription="Грудная клетка"),
    _name("name-greek", "ISO_IR 126", "Διονυσιος"),
    _name("name-arabic", "ISO_IR 127", "قباني^لنزار"),
    _name("name-hebrew", "ISO_IR 138", "שרון^דבורה", StudyDescription="צילום חזה"),
    _name("name-thai", "ISO_IR 166", "สมชาย^ใจดี"),
    _name("name-latin1", "ISO_IR 100", "Müller^Jörg", StudyDescription="Thorax für Übersicht"),
    _name("name-utf8", "ISO_IR 192", "Wang^XiaoDong=王^小東=Ωμέγα^שרון", InstitutionName="医院"),
    _name("name-long", "ISO_IR 100", "A" * 40 + "^" + "B" * 23),
    _name("name-long-groups", "ISO_IR 192", "=".join(x * 64 for x in ("A", "王", "Ω"))),
    _name("name-too-long", "ISO_IR 100", "A" * 200 + "^" + "B" * 100),
    _name("name-too-long-2022", ["", "ISO 2022 IR 87"], "A" * 80 + "=" + "山" * 80),
    _name("name-many-carets", "ISO_IR 100", "A^B^C^D^E^F^G"),
    _name("name-many-groups", "ISO_IR 100", "A=B=C=D=E"),
    _name("name-empty-parts", "ISO_IR 100", "^^^^=^"),
    _name("name-two-values", "ISO_IR 100", "A^B\\C^D"),
    _name("charset-unknown", "ISO_IR 999", "Plain^Name"),
    _name("charset-two-unknown", ["ISO_IR 100", "ISO_IR 999"], "Plain^Name"),
    Case(
        "names",
        "charset-missing-latin1",
        {"SpecificCharacterSet": None, "PatientName": "Mxller^Jxrg"},
        raw=(b"Mxller^Jxrg", b"M\xfcller^J\xf6rg"),
    ),
    Case(
        "names",
        "charset-utf8-broken",
        {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Mxller^Jxrg"},
        raw=(b"Mxller^Jxrg", b"M\xfcller^J\xf6rg"),
    ),
    Case(
        "names",
        "name-control-characters",
        {"PatientName": "Axxr^Jxrg"},
        raw=(b"Axxr^Jxrg", b"A\r\nr^J\x00rg"),
    ),
)

PIXELS = (
    Case("pixels", "plain"),
    Case("pixels", "mono1-12", photometric="MONOCHROME1"),
    Case("pixels", "mono1-15", photometric="MONOCHROME1", bits=15),
    Case("pixels", "mono2-8", bits=8),
    Case("pixels", "mono2-10", bits=10),
    Case("pixels", "mono2-15", bits=15),
    Case("pixels", "mono2-16", bits=16),
    Case("pixels", "rgb", {"Modality": "OT"}, photometric="RGB"),
    Case("pixels", "ybr-full", photometric="YBR_FULL"),
    Case("pixels", "palette", photometric="PALETTE COLOR"),
    Case("pixels", "small", rows=100, columns=100),
    Case("pixels", "wide", rows=120, columns=700),
    Case("pixels", "tall", rows=900, columns=130),
    Case("pixels", "odd", rows=301, columns=257, bits=8),
    Case("pixels", "large", rows=5000, columns=4000, bits=14),
    Case(
        "pixels",
        "window-many",
        {"WindowCenter": ["2048", "1000"], "WindowWidth": ["4096", "500"]},
    ),
    Case("pixels", "window-broken", {"WindowCenter": "2048", "WindowWidth": "0"}),
    Case(
        "pixels",
        "window-sigmoid",
        {
            "WindowCenter": "2048",
            "WindowWidth": "4096",
            "VOILUTFunction": "SIGMOID",
        },
    ),
    Case(
        "pixels",
        "rescale",
        {
            "RescaleIntercept": "-100",
            "RescaleSlope": "2",
            "RescaleType": "US",
        },
    ),
    Case("pixels", "rescale-untyped", {"RescaleIntercept": "0", "RescaleSlope": "1"}),
)

GEOMETRY = (
    *(
        Case("geometry", f"orientation-{name}", {"PatientOrientation": value})
        for name, value in {
            "rf": ["R", "F"],
            "rh": ["R", "H"],
            "lh": ["L", "H"],
            "fl": ["F", "L"],
            "af": ["A", "F"],
            "pf": ["P", "F"],
            "single": "L",
            "empty": "",
            "missing": None,
            "lower": ["l", "f"],
            "nonsense": ["X", "Y"],
            "spelt": ["LEFT", "FOOT"],
            "oblique": ["LA", "FP"],
        }.items()
    ),
    Case("geometry", "spacing-zero", {"PixelSpacing": ["0", "0"], "ImagerPixelSpacing": None}),
    Case("geometry", "imager-missing", {"ImagerPixelSpacing": None}),
    Case("geometry", "imager-zero", {"ImagerPixelSpacing": ["0", "0"]}),
    Case("geometry", "imager-empty", {"ImagerPixelSpacing": ""}),
    Case("geometry", "imager-one", {"ImagerPixelSpacing": "0.1"}),
    Case("geometry", "imager-negative", {"ImagerPixelSpacing": ["-0.1", "-0.1"]}),
    Case("geometry", "imager-words", {}, raw=(b"0.143\\0.143", b"ab.cd\\x.143")),
    Case("geometry", "spacing-anisotropic", {"ImagerPixelSpacing": ["0.1", "0.2"]}),
    Case(
        "geometry", "spacing-long", {"ImagerPixelSpacing": ["0.1428571428571", "0.1428571428571"]}
    ),
    Case("geometry", "spacing-calibrated", {"PixelSpacing": ["0.139", "0.139"]}),
    Case("geometry", "laterality-b", {"Laterality": "B"}),
    Case("geometry", "laterality-word", {"Laterality": "LEFT"}),
    Case("geometry", "image-laterality", {"ImageLaterality": "U"}),
    Case("geometry", "body-part-lower", {"BodyPartExamined": "chest"}),
    Case("geometry", "body-part-missing", {"BodyPartExamined": None}),
    Case(
        "geometry",
        "body-part-japanese",
        {"SpecificCharacterSet": "ISO_IR 192", "BodyPartExamined": "THORAX"},
        raw=(b"THORAX", "胸部".encode()),
    ),
    Case("geometry", "body-part-thorax", {"BodyPartExamined": "THORAX"}),
    Case("geometry", "view-lateral", {"ViewPosition": "LATERAL", "PatientOrientation": ["A", "F"]}),
    Case("geometry", "view-odd", {"ViewPosition": "p.a. stehend"}),
)

TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "SeriesNumber",
    "InstanceNumber",
    "Manufacturer",
    "SpecificCharacterSet",
    "StudyDescription",
    "ContentDate",
    "ContentTime",
    "PatientAge",
    "Modality",
    "ViewPosition",
)

HEADERS = (
    *(Case("headers", f"missing-{x}", {x: None}) for x in TYPE_2),
    Case("headers", "missing-all", dict.fromkeys(TYPE_2)),
    *(
        Case("headers", name, elements)
        for name, elements in {
            "empty-all": dict.fromkeys((x for x in TYPE_2 if x != "Modality"), ""),
            "bad-dates": {"StudyDate": "2026-13-01", "PatientBirthDate": "19701301"},
            "old-dates": {"StudyDate": "2026.03.01", "StudyTime": "10:15:00"},
            "bad-times": {"StudyTime": "250000", "ContentTime": "noon"},
            "date-range": {"StudyDate": "20260101-20260301"},
            "bad-sex": {"PatientSex": "X"},
            "sex-word": {"PatientSex": "Female"},
            "bad-age": {"PatientAge": "56"},
            "age-empty": {"PatientAge": ""},
            "long-accession": {"AccessionNumber": "A" * 40},
            "two-accessions": {"AccessionNumber": "A1\\A2"},
            "long-patient-id": {"PatientID": "P" * 120},
            "patient-id-backslash": {"PatientID": "P1\\P2"},
            "patient-id-spaces": {"PatientID": "  P 1  "},
            "issuer-long": {"IssuerOfPatientID": "H" * 100},
            "study-id-long": {"StudyID": "S" * 50},
            "description-long": {"StudyDescription": "D" * 200},
            "description-backslash": {"StudyDescription": "Thorax\\p.a."},
            "referrer-many": {"ReferringPhysicianName": "A^B\\C^D"},
            "referrer-retired": {"ReferringPhysicianName": "<ward>"},
            "timezone": {"TimezoneOffsetFromUTC": "+0100"},
            "bad-timezone": {"TimezoneOffsetFromUTC": "CET"},
            "series-number-word": {"SeriesNumber": 2147483647},
            "lossy": {
                "LossyImageCompression": "01",
                "LossyImageCompressionRatio": "12.5",
                "LossyImageCompressionMethod": "ISO_10918_1",
            },
            "lossy-bare": {"LossyImageCompression": "01"},
            "lossy-unequal": {
                "LossyImageCompression": "01",
                "LossyImageCompressionRatio": ["12.5", "3"],
                "LossyImageCompressionMethod": "ISO_10918_1",
            },
            "lossy-odd": {"LossyImageCompression": "YES"},
            "burned-in": {"BurnedInAnnotation": "YES"},
            "uid-leading-zero": {"SeriesInstanceUID": ROOT + "01.02"},
            "trial": {
                "ClinicalTrialSponsorName": "Sponsor",
                "ClinicalTrialProtocolID": "PROTO",
                "ClinicalTrialProtocolName": "Protocol",
                "ClinicalTrialSiteID": "SITE",
                "ClinicalTrialSiteName": "Site",
                "ClinicalTrialSubjectID": "SUBJECT",
            },
            "trial-half": {"ClinicalTrialSubjectID": "SUBJECT"},
            "deidentified": {
                "PatientName": "",
                "PatientID": "",
                "PatientBirthDate": "",
                "PatientIdentityRemoved": "YES",
                "DeidentificationMethod": "by hand",
                "AccessionNumber": "",
                "StudyDate": "",
                "StudyTime": "",
            },
            "deidentified-bare": {"PatientName": "", "PatientIdentityRemoved": "YES"},
            "deidentified-coded": {
                "PatientName": "ANON",
                "PatientIdentityRemoved": "YES",
                "DeidentificationMethodCodeSequence": [
                    _code("113100", "DCM", "Basic Application Confidentiality Profile")
                ],
                "LongitudinalTemporalInformationModified": "MODIFIED",
            },
            "deidentified-odd": {"PatientIdentityRemoved": "MAYBE"},
        }.items()
    ),
    Case("headers", "private-nested", edit=_nest_private),
    Case("headers", "request-full", edit=_fill_request),
    Case("headers", "sequences-spoilt", edit=_spoil_sequences),
)

CLASSES = (
    Case(
        "classes",
        "dx",
        {
            "SOPClassUID": DIGITAL_X_RAY,
            "Modality": "DX",
            "PresentationIntentType": "FOR PRESENTATION",
            "ImageLaterality": "U",
            "PresentationLUTShape": "IDENTITY",
            "Laterality": None,
            "RescaleIntercept": "0",
            "RescaleSlope": "1",
            "RescaleType": "US",
            "BurnedInAnnotation": "NO",
            "LossyImageCompression": "00",
            "AnatomicRegionSequence": [_code("43799004", "SRT", "Chest")],
        },
    ),
    Case(
        "classes",
        "dx-inverse",
        {
            "SOPClassUID": DIGITAL_X_RAY,
            "Modality": "DX",
            "PresentationLUTShape": "INVERSE",
        },
        photometric="MONOCHROME1",
    ),
    Case(
        "classes",
        "sc",
        {
            "SOPClassUID": SECONDARY_CAPTURE,
            "Modality": "OT",
            "ConversionType": "DF",
            "ViewPosition": None,
            "ImagerPixelSpacing": None,
        },
    ),
    Case("classes", "px-as-cr", {"Modality": "DX"}),
    *(
        Case("classes", f"syntax-{name}", syntax=syntax)
        for name, syntax in {
            "implicit": ImplicitVRLittleEndian,
            "big-endian": ExplicitVRBigEndian,
            "deflated": DeflatedExplicitVRLittleEndian,
            "rle": RLELossless,
            "jpeg2000": JPEG2000Lossless,
            "jpegls": JPEGLSLossless,
        }.items()
    ),
    Case("classes", "big-endian-request", syntax=ExplicitVRBigEndian, edit=_fill_request),
)

CASES: tuple[Case, ...] = (*PIXELS, *NAMES, *GEOMETRY, *HEADERS, *CLASSES)
"""Every case, one a row; the name is unique."""
