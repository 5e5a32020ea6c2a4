"""Builds the model folder that the package carries, edition 0, from what was handed over.

    python scripts/build_edition_0.py --source MODEL --cxr CXR \
        --out src/chestx/models/default

Takes about three minutes on one core. The network is taken byte for byte; temperature,
thresholds, abstention bands, map scales and every figure that is not quoted come from
validation images; the reference from training images. Equal input gives equal bytes
where OMP_NUM_THREADS=1 is set: the number of threads moves the last bits of the reference.
Needs the package ``safetensors``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from chestx.domain import (
    Activation,
    Figure,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    OperatingPoint,
    ScopeSpec,
)
from chestx.evaluation.calibrate import (
    choose_abstention_band,
    choose_threshold,
    fit_temperature,
)
from chestx.images.preprocessing import preprocess
from chestx.images.reading import read_radiograph
from chestx.metrics import (
    bootstrap_interval,
    compute_auroc,
    compute_ece,
    compute_sensitivity_specificity,
    wilson_interval,
)
from chestx.models.card import FORMAT_VERSION, card_to_json, render_card
from chestx.models.classifier import KNOWN_LOGITS, KNOWN_PIXELS, apply_temperature
from chestx.models.folder import CARD, MODEL, REFERENCE, WEIGHTS, load_model_folder
from chestx.models.runtime import Outputs, Runtime, load_runtime
from chestx.models.scope import Reference, fit_reference

LABELS = ("NORMAL", "PNEUMONIA", "COVID19")
DISPLAYS = ("no finding of pneumonia or COVID-19", "pneumonia", "COVID-19")
ANY = "any finding"
TEXTS: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("edition_0.toml").read_text(encoding="utf-8")
)
SPEC = InputSpec(size=224)

# A second reader is there for what the first may miss, hence 0.95. The last COVID-19
# images are reached only at a threshold of 0.05, which would call one image in fourteen
# without it, for a score that is experimental; hence 0.90 there.
SENSITIVITIES = {ANY: 0.95, "PNEUMONIA": 0.95, "COVID19": 0.90}

DISTANCE_QUANTILE, DISTANCE_STEP, LEAST_GROUP = 0.98, 0.05, 20
"""The limit of the distance lets this share of every group through, rounded up to the step.

Groups of at least so many images: the validation images by source and age group, and the
frontal training rows that nothing learnt from for their licence's sake, which are the
nearest thing to a collection that the model does not know.
"""

TUNED_NOTE = "temperature and thresholds were chosen on these images"
BOOTSTRAP_SEED = 20261121
RESTRICTED = ("NC", "ND", "not stated", "unstated")
Row = dict[str, str]


@dataclass(frozen=True, eq=False)
class Validation:
    """Validation images whose licence permits their use, with what the network said of them."""

    y_true: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    sources: np.ndarray
    groups: np.ndarray

    def score(self, subject: str) -> tuple[np.ndarray, np.ndarray]:
        """What is true of, and said of, one finding or of any."""
        if subject == ANY:
            # float32 first, as the product subtracts.
            return self.y_true != 0, 1.0 - self.probabilities[:, 0].astype(np.float64)
        index = LABELS.index(subject)
        return self.y_true == index, self.probabilities[:, index].astype(np.float64)


def main() -> None:
    """Builds the folder, verifies it and prints what it says of itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="model.onnx and its outputs")
    parser.add_argument("--cxr", type=Path, required=True, help="labelled radiographs")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    source, cxr, out = arguments.source, arguments.cxr, arguments.out

    rows = read_manifest(cxr)
    val_rows = [row for row in rows if row["dev_split"] == "val"]
    train_rows = [row for row in rows if row["dev_split"] == "train" and is_permitted(row)]
    runtime = load_runtime((source / MODEL).read_bytes())
    outputs, greys = run_network(runtime, cxr, val_rows)
    handed_logits = read_handed_over(source, val_rows, outputs)
    used = np.array([is_permitted(row) for row in val_rows])
    print(f"validation: {used.sum()} of {len(val_rows)} images; training: {len(train_rows)}")
    train_outputs, _ = run_network(runtime, cxr, train_rows)

    arrays = fit_reference(train_outputs.embedding)
    unknown_rows = [
        row
        for row in rows
        if row["dev_split"] == "train" and row["data_set"] == "ieee8023" and not is_permitted(row)
    ]
    unknown_outputs, _ = run_network(runtime, cxr, unknown_rows)
    limit = choose_distance_limit(
        Reference.from_arrays(arrays),
        np.concatenate([outputs.embedding, unknown_outputs.embedding]),
        [name_group(row) for row in val_rows] + ["not learnt from"] * len(unknown_rows),
    )
    card = describe(
        handed_logits[used],
        [row for row, take in zip(val_rows, used, strict=True) if take],
        map_scales=np.quantile(outputs.maps[used].max(axis=(2, 3)), 0.99, axis=0),
        max_distance=limit,
        embedding_size=runtime.shape.features,
        training=TEXTS["training"] | {"images": count_by_source(train_rows)},
    )
    arrays |= make_known_answer(runtime)
    arrays |= summarise_for_drift(
        apply_temperature(outputs.logits[used], card), outputs.embedding[used], greys[used]
    )
    write_folder(out, card, source=source, arrays=arrays)
    print(render_card(card, checksum=load_model_folder(out).identity.checksum))


def read_manifest(cxr: Path) -> list[Row]:
    """Frontal images with one of the labels."""
    with (cxr / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return [
            row for row in csv.DictReader(stream) if row["label"] in LABELS and row["view"] != "L"
        ]


def is_permitted(row: Row) -> bool:
    """Whether the image's own licence is stated and neither NC nor ND.

    The Radiography Database's row lists the licences of all its sources; it stands
    under its own terms, research use, which the weights inherit.
    """
    return row["data_set"] == "raddb" or not any(word in row["licence"] for word in RESTRICTED)


def name_group(row: Row) -> str:
    """Source and age group."""
    return row["data_set"] + (" child" if "paed" in row["population"] else "")


def choose_distance_limit(
    reference: Reference, embeddings: np.ndarray, groups: Sequence[str]
) -> float:
    """The limit by the rule at DISTANCE_QUANTILE; prints what it refuses in each group."""
    distances = np.array([reference.distance(embedding) for embedding in embeddings])
    names = np.array(groups)
    kept = [name for name in sorted(set(groups)) if (names == name).sum() >= LEAST_GROUP]
    highest = max(np.quantile(distances[names == name], DISTANCE_QUANTILE) for name in kept)
    limit = float(np.ceil(highest / DISTANCE_STEP) * DISTANCE_STEP)
    for name in kept:
        refused = int((distances[names == name] > limit).sum())
        print(f"distance limit {limit:.2f}: {name}: {refused} of {(names == name).sum()} refused")
    return limit


def run_network(runtime: Runtime, cxr: Path, rows: list[Row]) -> tuple[Outputs, np.ndarray]:
    """Every image through the package's own road; also the mean grey of each input."""
    batches, greys = [], []
    for start in range(0, len(rows), 64):
        pixels = np.stack(
            [
                preprocess(read_radiograph(cxr / row["file"]).pixels, SPEC)
                for row in rows[start : start + 64]
            ]
        )
        greys.append(pixels.mean(axis=(1, 2)))
        batches.append(runtime.run(pixels[:, None]))
    outputs = Outputs(
        np.concatenate([batch.logits for batch in batches]),
        np.concatenate([batch.embedding for batch in batches]),
        np.concatenate([batch.maps for batch in batches]),
    )
    return outputs, np.concatenate(greys)


def read_handed_over(source: Path, rows: list[Row], outputs: Outputs) -> np.ndarray:
    """Validation logits as handed over; their rows are the manifest's in its order.

    The file's paths are pickled, so they are not read; the order is proved by the
    labels and by running every image again.
    """
    with np.load(source / "validation.npz", allow_pickle=False) as arrays:
        names, y_true = arrays["labels"], arrays["y_true"]
        logits: np.ndarray = arrays["logits"]
    if tuple(names) != LABELS or [LABELS[i] for i in y_true] != [row["label"] for row in rows]:
        raise SystemExit("validation.npz: its labels are not those of the manifest's rows")
    gap = float(np.abs(outputs.logits - logits).max())
    print(f"largest difference to the handed-over logits of {len(rows)} images: {gap:.2g}")
    if not gap < 1e-3:
        raise SystemExit("validation.npz: the network gives other logits on the manifest's images")
    return logits


def describe(
    logits: np.ndarray,
    rows: list[Row],
    *,
    map_scales: np.ndarray,
    max_distance: float,
    embedding_size: int,
    training: dict[str, Any],
) -> ModelCard:
    """The card without the list of files."""
    y_true = np.array([LABELS.index(row["label"]) for row in rows])
    temperature = round(fit_temperature(logits, np.eye(len(LABELS), dtype=bool)[y_true]), 4)
    # Operating points and figures need probabilities, which need the temperature.
    complete = partial(
        make_card,
        temperature,
        map_scales=map_scales,
        max_distance=max_distance,
        embedding_size=embedding_size,
        training=training,
    )
    draft = complete(points=dict.fromkeys(SENSITIVITIES, OperatingPoint(0.5, 0.5, 0.5)))
    validation = Validation(
        y_true,
        logits,
        apply_temperature(logits, draft),
        np.array([row["data_set"] for row in rows]),
        np.array([row["split_group"] for row in rows]),
    )
    points = {subject: choose_point(validation, subject) for subject in SENSITIVITIES}
    quoted = (quote_figure(**item) for item in TEXTS["figures"])
    return replace(complete(points=points), performance=(*quoted, *measure(validation, points)))


def choose_point(validation: Validation, subject: str) -> OperatingPoint:
    """Threshold for the wanted sensitivity, and the band around it."""
    y_true, y_prob = validation.score(subject)
    threshold = choose_threshold(y_true, y_prob, sensitivity=SENSITIVITIES[subject])
    low, high = choose_abstention_band(y_true, y_prob, threshold=threshold)
    # Rounded outwards: no image leaves the band, and the sensitivity stays reached.
    return OperatingPoint(_round(threshold, floor), _round(low, floor), _round(high, ceil))


def _round(value: float, direction: Callable[[float], int]) -> float:
    return direction(value * 10_000) / 10_000


def make_card(
    temperature: float,
    *,
    points: dict[str, OperatingPoint],
    map_scales: np.ndarray,
    max_distance: float,
    embedding_size: int,
    training: dict[str, Any],
) -> ModelCard:
    """The card of edition 0 without figures and files."""
    labels = tuple(
        Label(
            key=key,
            display=display,
            role=LabelRole.FINDING if key in points else LabelRole.NO_FINDING,
            operating_point=points.get(key),
            map_scale=round(float(scale), 4),
            caveat=TEXTS["caveats"].get(key, ""),
        )
        for key, display, scale in zip(LABELS, DISPLAYS, map_scales, strict=True)
    )
    return ModelCard(
        format_version=FORMAT_VERSION,
        name="chestx-default",
        version="0.1.0",
        summary=TEXTS["summary"],
        labels=labels,
        activation=Activation.SOFTMAX,
        temperature=temperature,
        input=SPEC,
        heatmap="cam",
        any_finding=points[ANY],
        # OT is what film scanners and gateways write on a Secondary Capture, DR what
        # some makers write for DX. Whether such an image is a chest, pixels must tell.
        scope=ScopeSpec(
            modalities=("CR", "DX", "DR", "RG", "OT"),
            body_parts=("CHEST", "THORAX", "LUNG"),
            views=("PA", "AP"),
            min_age_years=1.0,
            max_distance=round(max_distance, 4),
        ),
        embedding_size=embedding_size,
        intended_use=TEXTS["intended_use"],
        not_looked_for=TEXTS["not_looked_for"],
        licence=TEXTS["licence"],
        files={},
        limitations=tuple(TEXTS["limitations"]),
        training=training,
    )


def quote_figure(**texts: Any) -> Figure:
    """A figure that was handed over, with an interval where it is a share."""
    figure = Figure(**texts)
    if figure.name not in ("accuracy", "sensitivity", "specificity"):
        return figure
    low, high = wilson_interval(round(figure.value * figure.n), figure.n)
    note = f"{figure.note}; interval takes images for independent"
    return replace(figure, low=low, high=high, note=note)


def measure(validation: Validation, points: dict[str, OperatingPoint]) -> list[Figure]:
    """Every figure that can be taken from validation images."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    everything = np.ones(len(validation.y_true), dtype=bool)
    within = f"within one source; {TUNED_NOTE}"
    pooled = (
        "validation, all sources",
        everything,
        f"label and source go together, flatters; {TUNED_NOTE}",
    )
    parts = [
        (ANY, *pooled),
        (ANY, "validation, Kermany (children)", validation.sources == "kermany", within),
        (ANY, "validation, NIH (adults)", validation.sources == "nih", within),
        ("PNEUMONIA", *pooled),
        ("COVID19", *pooled),
    ]
    figures = []
    for subject, place, mask, note in parts:
        y_true, y_prob = validation.score(subject)
        statistics = list_statistics(y_true[mask], y_prob[mask], points[subject])
        for name, remark, statistic, over in statistics:
            low, high = bootstrap_interval(statistic, validation.groups[mask], generator=generator)
            figures.append(
                Figure(
                    name=name,
                    subject=write_subject(subject),
                    data=place,
                    value=statistic(np.arange(mask.sum())),
                    n=over,
                    low=low,
                    high=high,
                    note="; ".join(filter(None, (remark, note))),
                )
            )
    return figures


def list_statistics(
    y_true: np.ndarray, y_prob: np.ndarray, point: OperatingPoint
) -> list[tuple[str, str, Callable[[np.ndarray], float], int]]:
    """Name, remark, function of drawn positions, and number of images of each figure."""
    undecided = (point.uncertain_low <= y_prob) & (y_prob < point.uncertain_high)
    wrong = (y_prob >= point.threshold) != y_true
    count, positives = len(y_true), int(y_true.sum())

    def share(at: np.ndarray) -> tuple[float, float]:
        return compute_sensitivity_specificity(y_true[at], y_prob[at], threshold=point.threshold)

    at_threshold = f"at {point.threshold}, band decided too"
    return [
        ("AUROC", "", lambda at: compute_auroc(y_true[at], y_prob[at]), count),
        ("ECE", "15 bins of equal mass", lambda at: compute_ece(y_true[at], y_prob[at]), count),
        ("sensitivity", at_threshold, lambda at: share(at)[0], positives),
        ("specificity", at_threshold, lambda at: share(at)[1], count - positives),
        ("share uncertain", "", lambda at: float(undecided[at].mean()), count),
        (
            "error among decided",
            f"{wrong.mean():.3f} if all were decided",
            lambda at: float(wrong[at][~undecided[at]].mean()),
            int((~undecided).sum()),
        ),
    ]


def write_subject(subject: str) -> str:
    """The score in words."""
    return "1 - P(NORMAL)" if subject == ANY else f"P({subject})"


def count_by_source(rows: list[Row]) -> dict[str, int]:
    """Number of training images by source and label."""
    counts = Counter(f"{row['data_set']} {row['label']}" for row in rows)
    return dict(sorted(counts.items()))


def make_known_answer(runtime: Runtime) -> dict[str, np.ndarray]:
    """Images that no patient is in, and the logits they give, to check a machine with."""
    rows, columns = np.mgrid[0 : SPEC.size, 0 : SPEC.size]
    ramp = (rows + columns) * 255 // (2 * SPEC.size - 2)
    waves = 128 + 100 * np.sin(rows / 9.0) * np.cos(columns / 13.0)
    pixels = np.stack([ramp, waves]).astype(np.uint8)
    return {KNOWN_PIXELS: pixels, KNOWN_LOGITS: runtime.run(pixels[:, None]).logits}


def summarise_for_drift(
    probabilities: np.ndarray, embeddings: np.ndarray, greys: np.ndarray
) -> dict[str, np.ndarray]:
    """How validation images look to the model: bins are of equal width, ends included."""
    return {
        "drift_embedding_mean": embeddings.mean(axis=0),
        "drift_embedding_std": embeddings.std(axis=0),
        "drift_grey_histogram": np.histogram(greys, bins=32, range=(0, 255))[0],
        "drift_probability_histogram": np.stack(
            [np.histogram(column, bins=20, range=(0, 1))[0] for column in probabilities.T]
        ),
    }


def write_folder(
    out: Path, card: ModelCard, *, source: Path, arrays: dict[str, np.ndarray]
) -> None:
    """Writes every file, the card last."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / MODEL, out / MODEL)
    save_file(round_weights(load_file(source / WEIGHTS)), out / WEIGHTS)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    (out / REFERENCE).write_bytes(buffer.getvalue())
    (out / "LICENSE").write_text(TEXTS["licence_file"], encoding="utf-8")
    (out / "README.md").write_text(render_card(card), encoding="utf-8")
    names = (MODEL, WEIGHTS, REFERENCE, "LICENSE", "README.md")
    files = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}
    (out / CARD).write_text(card_to_json(replace(card, files=files)), encoding="utf-8")
    for path in out.iterdir():
        path.chmod(0o644)


def round_weights(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Kernels in half precision; the few vectors stay, variances do not survive the rounding."""
    return {
        name: array.astype(np.float16) if array.ndim >= 2 else array
        for name, array in sorted(state.items())
    }


if __name__ == "__main__":
    main()
