"""The last two steps to the model folder that the package carries.

    chestx train configs/default-model.toml -o RUN # The shipped network was made before it.
    chestx publish RUN -o DRAFT --card scripts/default_model_card.toml \
        --threshold-for COVID19:sensitivity=0.90
    python scripts/finish_default_model.py scope --model DRAFT --cxr CXR --out SCOPED
    chestx evaluate SCOPED CXR/manifest.csv -o OUT --card MEASURED --split test \
        --column path=file --column split=dev_split --column source=data_set \
        --column group=split_group --labels NORMAL,PNEUMONIA,COVID19 \
        --where "view!=L,Axial,Coronal" --explanations
    python scripts/finish_default_model.py figures --model MEASURED --out NEW

``scope`` looks at frontal training rows that nothing learnt from, for their licence's sake: the
nearest thing to a collection that the model does not know. It widens the limit of the
distance where that many of them would be refused. ``figures`` names the images so that a reader of
the card knows them. Network, thresholds and references stay as ``chestx publish`` made them.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from math import ceil
from pathlib import Path

import numpy as np

from chestx.domain import Figure
from chestx.images.preprocessing import preprocess
from chestx.images.reading import read_radiograph
from chestx.models.classifier import Classifier
from chestx.models.derive import derive_model_folder
from chestx.models.folder import load_model_folder

QUANTILE, STEP = 0.98, 0.05
"""As ``chestx publish`` chooses the limit on validation images."""

RESTRICTED = ("NC", "ND", "not stated", "unstated")
SOURCES = {
    "kermany": "Kermany official test, children of one hospital",
    "nih": "NIH, adults of one hospital",
    "raddb": "Radiography Database, whose two labels come from two hospitals",
    "ieee8023": "Cohen's collection",
    "cxnet": "COVID-CXNet, COVID-19 only",
}
COLUMNS = {"age_band": "age", "sex": "sex"}
POOLED = "label and source go together, flatters"


def main() -> None:
    """Runs one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("scope", "figures"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cxr", type=Path, help="labelled radiographs; of `scope`")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.step == "figures":
        name_all(arguments.model, arguments.out)
    elif arguments.cxr is None:
        parser.error("scope: --cxr is missing")
    else:
        widen_scope(arguments.model, arguments.cxr, arguments.out)


def widen_scope(model: Path, cxr: Path, out: Path) -> None:
    """Writes a folder that lets images of an unknown collection through."""
    classifier = Classifier.load(model, threads=1)
    card = classifier.card
    limit = card.scope.max_distance
    if limit is None:
        raise SystemExit(f"{model}: has no limit of the distance")
    distances = []
    paths = iter(list_unlearnt(cxr))
    while chunk := list(islice(paths, 32)):
        pixels = np.stack([preprocess(read_radiograph(path).pixels, card.input) for path in chunk])
        found = (classifier.measure_distance(x.embedding) for x in classifier.predict(pixels))
        distances += [distance for distance in found if distance is not None]
    wanted = round(ceil(float(np.quantile(distances, QUANTILE)) / STEP) * STEP, 4)
    for name, value in (("validation images", limit), ("with those not learnt from", wanted)):
        refused = sum(distance > value for distance in distances)
        print(f"limit {value:.2f} ({name}): {refused} of {len(distances)} would be refused")
    scope = replace(card.scope, max_distance=max(limit, wanted))
    print(derive_model_folder(classifier.folder, out, card=replace(card, scope=scope)).identity)


def list_unlearnt(cxr: Path) -> Iterator[Path]:
    """Frontal training rows of Cohen's collection whose licence kept them out of training."""
    with (cxr / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if (
                row["dev_split"] == "train"
                and row["data_set"] == "ieee8023"
                and row["view"] not in ("L", "Axial", "Coronal")
                and any(word in row["licence"] for word in RESTRICTED)
            ):
                yield cxr / row["file"]


def name_all(model: Path, out: Path) -> None:
    """Writes a folder whose card names its images in words."""
    folder = load_model_folder(model)
    card = replace(folder.card, performance=tuple(map(name_images, folder.card.performance)))
    print(derive_model_folder(folder, out, card=card).identity)


def name_images(figure: Figure) -> Figure:
    """The figure with its images in words, and one over several sources with its caveat."""
    # The name of the manifest and the conditions come first.
    column, _, value = figure.data.rpartition("; ")[2].partition("=")
    if column == "source":
        return replace(figure, data=f"test, {SOURCES[value]}")
    if column.endswith(" present"):
        return replace(figure, data=f"test, images with {column.removesuffix(' present')}")
    part = f"{COLUMNS[column]} {value}, " if column in COLUMNS else ""
    if figure.name.startswith("share out of scope"):
        return replace(figure, data=f"test, {part}every image")
    note = figure.note
    if not figure.name.startswith("mean within"):
        note = f"{POOLED}; {note}" if note else POOLED
    return replace(figure, data=f"test, {part}all sources", note=note)


if __name__ == "__main__":
    main()
