"""Puts what ``chestx evaluate --card`` measured on the test images into the shipped card.

    chestx evaluate default CXR/manifest.csv -o OUT --card MEASURED --split test \
        --column path=file --column split=dev_split --column source=data_set \
        --column group=split_group --labels NORMAL,PNEUMONIA,COVID19 \
        --where "view!=L,Axial,Coronal" --explanations
    python scripts/put_edition_0_figures.py --measured MEASURED --out MODEL

The network, its settings and its references stay as ``build_edition_0.py`` made them; the names
of the images become ones that a reader of the card knows.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from chestx.domain import Figure
from chestx.models.derive import derive_model_folder
from chestx.models.folder import load_model_folder

SOURCES = {
    "kermany": "Kermany official test, children of one hospital",
    "nih": "NIH, adults of one hospital",
    "raddb": "Radiography Database, whose two labels come from two hospitals",
    "ieee8023": "Cohen's collection",
    "cxnet": "COVID-CXNet, COVID-19 only",
}
POOLED = "label and source go together, flatters"
OUTDATED = "Thresholds, temperature and bands were chosen on the validation images"
LIMITATION = (
    "Thresholds, temperature and bands were chosen on validation images and the figures measured "
    "once on test images of the same sources; another mix of patients needs thresholds of its own "
    "(chestx commission). On test images the probabilities of any finding are too extreme "
    "(calibration slope 0.77), and on children the specificity falls to 0.77."
)


def main() -> None:
    """Writes the new folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folder = load_model_folder(arguments.measured)
    limitations = tuple(
        LIMITATION if text.startswith(OUTDATED) else text for text in folder.card.limitations
    )
    card = replace(
        folder.card,
        version="0.1.1",
        limitations=limitations,
        performance=tuple(map(name_images, folder.card.performance)),
    )
    print(derive_model_folder(folder, arguments.out, card=card).identity)


def name_images(figure: Figure) -> Figure:
    """The figure with its images in words, and a pooled one with its caveat."""
    _, equals, source = figure.data.partition("source=")
    if equals:
        return replace(figure, data=f"test, {SOURCES[source]}")
    note = figure.note if figure.name.startswith("mean within") else f"{POOLED}; {figure.note}"
    return replace(figure, data="test, all sources", note=note)


if __name__ == "__main__":
    main()
