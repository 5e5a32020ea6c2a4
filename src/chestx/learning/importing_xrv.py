"""What torchxrayvision published of its weights: labels, operating points, architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from chestx.datasets.vocabulary import TERMS, align_label
from chestx.domain import Label, OperatingPoint, UsageError
from chestx.learning.backbones import Network, build_network

MEAN, STD = 0.5, 0.5 / 1024
"""Of grey from 0 to 1: (2 * x / 255 - 1) * 1024 of torchxrayvision in our form."""

_WORDS = {
    "Atelectasis": "ATELECTASIS",
    "Consolidation": "CONSOLIDATION",
    "Infiltration": "INFILTRATION",
    "Pneumothorax": "PNEUMOTHORAX",
    "Edema": "EDEMA",
    "Emphysema": "EMPHYSEMA",
    "Fibrosis": "FIBROSIS",
    "Effusion": "PLEURAL_EFFUSION",
    "Pneumonia": "PNEUMONIA",
    "Pleural_Thickening": "PLEURAL_THICKENING",
    "Cardiomegaly": "CARDIOMEGALY",
    "Nodule": "NODULE",
    "Mass": "MASS",
    "Hernia": "HERNIA",
    "Lung Lesion": "LUNG_LESION",
    "Fracture": "FRACTURE",
    "Lung Opacity": "LUNG_OPACITY",
    "Enlarged Cardiomediastinum": "ENLARGED_CARDIOMEDIASTINUM",
}
"""Its words, in the order of its outputs -> terms."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published set of weights.

    Attributes:
        file: name of its file in the release.
        thresholds: operating point of the sigmoid of each output; None for an output that
            was not trained or has none.
        data: what it was trained on, in words.
        backbone, size: of the network.
    """

    file: str
    thresholds: tuple[float | None, ...]
    data: str
    backbone: str = "densenet121"
    size: int = 224


def _dense(stem: str, data: str, *thresholds: float | None) -> Published:
    file = f"{stem}-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
    return Published(file, thresholds, data)


# fmt: off
PUBLISHED: Mapping[str, Published] = {
    "densenet121-res224-all": _dense(
        "nih-pc-chex-mimic_ch-google-openi-kaggle",
        "NIH, PadChest, CheXpert, MIMIC-CXR, Google's NIH labels, OpenI and RSNA",
        0.07422872, 0.038290843, 0.09814756, 0.0098118475, 0.023601074, 0.0022490358,
        0.010060724, 0.103246614, 0.056810737, 0.026791653, 0.050318155, 0.023985857,
        0.01939503, 0.042889766, 0.053369623, 0.035975814, 0.20204692, 0.05015312,
    ),
    "densenet121-res224-nih": _dense(
        "nih", "NIH ChestX-ray14",
        0.039117552, 0.0034529066, 0.11396341, 0.0057298196, 0.00045666535, 0.0018880932,
        0.012037827, 0.038744126, 0.0037213727, 0.014730946, 0.016149804, 0.054241467,
        0.037198864, 0.0004403434, None, None, None, None,
    ),
    "densenet121-res224-pc": _dense(
        "pc", "PadChest",
        0.031012505, 0.013347598, 0.081435576, 0.001262615, 0.002587246, 0.0035944257,
        0.0023071, 0.055412333, 0.044385884, 0.042766232, 0.043258056, 0.037629247,
        0.005658899, 0.0091741895, None, 0.026507627, None, None,
    ),
    "densenet121-res224-chex": _dense(
        "chex", "CheXpert",
        0.1988969, 0.05710573, None, 0.0531293, 0.1435217, None, None, 0.27212676, 0.07749717,
        None, 0.19712369, None, None, None, 0.09932402, 0.09273402, 0.3270967, 0.10888247,
    ),
    "densenet121-res224-rsna": _dense(
        "kaggle", "RSNA Pneumonia Detection Challenge",
        None, None, None, None, None, None, None, None, 0.13486601, None, None, None, None,
        None, None, None, 0.13511065, None,
    ),
    "densenet121-res224-mimic_nb": _dense(
        "mimic_nb", "MIMIC-CXR with NegBio labels",
        0.08558747, 0.011884617, None, 0.0040595434, 0.010733786, None, None, 0.118761964,
        0.022924708, None, 0.06358637, None, None, None, 0.022143636, 0.017476924, 0.1258702,
        0.014020768,
    ),
    "densenet121-res224-mimic_ch": _dense(
        "mimic_ch", "MIMIC-CXR with CheXpert labels",
        0.09121389, 0.010573786, None, 0.005023008, 0.003698257, None, None, 0.08001232,
        0.037242252, None, 0.05006329, None, None, None, 0.019866971, 0.03823637, 0.11303808,
        0.0069147074,
    ),
    "resnet50-res512-all": Published(
        "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
        (0.51570356, 0.50444704, 0.53787947, 0.50723547, 0.5025118, 0.5035252, 0.5038076,
         0.51862943, 0.5078151, 0.50724894, 0.5056339, 0.510706, 0.5053923, 0.5020846, None,
         0.5080557, 0.5138526, None),
        "PadChest, NIH, RSNA, SIIM and VinDr-CXR", "resnet50", 512,
    ),
}
"""Name of the weights in torchxrayvision -> what was published with them.

Source: torchxrayvision 1.5.7, models.py (Apache-2.0); Cohen et al., MIDL 2022.
"""
# fmt: on


def find_published(path: Path, name: str | None) -> str:
    """Name of the weights in a file.

    Args:
        path: whose name is that of a published file, if ``name`` is None.
        name: of PUBLISHED.

    Raises:
        UsageError: neither is known.
    """
    if name is None:
        found = [key for key, item in PUBLISHED.items() if item.file == path.name]
        if found:
            return found[0]
    elif name in PUBLISHED:
        return name
    raise UsageError(
        f"weights of torchxrayvision: expected --weights {', '.join(PUBLISHED)}, or a file under "
        f"the name that it was published with, got {name or path.name!r:.80}"
    )


def build_published(name: str, state: Mapping[str, Tensor]) -> tuple[Network, tuple[Label, ...]]:
    """The network and its labels, without the outputs that were never trained.

    Args:
        name: of PUBLISHED.
        state: tensors as torchxrayvision names them.

    Raises:
        UsageError: tensors are missing, left over or of another shape.
    """
    item = PUBLISHED[name]
    own = {key.removeprefix("model."): value for key, value in state.items()}
    own.pop("op_threshs", None)
    head = "classifier" if item.backbone == "densenet121" else "fc"
    kept = [i for i, threshold in enumerate(item.thresholds) if threshold is not None]
    network = build_network(item.backbone, labels=len(kept))
    network.set_normalisation(mean=MEAN, std=STD)
    _check_tensors(name, own, network, head, len(item.thresholds))
    with torch.no_grad():
        network.head.weight.copy_(own.pop(f"{head}.weight")[kept])
        network.head.bias.copy_(own.pop(f"{head}.bias")[kept])
    network.backbone.load_state_dict(own)
    words = list(_WORDS)
    labels = tuple(_make_label(words[i], item.thresholds[i], name) for i in kept)
    return network.eval(), labels


def _check_tensors(
    name: str, own: dict[str, Tensor], network: Network, head: str, outputs: int
) -> None:
    wanted = {key: value.shape for key, value in network.backbone.state_dict().items()}
    features = network.head.in_features
    wanted |= {f"{head}.weight": torch.Size([outputs, features])}
    wanted |= {f"{head}.bias": torch.Size([outputs])}
    # Networks of before 0.4.1 do not count their batches; nothing reads the count.
    for key in wanted:
        if key.endswith(".num_batches_tracked"):
            own.setdefault(key, torch.zeros((), dtype=torch.long))
    for key in sorted(wanted.keys() | own.keys()):
        if key not in own or key not in wanted or own[key].shape != wanted[key]:
            expected = list(wanted[key]) if key in wanted else "no such tensor"
            found = list(own[key].shape) if key in own else "none"
            raise UsageError(
                f"weights {name}: expected {key!r:.80} of shape {expected}, got {found}; "
                "is the file that of these weights?"
            )
    if not all(torch.isfinite(value).all() for value in own.values()):
        raise UsageError(f"weights {name}: expected finite numbers, got NaN or infinity")


def _make_label(word: str, threshold: float | None, name: str) -> Label:
    assert threshold is not None
    key = align_label(word, _WORDS, source=name)
    assert key in TERMS
    return Label(
        key=key,
        display=word.replace("_", " ").lower(),
        operating_point=OperatingPoint(threshold, threshold, threshold),
    )
