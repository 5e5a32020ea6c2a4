"""What a table and its files say of themselves and of each other."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chestx.datasets.duplicates import Pair
from chestx.datasets.example import Example, Manifest, Target
from chestx.datasets.fingerprints import Fingerprint, Unreadable
from chestx.datasets.stats import LabelCount
from chestx.models.scope import LATERAL_VIEWS

AGE_TOLERANCE_YEARS = 1.0
"""Ages that are a year apart may be of one patient before and after a birthday."""

FOREIGN_BODY_PARTS = frozenset({"", "CHEST", "THORAX", "LUNG", "LUNGS", "RIBS", "PORT CHEST"})
"""DICOM body parts of a chest radiograph; any other is of another part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble with files or rows.

    Attributes:
        kind: short and stable code.
        sentence: what it is.
        paths: of the images, each with what is to be known of it.
    """

    kind: str
    sentence: str
    paths: tuple[str, ...]


_QUALITY: Mapping[str, str] = {
    "too_small": "too small to see findings in",
    "blank": "blank",
    "low_contrast": "with too little contrast",
    "clipped": "clipped to black or white",
    "colour": "in colour, no radiographs as they are",
    "inverted": "that look inverted, or are no frontal chest radiographs",
    "rotated": "that look turned, or are no frontal chest radiographs",
}


def find_faults(
    manifest: Manifest, prints: Sequence[Fingerprint | Unreadable], pairs: Sequence[Pair]
) -> tuple[Fault, ...]:
    """All kinds of trouble that was met, each with its images.

    Args:
        manifest: the table.
        prints: one a row.
        pairs: of images that show the same.
    """
    examples = manifest.examples
    bad = [(e, p) for e, p in zip(examples, prints, strict=True) if isinstance(p, Unreadable)]
    good = [(e, p) for e, p in zip(examples, prints, strict=True) if isinstance(p, Fingerprint)]
    seen = Counter(example.path for example in examples)
    faults = [
        Fault(
            kind="missing",
            sentence="file(s) are missing",
            paths=tuple(e.path for e, p in bad if p.is_missing),
        ),
        Fault(
            kind="unreadable",
            sentence="file(s) cannot be read",
            paths=tuple(f"{e.path}: {p.reason}" for e, p in bad if not p.is_missing),
        ),
        Fault(
            kind="repeated",
            sentence="path(s) stand in the table more than once",
            paths=tuple(f"{path} ({count} times)" for path, count in seen.items() if count > 1),
        ),
    ]
    for code, words in _QUALITY.items():
        paths = tuple(e.path for e, p in good if code in p.reasons)
        faults.append(Fault(kind=code, sentence=f"image(s) {words}", paths=paths))
    for kind, sentence, judge in _JUDGES:
        told = [(e.path, judge(e, p)) for e, p in good]
        faults.append(
            Fault(
                kind=kind,
                sentence=sentence,
                paths=tuple(f"{path}: {why}" for path, why in told if why),
            )
        )
    faults.append(_find_conflicts(manifest, pairs))
    return tuple(fault for fault in faults if fault.paths)


def _judge_view(example: Example, print_: Fingerprint) -> str:
    stated = (example.view, print_.header.view_position)
    lateral = [view for view in stated if set(_split_words(view)) & LATERAL_VIEWS]
    return f"view {lateral[0]}" if lateral else ""


def _judge_body_part(example: Example, print_: Fingerprint) -> str:
    header = print_.header
    if header.body_part_examined.strip().upper() not in FOREIGN_BODY_PARTS:
        return f"DICOM BodyPartExamined {header.body_part_examined}"
    if header.modality and header.modality not in ("CR", "DX", "RG", "SC", "OT"):
        return f"DICOM Modality {header.modality}"
    return ""


def _compare_age(example: Example, print_: Fingerprint) -> str:
    stated, header = example.age_years, print_.header.age_years
    if stated is None or header is None or abs(stated - header) <= AGE_TOLERANCE_YEARS:
        return ""
    return f"table {stated:g} years, file {header:g}"


def _compare_sex(example: Example, print_: Fingerprint) -> str:
    stated, header = example.sex, print_.header.sex
    return f"table {stated}, file {header}" if stated and header and stated != header else ""


def _compare_view(example: Example, print_: Fingerprint) -> str:
    stated, header = _split_words(example.view), _split_words(print_.header.view_position)
    if not stated or not header or set(stated) & set(header):
        return ""
    return f"table {example.view}, file {print_.header.view_position}"


def _split_words(view: str) -> list[str]:
    return view.upper().replace("_", " ").replace("/", " ").split()


_JUDGES: Sequence[tuple[str, str, Callable[[Example, Fingerprint], str]]] = (
    ("lateral", "image(s) are stated to be lateral views", _judge_view),
    ("foreign", "file(s) state another body part or another kind of image", _judge_body_part),
    ("age_conflict", "file(s) state another age than the table", _compare_age),
    ("sex_conflict", "file(s) state another sex than the table", _compare_sex),
    ("view_conflict", "file(s) state another view than the table", _compare_view),
)


def _find_conflicts(manifest: Manifest, pairs: Sequence[Pair]) -> Fault:
    told = []
    for pair in pairs:
        if not pair.likeness.is_duplicate:
            continue
        one, other = manifest.examples[pair.first], manifest.examples[pair.second]
        labels = [
            label
            for label, a, b in zip(manifest.labels, one.targets, other.targets, strict=True)
            if {a, b} == {Target.PRESENT, Target.ABSENT}
        ]
        if labels:
            told.append(f"{one.path} and {other.path}: {', '.join(labels)}")
    return Fault(
        kind="label_conflict",
        sentence="pair(s) of duplicates contradict each other in a label",
        paths=tuple(told),
    )


def find_lone_labels(counts: Sequence[LabelCount]) -> tuple[str, ...]:
    """Sentences on labels that one source alone has, and sources that have one answer only."""
    sources = {count.source for count in counts}
    if len(sources) < 2:
        return ()
    present: dict[str, Counter[str]] = defaultdict(Counter)
    absent: dict[str, Counter[str]] = defaultdict(Counter)
    for count in counts:
        present[count.label][count.source] += count.present
        absent[count.label][count.source] += count.absent
    sentences = []
    for label in present:
        having = sorted(source for source, n in present[label].items() if n)
        lacking = sorted(source for source, n in absent[label].items() if n)
        if not having or not lacking:
            continue
        both = sorted(set(having) & set(lacking))
        if len(having) == 1:
            sentences.append(
                f"{label} is present in one source only ({_name(having[0])}): a model that knows "
                "the source knows the label."
            )
            if both:
                continue
        if not both:
            sentences.append(
                f"{label}: no source has images with it and without it, so every figure for "
                "it compares sources."
            )
            continue
        lone = sorted((set(having) | set(lacking)) - set(both))
        if lone:
            sentences.append(
                f"{label}: {', '.join(map(_name, lone))} "
                f"{'has' if len(lone) == 1 else 'have'} one answer only; trust figures within "
                f"{', '.join(map(_name, both))}."
            )
    return tuple(sentences)


def _name(source: str) -> str:
    return source or "images without a source"


def judge_licences(manifest: Manifest) -> tuple[tuple[str, int, str], ...]:
    """Licence, number of images and what it restricts as far as its words tell."""
    tally = Counter(example.licence.strip() for example in manifest.examples)
    return tuple((licence, n, _read_licence(licence)) for licence, n in tally.most_common())


def _read_licence(licence: str) -> str:
    text = licence.upper().replace("-", " ").replace("_", " ")
    words = re.findall("[A-Z]+", text)
    told = []
    if not words or any(
        phrase in text for phrase in ("NOT STATED", "UNSTATED", "UNKNOWN", "NO LICEN")
    ):
        told.append("none stated")
    if "NC" in words or "NON COMMERCIAL" in text or "NONCOMMERCIAL" in text:
        told.append("no commercial use")
    if "RESEARCH" in words:
        told.append("research use")
    if "ND" in words or "NO DERIV" in text or "NODERIV" in text:
        told.append("no derivatives: even a resized copy may be one")
    if "SA" in words:
        told.append("share alike")
    return "; ".join(told)
