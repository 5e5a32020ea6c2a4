"""CLAIM 2024, the checklist for reports on AI in medical imaging, as far as it can be filled.

What only the people behind the data can know stays ``not stated``: a checklist that is filled
by guessing is worth less than an empty one.

Source: Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024
Update, Radiology: Artificial Intelligence 2024;6(4):e240300. The topics are put in our own short
words; the items and their numbers are the checklist's.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chestx.domain import CAVEAT, ModelCard
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.result import Evaluation, Slice
from chestx.rendering.document import Paragraph, Section, Table

SOURCE = (
    "Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update, "
    "Radiology: Artificial Intelligence 2024;6(4):e240300"
)
_NOT_STATED = "not stated"


class ClaimStatus(StrEnum):
    """How far an item is answered."""

    STATED = "stated"
    PARTLY = "partly"
    NOT_STATED = "not stated"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class ClaimItem:
    """One item of the checklist.

    Attributes:
        number: 1 to 44.
        part: of a paper that it belongs to.
        topic: what is asked.
        status: how far it is answered.
        answer: in words.
    """

    number: int
    part: str
    topic: str
    status: ClaimStatus
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClaimMaterial:
    """What is known of one evaluation.

    Attributes:
        evaluation: what was measured.
        outcomes: what it was measured from.
        probes: names of the probes that were run.
        pictures: how many wrong answers are shown.
    """

    evaluation: Evaluation
    outcomes: Outcomes
    probes: tuple[str, ...] = ()
    pictures: int = 0

    @property
    def card(self) -> ModelCard:
        """Of the model."""
        return self.outcomes.card

    @property
    def whole(self) -> Slice:
        """All images."""
        return self.evaluation.slices[0]


_Answer = tuple[ClaimStatus, str]


def fill_claim(material: ClaimMaterial) -> tuple[ClaimItem, ...]:
    """The 44 items, each with what is known or ``not stated``."""
    items = []
    for number, (part, topic, answer) in enumerate(_ITEMS, start=1):
        status, words = answer(material) if callable(answer) else answer
        items.append(ClaimItem(number, part, topic, status, words))
    return tuple(items)


def write_claim_section(items: tuple[ClaimItem, ...]) -> Section:
    """The checklist as a part of the page."""
    counts = {status: sum(item.status is status for item in items) for status in ClaimStatus}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    rows = [(str(x.number), x.part, x.topic, x.status.value, x.answer) for x in items]
    return Section(
        "CLAIM checklist",
        [
            Paragraph(
                f"For one who writes about this evaluation: {summary}. What is not stated is for "
                "the people behind the data and the study to say. Topics in short words; see the "
                f"checklist itself for what each item asks: {SOURCE}."
            ),
            Table(
                caption="CLAIM 2024, item by item",
                columns=("item", "part", "topic", "status", "what is known"),
                rows=rows,
            ),
        ],
    )


def claim_to_json(items: tuple[ClaimItem, ...], *, evaluation: Evaluation) -> dict[str, Any]:
    """The checklist as plain JSON values."""
    return {
        "caveat": CAVEAT,
        "model": str(evaluation.model),
        "data": evaluation.data,
        "source": SOURCE,
        "items": [
            {
                "number": item.number,
                "part": item.part,
                "topic": item.topic,
                "status": item.status.value,
                "answer": item.answer,
            }
            for item in items
        ],
    }


def _stated(text: str) -> _Answer:
    return (ClaimStatus.STATED, text) if text else (ClaimStatus.NOT_STATED, _NOT_STATED)


def _partly(text: str) -> _Answer:
    return ClaimStatus.PARTLY, text


_SILENT: _Answer = (ClaimStatus.NOT_STATED, _NOT_STATED)


def _tabulate(outcomes: Outcomes, column: str) -> str:
    """How many images have each value of an attribute; empty where none is stated."""
    values = outcomes.attributes.get(column, ())
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    if not counts.keys() - {""}:
        return ""
    names = sorted(counts, key=lambda value: (-counts[value], value))
    shown = [f"{name or 'not stated'} {counts[name]:,}" for name in names[:12]]
    rest = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(shown) + rest


def _answer_sources(m: ClaimMaterial) -> _Answer:
    sources = _tabulate(m.outcomes, "source")
    if not sources:
        return _partly(f"manifest {m.evaluation.data}; it names no sources")
    return _partly(f"{m.evaluation.data}; images by source: {sources}; dates and places not stated")


def _answer_selection(m: ClaimMaterial) -> _Answer:
    left = "; ".join(f"{count:,} with {reason}" for reason, count in m.evaluation.left_out.items())
    refused = ", ".join(f"{reason} {count:,}" for reason, count in m.whole.reasons.items())
    return _partly(
        f"rows left out: {left or 'none'}; images that the model's scope refused or that could not "
        f"be read, counted: {refused or 'none'}; how the sources chose patients is not stated"
    )


def _answer_preprocessing(m: ClaimMaterial) -> _Answer:
    spec = m.card.input
    return _stated(
        "as chestx reads every image: DICOM display pipeline, bright is dense, stretched to "
        f"{spec.size} x {spec.size}; denoising {spec.denoise.value}; contrast limit of CLAHE "
        f"{spec.clahe_clip_limit:g}"
    )


def _answer_missing(m: ClaimMaterial) -> _Answer:
    unknown = {
        label.key: int((m.outcomes.targets[:, index] < 0).sum())
        for index, label in enumerate(m.card.labels)
    }
    counts = ", ".join(f"{key} {count:,}" for key, count in unknown.items() if count)
    return _stated(
        "an image without a known answer is left out for that label only "
        f"({counts or 'none was'}); refused and failed images stay in the accounting and in the "
        "figures that say so"
    )


def _answer_acquisition(m: ClaimMaterial) -> _Answer:
    parts = [
        f"{name}: {values}"
        for name in ("view", "device")
        if (values := _tabulate(m.outcomes, name))
    ]
    return _partly("; ".join(parts)) if parts else _SILENT


def _answer_reference(m: ClaimMaterial) -> _Answer:
    return _partly("the labels of the manifest; how they were obtained is not stated")


def _answer_partitions(m: ClaimMaterial) -> _Answer:
    splits = _tabulate(m.outcomes, "split")
    told = m.card.training.get("split")
    words = [f"the card says: {told}"] if isinstance(told, str) else []
    words += [f"split of the images: {splits}"] if splits else []
    return _partly("; ".join(words)) if words else _SILENT


def _answer_disjoint(m: ClaimMaterial) -> _Answer:
    stated = m.outcomes.attributes.get("patient_stated", ()).count("yes")
    return _partly(
        f"patient or duplicate group ({m.whole.groups:,} groups of {m.whole.images:,} images; the "
        f"patient is stated for {stated:,}); that none of them was in training is not checked here"
    )


def _answer_model(m: ClaimMaterial) -> _Answer:
    network = m.card.training.get("architecture")
    words = f"{m.evaluation.model}, {m.evaluation.model.precision}: {m.card.summary}"
    return _stated(f"{words} {network}" if isinstance(network, str) else words)


def _answer_software(m: ClaimMaterial) -> _Answer:
    found = [f"Python {platform.python_version()}"]
    for name in ("chestx", "openvino", "onnxruntime", "numpy", "opencv-python-headless", "pydicom"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return _stated(", ".join(found))


def _from_training(*keys: str) -> Callable[[ClaimMaterial], _Answer]:
    def answer(m: ClaimMaterial) -> _Answer:
        training: Mapping[str, Any] = m.card.training
        found = [f"{key}: {training[key]}" for key in keys if isinstance(training.get(key), str)]
        return _partly(f"the card says: {'; '.join(found)}") if found else _SILENT

    return answer


def _answer_metrics(m: ClaimMaterial) -> _Answer:
    names = dict.fromkeys(
        figure.name for answer in m.evaluation.answers for figure in answer.figures
    )
    return _stated(", ".join(names))


def _answer_uncertainty(m: ClaimMaterial) -> _Answer:
    settings = m.evaluation.settings
    return _stated(
        "95 % intervals: bootstrap over whole patient or duplicate groups "
        f"({settings.get('repeats', 'unknown')} draws, seed {settings.get('seed', 'unknown')}), "
        "Wilson for proportions where said; no significance tests without a comparison"
    )


def _answer_robustness(m: ClaimMaterial) -> _Answer:
    if not m.probes:
        return ClaimStatus.NOT_STATED, "not measured: the probes were switched off"
    return _stated(f"probes: {', '.join(m.probes)}")


def _answer_explanation(m: ClaimMaterial) -> _Answer:
    if m.card.heatmap == "none":
        return ClaimStatus.NOT_APPLICABLE, "the model explains nothing"
    maps = {"cam": "class activation maps", "occlusion": "occlusion maps"}[m.card.heatmap]
    return _partly(f"{maps} on a fixed scale; see the probes for what was checked")


def _answer_demography(m: ClaimMaterial) -> _Answer:
    parts = [
        f"{name.replace('_', ' ')}: {values}"
        for name in ("age_band", "sex", "population")
        if (values := _tabulate(m.outcomes, name))
    ]
    return _partly("; ".join(parts)) if parts else _SILENT


def _answer_counts(m: ClaimMaterial) -> _Answer:
    whole, left = m.whole, sum(m.evaluation.left_out.values())
    return _stated(
        f"{whole.images:,} images of {whole.groups:,} patient or duplicate groups: "
        f"{whole.assessed:,} assessed, {whole.out_of_scope:,} out of scope, {whole.failed:,} "
        f"failed; {left:,} rows of the manifest left out"
    )


def _answer_failures(m: ClaimMaterial) -> _Answer:
    if not m.pictures:
        return _partly("the wrong answers are listed in images.csv; none is shown")
    return _partly(
        f"{m.pictures} of the most certain wrong and of the refused are shown, all are listed in "
        "images.csv; nobody has judged why they are wrong"
    )


def _answer_external(m: ClaimMaterial) -> _Answer:
    return _partly(
        "whether a source was part of the training is for the card and the manifest to say; see "
        "the figures within each source"
    )


_ITEMS: tuple[tuple[str, str, _Answer | Callable[[ClaimMaterial], _Answer]], ...] = (
    ("title, abstract", "named as a study of AI, with the technology",
     lambda m: _stated(f"evaluation of a neural network for images: {m.evaluation.model}")),
    ("title, abstract", "summary", _stated("the first part of this page")),
    ("introduction", "background, intended use and role", lambda m: _stated(m.card.intended_use)),
    ("introduction", "aims and hypotheses",
     _partly("to measure the worth of the model's answers on these images; no hypotheses stated")),
    ("methods: design", "prospective or retrospective", _SILENT),
    ("methods: design", "goal of the study",
     _partly("evaluation of a finished model; what was chosen on these images is not stated")),
    ("methods: data", "sources", _answer_sources),
    ("methods: data", "inclusion and exclusion", _answer_selection),
    ("methods: data", "preprocessing", _answer_preprocessing),
    ("methods: data", "choice of a part of the data", lambda m: _stated(m.evaluation.data)),
    ("methods: data", "de-identification", _SILENT),
    ("methods: data", "missing data", _answer_missing),
    ("methods: data", "how images were acquired", _answer_acquisition),
    ("methods: reference standard", "how it was defined and obtained", _answer_reference),
    ("methods: reference standard", "why it was chosen", _SILENT),
    ("methods: reference standard", "who annotated", _SILENT),
    ("methods: reference standard", "annotation of the test images", _SILENT),
    ("methods: reference standard", "variability between and within readers", _SILENT),
    ("methods: partitions", "how images were assigned", _answer_partitions),
    ("methods: partitions", "at which level they are disjoint", _answer_disjoint),
    ("methods: test data", "intended sample size",
     _partly("none was planned: all images of the selection; see the intervals")),
    ("methods: model", "description", _answer_model),
    ("methods: model", "software", _answer_software),
    ("methods: model", "initial parameters", _from_training("started_from")),
    ("methods: training", "approach", _from_training("recipe")),
    ("methods: training", "choice of the final model", _from_training("selection", "calibration")),
    ("methods: training", "ensembles", _stated("one network, no ensemble")),
    ("methods: evaluation", "metrics", _answer_metrics),
    ("methods: evaluation", "uncertainty and significance", _answer_uncertainty),
    ("methods: evaluation", "robustness", _answer_robustness),
    ("methods: evaluation", "explainability", _answer_explanation),
    ("methods: evaluation", "internal data", _answer_external),
    ("methods: evaluation", "external data", _answer_external),
    ("methods: evaluation", "registration of a clinical trial",
     (ClaimStatus.NOT_APPLICABLE, "no trial: stored images, no care was changed by it here")),
    ("results: data", "patients or images included and excluded", _answer_counts),
    ("results: data", "demography and clinical characteristics", _answer_demography),
    ("results: performance", "metrics with uncertainty",
     _stated("the tables of this page, figures.csv")),
    ("results: performance", "diagnostic performance with precision",
     _stated("the tables of decisions and of predictive values, figures.csv")),
    ("results: performance", "failure analysis", _answer_failures),
    ("discussion", "limitations",
     lambda m: _stated(" ".join((*m.card.limitations, *m.evaluation.notes)))),
    ("discussion", "what it means for practice",
     lambda m: _partly(f"{CAVEAT} Intended use as in the card: {m.card.intended_use}")),
    ("other", "protocol and technical details",
     _partly("settings at the end of this page; no protocol is stated")),
    ("other", "availability of software, model and data",
     lambda m: _partly(f"chestx: Apache-2.0; weights: {m.card.licence}; data: not stated")),
    ("other", "funding", _SILENT),
)  # fmt: skip
